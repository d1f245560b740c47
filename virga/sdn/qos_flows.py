"""Quality of service of one port: meters that drop what is too much, and the DSCP mark of what it sends.

A flow can hold one meter, and only as its first action. So what a port sends is limited in bits where it
enters the pipeline, in packets where its network is found; what a sub-port of a trunk receives is limited
where it is delivered, because it has no device of its own that could shape it.
"""

from __future__ import annotations

from dataclasses import dataclass

from virga.contract.items import Port
from virga.sdn import tables as t
from virga.sdn.flow import Flow, cookie_of

METERS_A_PORT = 4
BURST_PERCENT = 80
"""Of the limit, when nothing is said: what TCP needs not to be throttled far below it."""


@dataclass(frozen=True, slots=True, order=True)
class Meter:
    """A meter of a bridge: bits (``kbps``) or packets (``pktps``) beyond the rate are dropped."""

    number: int
    unit: str
    rate: int
    burst: int


def burst_of(limit: int, burst: int) -> int:
    return burst or max(1, limit * BURST_PERCENT // 100)


def _egress_bits(port: Port, ofport: int) -> Meter | None:
    qos = port.qos
    if qos is None or not qos.egress_kbps:
        return None
    return Meter(
        ofport * METERS_A_PORT, "kbps", qos.egress_kbps, burst_of(qos.egress_kbps, qos.egress_burst_kbps)
    )


def _egress_packets(port: Port, ofport: int) -> Meter | None:
    qos = port.qos
    if qos is None or not qos.egress_kpps:
        return None
    burst = burst_of(qos.egress_kpps, qos.egress_burst_kpps)
    return Meter(ofport * METERS_A_PORT + 1, "pktps", qos.egress_kpps * 1000, burst * 1000)


def _ingress_bits(port: Port, ofport: int) -> Meter | None:
    qos = port.qos
    if qos is None or not qos.ingress_kbps or port.device_owner != "trunk:subport":
        return None
    burst = burst_of(qos.ingress_kbps, qos.ingress_burst_kbps)
    return Meter(ofport * METERS_A_PORT + 2, "kbps", qos.ingress_kbps, burst)


def meters(port: Port, ofport: int) -> list[Meter]:
    """All meters that the flows of the port name."""
    if not port.admin_state_up:
        return []
    found = (_egress_bits(port, ofport), _egress_packets(port, ofport), _ingress_bits(port, ofport))
    return [meter for meter in found if meter is not None]


def sending(port: Port, ofport: int) -> str:
    """What the flow that finds the port's network begins with."""
    return _first_action(_egress_packets(port, ofport))


def delivering(port: Port, ofport: int) -> str:
    """What a flow that delivers to the port begins with."""
    return _first_action(_ingress_bits(port, ofport))


def _first_action(meter: Meter | None) -> str:
    return "" if meter is None else f"meter:{meter.number},"


def entry_flows(port: Port, ofport: int) -> list[Flow]:
    """In front of everything else that the port sends: metered and marked once, then through the classifier again."""
    meter = _first_action(_egress_bits(port, ofport))
    mark = None if port.qos is None else port.qos.dscp_mark
    onward = f"set_field:{t.QOS_DONE:#x}->{t.REG_QOS},resubmit(,{t.CLASSIFIER})"
    fresh, cookie = f"{t.REG_QOS}=0,in_port={ofport}", cookie_of(port.key)
    flows = []
    if meter:
        flows.append(Flow(t.CLASSIFIER, t.P_QOS, fresh, f"{meter}{onward}", cookie))
    if mark is not None:
        flows += [
            Flow(
                t.CLASSIFIER,
                t.P_QOS + 1,
                f"{family},{fresh}",
                f"{meter}set_field:{mark}->ip_dscp,{onward}",
                cookie,
            )
            for family in ("ip", "ipv6")
        ]
    return flows
