#!/bin/sh
# Keeps one namespace instance: starts it, starts it again when the guest reboots itself, and writes down how it ended.
# usage: namespace_keeper.sh HOME LAUNCH [ARGUMENT...]
set -u
home=$1
shift
cd "$home" || exit 1
rm -f end
echo $$ > keeper.pid
while :; do
    "$@" >> console.log 2>&1 < /dev/null
    status=$?
    # Init was ended by SIGHUP: a reboot from inside.
    [ "$status" = 129 ] || break
done
echo "$status" > end.part
mv end.part end
