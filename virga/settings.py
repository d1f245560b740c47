"""Every setting once: name, type, default, one sentence.

Values come, the later winning, from the defaults below, from what a former ``virga up`` chose for this
cloud (``chosen.json`` in the state directory), from ``virga.toml`` in the working directory and in
the state directory, from ``VIRGA_…`` variables, and from the command line. ``docs/settings.md`` is
made from here.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import json
import os
import re
import tomllib
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

Texts = tuple[str, ...]


class SettingsError(ValueError):
    """A setting that does not exist or cannot have this value. The message says where it stood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one cloud. The annotation is the documentation."""

    # The cloud
    state_dir: Annotated[Path, "Directory that holds everything of this cloud."] = Path(".virga")
    dataplane: Annotated[Literal["lab", "fake"], "Real packets in simulated hosts, or drivers in memory."] = (
        "lab"
    )
    hosts: Annotated[int, "Number of simulated hosts; the first one also carries DHCP and routers."] = 1
    region: Annotated[str, "Region name in the catalog."] = "RegionOne"
    admin_password: Annotated[str, "Password of the user `admin`; empty: made at the first start."] = ""
    demo_password: Annotated[str, "Password of the user `demo`; empty: made at the first start."] = ""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], "Least level that is logged."] = "info"
    log_max_mb: Annotated[int, "Size in MiB at which a log file is rotated."] = 20
    log_files: Annotated[int, "Number of rotated files kept for each process."] = 3

    # The API
    bind_address: Annotated[str, "Address that the API listens on."] = "127.0.0.1"
    port: Annotated[
        int, "Port of the API; unless it was set, the next free one is taken when it is occupied."
    ] = 5050
    public_url: Annotated[str, "URL of the API in the catalog; empty: made from address and port."] = ""
    database_url: Annotated[
        str, "SQLAlchemy URL of the database; empty: a SQLite file in the state directory."
    ] = ""
    token_seconds: Annotated[int, "Life of a token."] = 3600
    token_grace_seconds: Annotated[
        int, "How long services may still use an expired token for work under way."
    ] = 172800
    password_hash_rounds: Annotated[int, "Cost of a password hash, as a power of two, from 4 to 16."] = 10
    lockout_attempts: Annotated[int, "Wrong passwords after which a user is locked out; 0: never."] = 0
    lockout_seconds: Annotated[int, "How long a user stays locked out."] = 1800
    unique_last_passwords: Annotated[
        int, "How many passwords of a user, the new one included, must differ; 0: no rule."
    ] = 0
    password_regex: Annotated[str, "Regular expression that a new password must match; empty: none."] = ""
    password_regex_description: Annotated[str, "The same rule in words, for the one who broke it."] = ""
    password_expires_days: Annotated[int, "Days after which a password expires; 0: never."] = 0
    minimum_password_age_days: Annotated[
        int, "Days before users may change a password they set themselves; 0: at once."
    ] = 0
    key_files: Annotated[int, "Number of keys kept when token keys are rotated."] = 3
    page_limit: Annotated[int, "Greatest number of items in one page of a Compute list."] = 1000
    policy_file: Annotated[str, "File of policy rules that override the default ones; empty: none."] = ""

    image_format_match: Annotated[
        bool, "Refuse an image whose bytes are not of the disk format it claims."
    ] = True

    # Networks
    vlan_ranges: Annotated[
        Texts, "Segmentation ids for tenant networks, as `physical_network:first:last`."
    ] = ("physnet1:1000:1999",)
    flat_networks: Annotated[Texts, "Physical networks that flat networks may use; `*` is all."] = ("*",)
    tenant_network_types: Annotated[Texts, "Kinds of network that a member gets, tried in this order."] = (
        "vlan",
    )
    physical_mtu: Annotated[int, "MTU of the physical networks."] = 1500
    network_quotas: Annotated[
        Texts,
        "What a project may have in the Network service, as `resource=limit`, where not Neutron's defaults.",
    ] = ()
    dns_domain: Annotated[str, "Domain of the names of instances."] = "openstacklocal"
    dhcp_lease_seconds: Annotated[int, "Length of a DHCP lease."] = 86400
    agent_down_seconds: Annotated[int, "Silence after which an agent counts as down."] = 45
    repair: Annotated[
        bool, "Whether agents put back what others change on their hosts; off: to study a broken network."
    ] = True
    record_hours: Annotated[
        int, "How long it is remembered who changed what, what was explained and which differences were seen."
    ] = 72
    explain_probes_per_minute: Annotated[
        int, "How many probes of `virga explain` a user may send in a minute."
    ] = 120
    plug: Annotated[
        Literal["ovs", "hybrid"], "How instances are plugged: a tap on br-int, or by a Linux bridge."
    ] = "ovs"

    # Instances
    scheduler_filters: Annotated[Texts, "Filters that a host must pass to get an instance, in order."] = (
        "ComputeFilter",
        "AvailabilityZoneFilter",
        "ImagePropertiesFilter",
        "ServerGroupAntiAffinityFilter",
        "ServerGroupAffinityFilter",
        "SameHostFilter",
        "DifferentHostFilter",
        "ResourceFilter",
    )
    scheduler_weighers: Annotated[Texts, "Weighers with their multipliers, as `name=multiplier`."] = (
        "RAMWeigher=1.0",
        "CPUWeigher=1.0",
        "DiskWeigher=1.0",
    )
    cpu_allocation_ratio: Annotated[float, "Virtual processors given out for each real one."] = 16.0
    ram_allocation_ratio: Annotated[float, "Memory given out for each real byte."] = 1.0
    disk_allocation_ratio: Annotated[float, "Disk given out for each real byte."] = 1.0
    instance_kind: Annotated[
        Literal["qemu", "namespace"], "What an instance is when its flavor does not say."
    ] = "qemu"
    accelerator: Annotated[Literal["auto", "kvm", "tcg"], "How QEMU runs guests; `auto` probes once."] = (
        "auto"
    )
    parallel_builds: Annotated[int, "Instances that one host builds at a time."] = 2
    volume_attach: Annotated[
        Literal["iscsi", "local"],
        "How instances reach volumes: over the storage network, or as files of this machine.",
    ] = "iscsi"
    volume_filters: Annotated[Texts, "Filters that a host must pass to get a volume, in order."] = (
        "AvailabilityZoneFilter",
        "CapacityFilter",
        "CapabilitiesFilter",
    )
    volume_weighers: Annotated[
        Texts, "Weighers of hosts for volumes with their multipliers, as `name=multiplier`."
    ] = ("CapacityWeigher=1.0", "FreeCapacityWeigher=1.0")
    volume_overcommit: Annotated[float, "Size promised to volumes for each real byte of a pool."] = 20.0
    volume_pool_gb: Annotated[
        int, "Size of the pool of volumes of a host; 0: the file system that it is on."
    ] = 0
    vif_plugging_seconds: Annotated[int, "How long a build waits for its ports to become active."] = 120

    # The lab
    datapath: Annotated[
        Literal["auto", "system", "netdev"], "Open vSwitch datapath; `auto` tries the kernel's."
    ] = "auto"
    iptables: Annotated[
        Literal["auto", "nft", "legacy"], "Kind of iptables; `auto` takes the machine's own."
    ] = "auto"
    outside_cidr: Annotated[
        str, "Outside world of the lab; empty: 172.24.4.0/24, or the next /24 that is free."
    ] = ""
    nat: Annotated[bool, "Forward the lab's outside world to the machine's own network, behind NAT."] = False
    guest_dir: Annotated[
        str, "Where the built guest images are; empty: `.cache/guest` in the working directory."
    ] = ""
    start_seconds: Annotated[int, "How long a start may take before it is given up."] = 120

    @property
    def endpoint(self) -> str:
        """URL of the API as clients see it, without a trailing slash."""
        host = f"[{self.bind_address}]" if ":" in self.bind_address else self.bind_address
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.state_dir / 'virga.db'}"

    @property
    def vlan_range_list(self) -> list[VlanRange]:
        return [vlan_range(text) for text in self.vlan_ranges]

    @property
    def network_quota_limits(self) -> dict[str, int]:
        return dict(quota_limit(text) for text in self.network_quotas)


@dataclass(frozen=True, slots=True)
class VlanRange:
    """Segmentation ids ``first`` to ``last`` of one physical network may be given out."""

    physical_network: str
    first: int
    last: int


def vlan_range(text: str) -> VlanRange:
    """Read ``physical_network:first:last``."""
    name, _, numbers = text.partition(":")
    first, _, last = numbers.partition(":")
    if not (name and first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last) <= 4094):
        raise SettingsError(
            f"{text!r} is not of the form physical_network:first:last with ids from 1 to 4094"
        )
    return VlanRange(name, int(first), int(last))


def quota_limit(text: str) -> tuple[str, int]:
    """Read ``resource=limit``; -1 is no limit."""
    name, _, number = text.partition("=")
    if not (name and re.fullmatch(r"-1|\d{1,9}", number)):
        raise SettingsError(f"{text!r} is not of the form resource=limit")
    return name, int(number)


def _network(text: str) -> None:
    if text:
        ipaddress.ip_network(text)


def _rounds(value: int) -> None:
    if not 4 <= value <= 16:
        raise SettingsError(f"{value} is not from 4 to 16")


def _key_files(value: int) -> None:
    if value < 3:
        raise SettingsError(f"{value} is less than 3: one staged, one primary, one to open older tokens")


def _regex(value: str) -> None:
    try:
        re.compile(value)
    except re.error as error:
        raise SettingsError(f"not a regular expression: {error}") from None


def _port(value: int) -> None:
    if not 1 <= value <= 65535:
        raise SettingsError(f"{value} is not a port number from 1 to 65535")


def _positive(value: float) -> None:
    if value <= 0:
        raise SettingsError(f"{value} is not greater than 0")


def _ranges(value: Texts) -> None:
    for text in value:
        vlan_range(text)


def _quotas(value: Texts) -> None:
    for text in value:
        quota_limit(text)


CHECKS: dict[str, Callable[[Any], object]] = {
    "port": _port,
    "bind_address": ipaddress.ip_address,
    "outside_cidr": _network,
    "vlan_ranges": _ranges,
    "network_quotas": _quotas,
    "hosts": _positive,
    "token_seconds": _positive,
    "password_hash_rounds": _rounds,
    "password_regex": _regex,
    "key_files": _key_files,
    "page_limit": _positive,
    "start_seconds": _positive,
    "log_max_mb": _positive,
    "log_files": _positive,
    "parallel_builds": _positive,
    "cpu_allocation_ratio": _positive,
    "ram_allocation_ratio": _positive,
    "disk_allocation_ratio": _positive,
    "volume_overcommit": _positive,
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, described."""

    name: str
    type: Any
    default: Any
    sentence: str

    @property
    def variable(self) -> str:
        return "VIRGA_" + self.name.upper()


