"""What limits and marks make of a port's flows, by walking packets."""

from __future__ import annotations

import pytest

from tests.lib.l2_world import Guest
from virga.contract.items import PortQos
from virga.sdn import qos_flows
from virga.sdn.port_flows import PlacedPort, port_flows
from virga.sdn.qos_flows import Meter


def placed(qos: PortQos, **changes: object) -> PlacedPort:
    return PlacedPort(Guest(1, changes={"qos": qos, **changes}).port, 5, 1)


def test_a_flow_begins_with_its_meter_and_has_one_only() -> None:
    both = PortQos(egress_kbps=1000, egress_kpps=2, ingress_kbps=10, dscp_mark=8)
    port = placed(both, device_owner="trunk:subport")
    for flow in port_flows(port):
        assert flow.actions.count("meter:") <= 1
        assert "meter:" not in flow.actions or flow.actions.startswith("meter:")
    numbers = {int(f.actions[6:].partition(",")[0]) for f in port_flows(port) if "meter:" in f.actions}
    assert numbers == {meter.number for meter in qos_flows.meters(port.item, 5)}


def test_bursts_are_those_asked_for_or_four_fifths() -> None:
    asked = PortQos(egress_kbps=1000, egress_burst_kbps=50, egress_kpps=1)
    assert qos_flows.meters(placed(asked).item, 5) == [
        Meter(20, "kbps", 1000, 50),
        Meter(21, "pktps", 1000, 1000),
    ]


def test_meters_of_two_ports_never_meet() -> None:
    item = placed(PortQos(egress_kbps=1, egress_kpps=1)).item
    one, two = ({m.number for m in qos_flows.meters(item, ofport)} for ofport in (5, 6))
    assert not one & two


@pytest.mark.parametrize("changes", [{"admin_state_up": False}])
def test_a_port_that_is_down_has_no_meters(changes: dict[str, object]) -> None:
    port = placed(PortQos(egress_kbps=1), **changes)
    assert qos_flows.meters(port.item, 5) == [] and port_flows(port) == []
