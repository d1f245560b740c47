"""What travels between the control plane and an agent, in both directions.

One ordered, reliable byte stream per agent carries frames; each frame is one JSON message. The
control plane sends ``State`` (items changed since a revision) and ``Call``; the agent sends
``Hello``, ``Heartbeat``, ``Reports`` and ``Reply`` - and may itself ``Call`` (metadata of a guest).
"""

from __future__ import annotations

import msgspec

from virga.contract.items import AnyItem


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """Base of all messages."""


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """First message of an agent. ``epoch`` and ``revision`` say what it already holds."""

    host: str
    epoch: str = ""
    revision: int = 0
    binary_version: str = ""


class State(Message, frozen=True, kw_only=True, tag="state"):
    """Items that must be so on the host. ``full`` replaces all that the agent held before."""

    epoch: str
    revision: int
    full: bool = False
    items: list[AnyItem] = []
    removed: list[tuple[str, str]] = []
    """``(kind, key)`` of items that are to go."""


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """What a host offers and uses, as its hypervisor sees it."""

    vcpus: int
    memory_mb: int
    disk_gb: int
    vcpus_used: int = 0
    memory_mb_used: int = 0
    disk_gb_used: int = 0
    hypervisor_type: str = "QEMU"
    hypervisor_version: int = 7002000
    cpu_info: str = "{}"
    running_vms: int = 0
    host_ip: str = "127.0.0.1"
    pool_total_gb: float = 0.0
    """Room of the pool of volumes; 0 where the host serves none."""
    pool_free_gb: float = 0.0


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat"):
    """Sent by a timer and after every change of roles. ``roles``: network, dhcp, l3, compute, volume, metadata."""

    host: str
    roles: list[str]
    configurations: dict[str, dict[str, str | int | bool | dict[str, str] | list[str]]] = {}
    """Role to the free-form configuration that GET /v2.0/agents shows."""
    resources: Resources | None = None
    started_at: float = 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one item. ``status`` is of the item's kind, below; ``reason`` is for people.

    port, router, floating_ip, port_forwarding, dhcp_network: ``ACTIVE``, ``DOWN``, ``ERROR``
    instance: ``building``, ``running``, ``shutdown``, ``paused``, ``suspended``, ``crashed``, ``error``, ``gone``
    volume: ``available``, ``error``, ``gone``
    """

    kind: str
    key: str
    status: str
    reason: str = ""
    details: dict[str, str | int | float | bool | None] = {}


class Reports(Message, frozen=True, kw_only=True, tag="reports"):
    """``revision`` is the newest state that has been applied when the reports were made."""

    revision: int
    reports: list[Report] = []


class Call(Message, frozen=True, kw_only=True, tag="call"):
    """A true action. A repeated ``id`` does nothing twice and gets the first outcome again."""

    id: str
    method: str
    """``subsystem.verb``, such as ``instance.reboot``."""
    arguments: msgspec.Raw = msgspec.Raw(b"{}")
    request_id: str = ""
    timeout_s: float = 60.0


class Reply(Message, frozen=True, kw_only=True, tag="reply"):
    """The outcome of a call: ``result`` or, when ``error`` is not empty, why not."""

    id: str
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""
    error_type: str = ""


AnyMessage = Hello | State | Heartbeat | Reports | Call | Reply