def _described() -> dict[str, Setting]:
    hints = get_type_hints(Settings, include_extras=True)
    found = {}
    for field in dataclasses.fields(Settings):
        kind, sentence = get_args(hints[field.name])
        found[field.name] = Setting(field.name, kind, field.default, sentence)
    return found


SETTINGS = _described()

# Variables of our environment that are not settings.
NOT_SETTINGS = {"VIRGA_TEST_JOBS"}


def load(
    state_dir: Path | str | None = None,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """All settings of the cloud in ``state_dir``. Raises SettingsError for what it does not know."""
    where, layers = _layers(state_dir, overrides, environ, directory)
    merged = _chosen(where / "chosen.json")
    for layer in layers:
        merged |= layer
    merged["state_dir"] = where
    return Settings(**merged)


def explicit(
    state_dir: Path | str | None = None,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> frozenset[str]:
    """Names of the settings that a person set, now: not defaults, nor what a start chose."""
    _, layers = _layers(state_dir, overrides, environ, directory)
    return frozenset(name for layer in layers for name in layer)


def _layers(
    state_dir: Path | str | None,
    overrides: Mapping[str, object] | None,
    environ: Mapping[str, str] | None,
    directory: Path | None,
) -> tuple[Path, list[dict[str, Any]]]:
    """The state directory, and what people set, the later winning."""
    directory = directory or Path.cwd()
    ours = _from_file(directory / "virga.toml")
    variables = _from_environment(os.environ if environ is None else environ)
    given = {name: convert(name, value, "the command line") for name, value in (overrides or {}).items()}
    named = state_dir or given.get("state_dir") or variables.get("state_dir") or ours.get("state_dir")
    where = (directory / Path(str(named or SETTINGS["state_dir"].default))).absolute()
    return where, [ours, _from_file(where / "virga.toml"), variables, given]


def convert(name: str, value: object, source: str) -> Any:
    """``value`` as the type of the setting, checked. SettingsError names source, setting and value."""
    setting = SETTINGS.get(name)
    if setting is None:
        close = difflib.get_close_matches(name, SETTINGS, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise SettingsError(f"{source}: there is no setting {name!r}.{hint}")
    try:
        result = _typed(setting.type, value)
        if check := CHECKS.get(name):
            check(result)
    except ValueError as error:
        raise SettingsError(f"{source}: setting {name!r} cannot be {value!r}: {error}") from None
    return result


def _typed(kind: Any, value: Any) -> Any:
    origin = get_origin(kind)
    if origin is Literal:
        if value not in get_args(kind):
            raise ValueError("one of " + ", ".join(get_args(kind)) + " is expected")
        return value
    if origin is tuple:
        items = [item.strip() for item in value.split(",")] if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
            raise ValueError("a list of texts is expected")
        return tuple(item for item in items if item)
    if kind is bool:
        return _boolean(value)
    if isinstance(value, bool):
        raise ValueError(f"{_kind_name(kind)} is expected")
    if kind in (int, float):
        try:
            return kind(value)
        except (TypeError, ValueError):
            raise ValueError(f"{_kind_name(kind)} is expected") from None
    if not isinstance(value, str | Path):
        raise ValueError("a text is expected")
    return kind(value)


def _boolean(value: object) -> bool:
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if str(value).lower() not in words:
        raise ValueError("true or false is expected")
    return words[str(value).lower()]


def _kind_name(kind: Any) -> str:
    return {int: "a whole number", float: "a number"}.get(kind, "a text")


def _from_file(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    return {name: convert(name, value, str(path)) for name, value in content.items()}


def _chosen(path: Path) -> dict[str, Any]:
    """What a former start chose. A setting that a newer release dropped is not an error here."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise SettingsError(f"{path} cannot be read: {error}. Remove it to choose anew.") from None
    return {name: convert(name, value, str(path)) for name, value in content.items() if name in SETTINGS}


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    names = [name for name in environ if name.startswith("VIRGA_") and name not in NOT_SETTINGS]
    return {name[6:].lower(): convert(name[6:].lower(), environ[name], name) for name in names}


def type_name(kind: Any) -> str:
    """The type as the settings page says it."""
    if get_origin(kind) is Literal:
        return " or ".join(f"`{word}`" for word in get_args(kind))
    if get_origin(kind) is tuple:
        return "list of texts"
    if isinstance(kind, types.GenericAlias):
        return str(kind)
    names: dict[Any, str] = {
        int: "whole number",
        float: "number",
        bool: "true or false",
        Path: "path",
        str: "text",
    }
    return names[kind]
