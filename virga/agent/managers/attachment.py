"""By which OVS port a port of the API meets br-int.

ordinary           tap… (qvo…, qr-…, qg-…) itself
parent of a trunk  tap… -- tbr-<trunk> -- tpt-… <=> tpi-… on br-int
sub-port           tbr-<trunk> -- spt-… (tagged) <=> spi-… on br-int
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from virga.contract.items import Port

SHORT = 11


@dataclass(frozen=True, slots=True)
class Attachment:
    """The end on br-int, and the kernel device that must be there before."""

    name: str
    device: str
    type: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    own_device: bool = True
    """False for sub-ports: the device is their parent's."""


def is_sub_port(port: Port) -> bool:
    return port.device_owner == "trunk:subport"


def trunk_bridge(trunk_id: str) -> str:
    return f"tbr-{trunk_id[:SHORT]}"


def parent_ends(port_id: str) -> tuple[str, str]:
    """On the trunk's bridge, and on br-int."""
    return f"tpt-{port_id[:SHORT]}", f"tpi-{port_id[:SHORT]}"


def sub_port_ends(port_id: str) -> tuple[str, str]:
    """On the trunk's bridge, and on br-int."""
    return f"spt-{port_id[:SHORT]}", f"spi-{port_id[:SHORT]}"


def attachment(port: Port, parent: Port | None) -> Attachment | None:
    """None for a sub-port whose parent is not here."""
    if is_sub_port(port):
        if parent is None:
            return None
        outer, inner = sub_port_ends(port.key)
        return Attachment(inner, parent.device_name, "patch", {"peer": outer}, own_device=False)
    if port.trunk_id:
        outer, inner = parent_ends(port.key)
        return Attachment(inner, port.device_name, "patch", {"peer": outer})
    return Attachment(port.device_name, port.device_name)
