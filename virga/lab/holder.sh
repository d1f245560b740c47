#!/bin/sh
# Makes the namespaces it was started in look like a machine of its own, says "ready", and stays to hold them.
# usage: holder.sh NAME DIRECTORY
set -eu
name=$1 directory=$2
# Networks that have a name on the machine are not this host's: let go of the copies, or they would be taken for it.
names=$(awk '$4 ~ /^net:/ { print $5 }' /proc/self/mountinfo)
for place in $names; do
    umount -l "$place" 2> /dev/null || :
done
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/openvswitch /run/lock
for place in etc/openvswitch var/lib/openvswitch var/log/openvswitch; do
    [ -d "/$place" ] || continue
    mkdir -p "$directory/$place"
    mount --bind "$directory/$place" "/$place"
done
hostname "$name"
# Devices made here later (taps, ports of bridges) must not take addresses from a tenant's router.
if [ -e /proc/sys/net/ipv6/conf/default/disable_ipv6 ]; then
    echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
fi
ip link set lo up
echo ready
exec sleep infinity > /dev/null 2>&1
