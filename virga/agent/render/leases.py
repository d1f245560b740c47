"""The lease file of dnsmasq: which leases the host file no longer allows, and how to give them back."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lease:
    """A line of the lease file. For IPv6 ``mac`` is empty, and the identifiers say whose it is."""

    address: str
    mac: str
    client_id: str
    iaid: str = ""
    server_id: str = ""


def parse(text: str) -> list[Lease]:
    """IPv4 leases, then after a ``duid`` line the IPv6 ones; anything else in the file is not ours to judge."""
    leases = []
    server_id = ""
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "duid":
            server_id = words[1]
        elif len(words) >= 5 and server_id and ":" in words[2]:
            leases.append(Lease(words[2], "", words[4], iaid=words[1].lstrip("T"), server_id=server_id))
        elif len(words) >= 5 and not server_id:
            leases.append(Lease(words[2], words[1], words[4]))
    return leases


def unjustified(leases: list[Lease], host_file: str) -> list[Lease]:
    """Leases of an address that nobody has any more, or that another MAC has now."""
    owners: dict[str, set[str]] = {}
    for line in host_file.splitlines():
        mac, *fields = line.split(",")
        for text in fields:
            address = _address(text.strip("[]"))
            if address:
                owners.setdefault(address, set()).add(mac.lower())
    return [lease for lease in leases if not _justified(lease, owners)]


def _justified(lease: Lease, owners: dict[str, set[str]]) -> bool:
    macs = owners.get(_address(lease.address) or lease.address, set())
    return bool(macs) and (not lease.mac or lease.mac.lower() in macs)


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def without(text: str, gone: list[Lease]) -> str:
    """The file with the lines of ``gone`` left out, for a dnsmasq that is not running."""
    addresses = {lease.address for lease in gone}
    kept = [line for line in text.splitlines() if not _is_of(line, addresses)]
    return "".join(f"{line}\n" for line in kept)


def _is_of(line: str, addresses: set[str]) -> bool:
    words = line.split()
    return len(words) >= 5 and words[2] in addresses


def release_command(device: str, lease: Lease) -> tuple[str, ...]:
    """The command, run in the DHCP namespace, by which dnsmasq forgets the lease."""
    if lease.server_id:
        return (
            "dhcp_release6",
            *("--iface", device, "--ip", lease.address, "--client-id", lease.client_id),
            *("--server-id", lease.server_id, "--iaid", lease.iaid),
        )
    client = () if lease.client_id == "*" else (lease.client_id,)
    return ("dhcp_release", device, lease.address, lease.mac, *client)
