"""What Compute asks of Network: ports of servers, their addresses and groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from virga.api.request import Request
from virga.db.tx import Tx


@dataclass
class Fixed:
    """An address of a port, and the floating ones that lead to it."""

    subnet_id: str
    ip_address: str
    floating_ips: list[str] = field(default_factory=list)


@dataclass
class Vif:
    """A port of a server, as its views need it."""

    port_id: str
    network_id: str
    network_name: str
    mac_address: str
    status: str
    fixed_ips: list[Fixed] = field(default_factory=list)
    security_groups: dict[str, str] = field(default_factory=dict)
    """Id to name."""


def vifs_of(tx: Tx, server_ids: Sequence[str]) -> dict[str, list[Vif]]:
    """Ports of servers in the order in which they were attached."""
    return {}


def servers_with_address(tx: Tx, pattern: str, version: int) -> list[str]:
    """Servers one of whose fixed addresses matches the regular expression."""
    return []


def check_request(tx: Tx, caller: Any, networks: Any, count: int, req: Request) -> Any:
    """The networks that a create names exist for the caller, ports are free, addresses possible."""
    return networks


def check_groups(tx: Tx, caller: Any, names: Sequence[str]) -> None:
    """The security groups that a create names exist."""


def remember_request(tx: Tx, server_id: str, caller: Any, networks: Any) -> None:
    """Ports that a create names belong to the server from now on."""


def allocate(tx: Tx, row: Any, host: str) -> None:
    """Make the ports that the server asked for, and bind all of its ports to the host."""


def bind(tx: Tx, server_id: str, host: str | None) -> None:
    """Move the server's ports to a host (None: to no host)."""


def release(tx: Tx, server_id: str) -> None:
    """Remove the ports that were made for the server; give back those that were not."""


def nics_of(tx: Tx, server_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The network cards of servers, as the contract's Nic has them."""
    return {}
