# Tells everything of the network namespace that it runs in, section by section. Reads only.
# $1: addresses whose connections are of interest, separated by "|"; empty for none.
part() { printf '\n@@@ %s\n' "$1"; }
part links; ip -j -d address show
part routes4; ip -4 route show table all
part routes6; ip -6 route show table all
part policies4; ip -4 rule show
part policies6; ip -6 rule show
part neighbours; ip neighbour show
part sysctls
grep -s . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/icmp_echo_ignore_all \
    /proc/sys/net/ipv6/conf/all/forwarding /proc/sys/net/ipv6/icmp/echo_ignore_all \
    /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/conf/*/forwarding \
    /proc/sys/net/ipv4/conf/*/arp_ignore /proc/sys/net/ipv4/conf/*/arp_filter \
    /proc/sys/net/ipv4/conf/*/proxy_arp /proc/sys/net/ipv4/conf/*/accept_local \
    /proc/sys/net/ipv6/conf/*/disable_ipv6 /proc/sys/net/ipv6/conf/*/forwarding /dev/null
part rules4; iptables-save 2>/dev/null
part rules6; ip6tables-save 2>/dev/null
part ruleset; nft -nn list ruleset 2>/dev/null | grep -v '^#'
part queues; tc qdisc show 2>/dev/null
if [ -n "$1" ]; then
    part connections
    { conntrack -L 2>/dev/null; conntrack -L -f ipv6 2>/dev/null; } | grep -E "=($1) " | head -200
fi
part end
