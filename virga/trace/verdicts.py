"""Every code that a verdict may have, with the sentence that says what it means. Codes are stable: programs compare them."""

from __future__ import annotations

CODES: dict[str, str] = {
    "REACHABLE": "The packet arrives, and where an answer is to be expected the answer arrives as well.",
    "UNKNOWN": "It cannot be told; what was tried is in the evidence. Nobody is accused.",
    # What the objects of the API forbid.
    "NETWORK_DOWN": "The network was administratively shut.",
    "INSTANCE_DOWN": "The instance does not run: it is stopped, paused, suspended, being built or in error.",
    "PORT_DOWN": "A port, or the router it belongs to, was administratively shut.",
    "PORT_UNBOUND": "A port is on no host: nobody plugged it, or its binding failed.",
    "PORT_NOT_REALISED": "A port is on a host, and the host could not realise it; the reason is the agent's.",
    "SG_NO_MATCH": "No rule of the security groups of the receiver lets the packet in.",
    "SG_EGRESS_NO_MATCH": "No rule of the security groups of the sender lets the packet out.",
    "SPOOF_GUARD": "The packet claims a source address that is neither the port's own nor one of its allowed pairs.",
    "NO_ADDRESS": "An end has no address of the IP version that was asked for.",
    "NO_ROUTE": "Somebody on the way has no route to the destination: no router joins the networks, or a route is missing.",
    "NO_GATEWAY": "The way leads outside, and the router has no external gateway (or the subnet no gateway address).",
    "GATEWAY_NO_NAT": "The router does not translate source addresses, so the outside world cannot answer.",
    "FIP_UNASSOCIATED": "The floating IP belongs to no port, or the instance that is to be reached from outside has none.",
    "ROUTER_DOWN": "The router is administratively shut, or on no host.",
    "NO_DHCP": "DHCP is not enabled on any subnet of the network, or the network has no DHCP server on any host.",
    # What the hosts hold otherwise than the API's objects mean.
    "DRIFT": "A host does not hold what it should: a flow, rule, address or device is missing, changed or foreign.",
    "FIP_STALE": "A host translates a floating IP otherwise than the API says, or not at all.",
    "WRONG_LOCAL_TAG": "A port carries another VLAN tag on the integration bridge than its network has there.",
    "LINK_DOWN": "A network device on the way is down or has no carrier.",
    "SWITCH_DOWN": "Open vSwitch of a host does not answer.",
    "AGENT_STALE": "The agent of a host does not answer, so what that host holds cannot be told, and nothing new gets there.",
    "CT_INVALID": "Connection tracking remembers the connection otherwise: as ended, invalid or translated to an old address.",
    "NO_DHCP_LEASE": "The DHCP server runs and has no (or another) entry for this port, so it gets no lease.",
    "DHCP_AGENT_DOWN": "The DHCP server of the network does not run, or does not answer.",
    "METADATA_DOWN": "The metadata proxy does not run, or does not answer.",
    "DNS_DOWN": "The name server does not run, does not answer, or does not know the name.",
    # What was observed.
    "ARP_UNANSWERED": "Nobody answers for the next address on the way, though the question was asked.",
    "ADDRESS_DUPLICATE": "Two machines answer for one address.",
    "CONNECTION_REFUSED": "The packet arrives and is refused by the destination itself: nothing listens there.",
    "MTU_BLACKHOLE": "Small packets arrive and packets of the network's full size do not.",
    "VLAN_NOT_TRUNKED": "The wire between two hosts does not carry the VLAN of the network.",
    "TUNNEL_DOWN": "The tunnel between two hosts does not carry packets.",
    "UNDERLAY_DOWN": "The wire between two hosts, or to the outside world, carries nothing.",
    "GUEST_SILENT": "The packet is handed to the guest, and the guest answers nothing at all, not even for its own address.",
    "GUEST_FIREWALL": "The guest is there and answers for its address, but not to this packet.",
    "OUTSIDE_SILENT": "The packet leaves the cloud, and the outside world does not answer.",
    "LOST": "The packet was seen at one hop and not at the next, and nothing that was read tells why.",
}

REACHABLE, UNKNOWN = "REACHABLE", "UNKNOWN"
EXIT_REACHABLE, EXIT_NOT, EXIT_UNKNOWN = 0, 1, 2
