"""What an agent is told when it starts: one JSON file, written by whoever starts it.

An unknown key is refused, so that a misspelt one is not silently ignored.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

NEVER_S = 10.0 * 365 * 86400

ROLES = ("network", "dhcp", "l3", "metadata", "compute")


class ConfigError(Exception):
    """The file cannot be used; the text says why."""


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was detected about the machine (see ``virga doctor``)."""

    datapath_type: str = "netdev"
    """``netdev`` (userspace) or ``system`` (kernel module)."""
    accelerator: str = "tcg"
    """``kvm`` or ``tcg``."""
    iptables: str = "nft"
    """``nft`` or ``legacy``."""


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One host. The process already runs in the host's network and mount namespace."""

    host: str
    directory: str
    """Where this host keeps its files (``instances/``, ``dhcp/``, ``ovs/``, ``volumes/``, ``image-cache/`` ...)."""
    bus: str = ""
    """Unix socket of the control plane; empty with ``state_file``."""
    state_file: str = ""
    """JSON ``{"items": [...]}`` to run from, without a control plane; read again when it changes."""
    roles: list[str] = msgspec.field(default_factory=lambda: list(ROLES))
    drivers: str = "real"
    """``real`` or ``fake``."""
    ovs_directory: str = "/run/openvswitch"
    """Where ``db.sock`` and the management sockets of the bridges are."""
    ovsdb: str = ""
    """OVSDB socket; empty means ``ovs_directory/db.sock``."""
    integration_bridge: str = "br-int"
    bridge_mappings: dict[str, str] = {}
    """Physical network to bridge, such as ``{"public": "br-ex", "physnet1": "br-eth1"}``."""
    bridge_nics: dict[str, list[str]] = {}
    """Bridge to the interfaces that it must have as ports, such as ``{"br-eth1": ["eth1"]}``."""
    plug: str = "ovs"
    """``ovs`` or ``hybrid``: how instances are plugged when a port does not say."""
    instance_driver: str = "qemu"
    """``qemu`` or ``namespace``: the kind of instance when a flavor does not say."""
    guest_directory: str = ""
    """Where the built guest image is; ``namespace`` instances run its tree. Empty: none of that kind here."""
    host_ip: str = "127.0.0.1"
    storage_ip: str = ""
    """Where iSCSI targets listen; empty means ``host_ip``."""
    dns_servers: list[str] = msgspec.field(default_factory=list)
    """Where the networks' dnsmasq forwards names that it does not know; none means nowhere."""
    tunnel_types: list[str] = []
    vcpus: int = 0
    """Offered to the scheduler; 0 means what the machine has."""
    memory_mb: int = 0
    disk_gb: int = 0
    pool_gb: int = 0
    """Size of the pool of volumes; 0 means the file system that it is on."""
    heartbeat_s: float = 10.0
    resync_s: float = 120.0
    repair: bool = True
    """Put back what others changed. When false, only news from the control plane makes the agent write."""
    log_directory: str = ""
    """Where the log file goes; empty means standard error."""
    log_level: str = "info"
    facts: Facts = Facts()

    @property
    def resync_every_s(self) -> float:
        return self.resync_s if self.repair else NEVER_S

    @property
    def ovsdb_socket(self) -> Path:
        return Path(self.ovsdb or Path(self.ovs_directory) / "db.sock")


def load(path: Path) -> AgentConfig:
    """Read and check the file."""
    try:
        config = msgspec.json.decode(path.read_bytes(), type=AgentConfig)
    except OSError as error:
        raise ConfigError(f"reading {path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path}: {error}") from error
    if bool(config.bus) == bool(config.state_file):
        raise ConfigError(f"{path}: give exactly one of bus and state_file")
    if config.drivers not in ("real", "fake"):
        raise ConfigError(f"{path}: drivers is {config.drivers!r}, not real or fake")
    return config
