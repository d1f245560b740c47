"""What a host must look like: keyed items, each the whole truth about one object on one host.

An agent holds a dictionary ``(kind, key) -> item``. Items refer to one another by id, never by
nesting what changes at its own pace, so that a change of one port stays the change of one or two
items however large the network is.
"""

from __future__ import annotations

import msgspec


class Item(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """Base of all items. ``key`` is unique within the kind on a host."""

    key: str


class FixedIp(msgspec.Struct, frozen=True, omit_defaults=True):
    """One address of a port."""

    subnet_id: str
    ip_address: str
    prefixlen: int


class AddressPair(msgspec.Struct, frozen=True):
    """An extra source address (a CIDR or an address) that a port may use."""

    ip_address: str
    mac_address: str


class Network(Item, frozen=True, kw_only=True, tag="network"):
    """A layer 2 network that has at least one port on the host. ``key`` is the network id."""

    network_type: str
    """``flat``, ``vlan``, ``vxlan``, ``geneve`` or ``local``."""
    physical_network: str | None = None
    segmentation_id: int | None = None
    mtu: int = 1500


class SubPort(msgspec.Struct, frozen=True):
    """One VLAN of a trunk: frames with this tag on the parent belong to ``port_id``."""

    port_id: str
    network_id: str
    segmentation_id: int
    mac_address: str


class PortQos(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits and marks of a port, 0 for none. Egress is what the instance sends."""

    egress_kbps: int = 0
    egress_burst_kbps: int = 0
    egress_kpps: int = 0
    egress_burst_kpps: int = 0
    ingress_kbps: int = 0
    ingress_burst_kbps: int = 0
    dscp_mark: int | None = None


class Port(Item, frozen=True, kw_only=True, tag="port"):
    """A port bound to the host. ``key`` is the port id."""

    network_id: str
    mac_address: str
    device_name: str
    """Kernel name of the end that is on ``br-int``: ``tap…``, ``qvo…``, ``qr-…``, ``qg-…``."""
    device_owner: str = ""
    device_id: str = ""
    admin_state_up: bool = True
    plug: str = "ovs"
    """``ovs`` (tap on br-int), ``hybrid`` (tap, qbr, qvb/qvo) or ``veth`` (into a namespace of ours)."""
    fixed_ips: list[FixedIp] = []
    allowed_address_pairs: list[AddressPair] = []
    port_security_enabled: bool = True
    security_group_ids: list[str] = []
    """Empty with ``port_security_enabled``: only replies, DHCP and neighbour discovery pass."""
    sub_ports: list[SubPort] = []
    trunk_id: str | None = None
    qos: PortQos | None = None


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """A security group rule, normalised: protocol is a number, addresses are CIDRs."""

    id: str
    direction: str
    """``ingress`` or ``egress``."""
    ethertype: str
    """``IPv4`` or ``IPv6``."""
    protocol: int | None = None
    port_range_min: int | None = None
    """For ICMP the type."""
    port_range_max: int | None = None
    """For ICMP the code."""
    remote_ip_prefix: str | None = None
    remote_group_id: str | None = None
    remote_address_group_id: str | None = None


class SecurityGroup(Item, frozen=True, kw_only=True, tag="security_group"):
    """A group used by a port of the host. ``key`` is the group id."""

    stateful: bool = True
    rules: list[Rule] = []


class GroupMember(Item, frozen=True, kw_only=True, tag="group_member"):
    """One port of a group that a rule on this host names as remote. ``key`` is ``group_id/port_id``."""

    group_id: str
    addresses: list[str] = []
    """Fixed addresses and allowed pairs, as CIDRs of both families."""


class AddressGroup(Item, frozen=True, kw_only=True, tag="address_group"):
    """An address group that a rule on this host names. ``key`` is its id."""

    addresses: list[str] = []


class HostRoute(msgspec.Struct, frozen=True):
    destination: str
    nexthop: str


class DhcpSubnet(msgspec.Struct, frozen=True, omit_defaults=True):
    """A subnet as its network's DHCP namespace needs it."""

    subnet_id: str
    cidr: str
    ip_version: int
    enable_dhcp: bool
    gateway_ip: str | None = None
    dns_nameservers: list[str] = []
    host_routes: list[HostRoute] = []
    ipv6_address_mode: str | None = None
    ipv6_ra_mode: str | None = None
    metadata_route: bool = False
    """True when no router serves 169.254.169.254 on this subnet, so the DHCP port must."""


class DhcpNetwork(Item, frozen=True, kw_only=True, tag="dhcp_network"):
    """A network whose ``qdhcp-`` namespace is on this host. ``key`` is the network id."""

    port_id: str
    mac_address: str
    device_name: str
    fixed_ips: list[FixedIp]
    subnets: list[DhcpSubnet]
    mtu: int
    dns_domain: str = "openstacklocal"
    lease_seconds: int = 86400


class DhcpOption(msgspec.Struct, frozen=True):
    name: str
    value: str
    ip_version: int = 4


class DhcpHost(Item, frozen=True, kw_only=True, tag="dhcp_host"):
    """One port as DHCP and DNS of its network must know it. ``key`` is the port id."""

    network_id: str
    mac_address: str
    hostname: str
    fixed_ips: list[FixedIp]
    options: list[DhcpOption] = []
    leases: bool = True
    """False for ports that only want a name (routers, DHCP itself)."""


class RouterSubnet(msgspec.Struct, frozen=True, omit_defaults=True):
    """A subnet behind a router port."""

    subnet_id: str
    cidr: str
    gateway_ip: str | None = None
    ipv6_ra_mode: str | None = None
    ipv6_address_mode: str | None = None
    dns_nameservers: list[str] = []
    address_scope_id: str | None = None


class RouterPort(msgspec.Struct, frozen=True, omit_defaults=True):
    """An interface (``qr-``) or gateway (``qg-``) of a router."""

    port_id: str
    network_id: str
    mac_address: str
    device_name: str
    fixed_ips: list[FixedIp]
    subnets: list[RouterSubnet]
    mtu: int = 1500


class MeterRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """What counts, of what crosses a gateway: ``source`` and ``destination`` are CIDRs of one IP version."""

    direction: str
    excluded: bool = False
    source: str | None = None
    destination: str | None = None


class RouterMeter(msgspec.Struct, frozen=True):
    """A metering label that the router counts for."""

    label_id: str
    rules: list[MeterRule]


class Router(Item, frozen=True, kw_only=True, tag="router"):
    """A router whose ``qrouter-`` namespace is on this host. ``key`` is the router id."""

    name: str = ""
    admin_state_up: bool = True
    enable_snat: bool = True
    gateway: RouterPort | None = None
    extra_gateways: list[RouterPort] = []
    default_route_ecmp: bool = False
    """Default routes go by all gateways; else by the first."""
    meters: list[RouterMeter] = []
    interfaces: list[RouterPort] = []
    routes: list[HostRoute] = []


class FloatingIp(Item, frozen=True, kw_only=True, tag="floating_ip"):
    """An associated floating IP of a router on this host. ``key`` is its id."""

    router_id: str
    floating_ip_address: str
    fixed_ip_address: str
    port_id: str


class PortForwarding(Item, frozen=True, kw_only=True, tag="port_forwarding"):
    """A forwarding of one (or a range of) external port. ``key`` is its id."""

    router_id: str
    floatingip_id: str
    floating_ip_address: str
    protocol: str
    external_port: str
    """A number or ``low:high``."""
    internal_ip_address: str
    internal_port: str


class ImageRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image of the cache. ``path`` is where the store keeps it, reachable from the host."""

    id: str
    path: str
    disk_format: str
    size: int
    checksum: str | None = None


class Nic(msgspec.Struct, frozen=True, omit_defaults=True):
    port_id: str
    network_id: str
    mac_address: str
    tap: str
    mtu: int = 1500


class Disk(msgspec.Struct, frozen=True, omit_defaults=True):
    """A volume of an instance. ``connection`` says how QEMU reaches it."""

    volume_id: str
    device: str
    """Guest name wished for, such as ``/dev/vdb``."""
    connection: dict[str, str | int]
    """``{"driver": "pool", "path"}`` (a volume of a pool on this machine, ``path`` of VolumeFacts),
    ``{"driver": "file", "path", "format"}`` or ``{"driver": "iscsi", "portal", "iqn", "lun", "user", "password"}``."""
    attachment_id: str = ""
    boot_index: int = -1
    read_only: bool = False
    disk_bus: str = "virtio"
    limits: dict[str, int] = {}
    """Speed limits by OpenStack's names, such as ``total_iops_sec``."""


class Arrival(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the machine is like that will be sent here (see Layout in calls.py)."""

    disks: dict[str, int] = {}
    slots: dict[str, int] = {}


class Instance(Item, frozen=True, kw_only=True, tag="instance"):
    """A server on this host. ``key`` is the server id.

    A higher ``build`` than the realised one means: throw the root disk away and build again
    (rebuild). ``power_state`` is what must be: ``running``, ``shutdown``, ``paused``, ``suspended``.
    """

    name: str
    hostname: str
    driver: str = "qemu"
    """``qemu`` or ``namespace``."""
    vcpus: int = 1
    memory_mb: int = 64
    root_gb: int = 0
    ephemeral_gb: int = 0
    swap_mb: int = 0
    image: ImageRef | None = None
    kernel: ImageRef | None = None
    ramdisk: ImageRef | None = None
    kernel_arguments: str = ""
    """For ``kernel``; empty means those that any Linux needs to find its root and console."""
    rescue_image: ImageRef | None = None
    """While set, the instance boots from this image and sees its own disk as the second."""
    nics: list[Nic] = []
    disks: list[Disk] = []
    config_drive: bool = False
    config_drive_files: dict[str, str] = {}
    """Path in the drive to base64 content; filled when ``config_drive``."""
    power_state: str = "running"
    build: int = 1
    starts: int = 0
    """How often somebody asked for a start: another number than at a guest's own end means that it is asked for again."""
    source_disk: str | None = None
    """Path of a disk to take over instead of the image (cold migration, resize to another host, unshelve)."""
    arrival: Arrival | None = None
    """While set, it runs elsewhere and comes here: wait for its disks and memory, and do not let it run."""
    departing: bool = False
    """While set, it is being sent elsewhere: once it stands still here, it must not run again."""
    console: bool = True
    disk_bus: str = "virtio"
    nic_model: str = "virtio"


class Volume(Item, frozen=True, kw_only=True, tag="volume"):
    """A volume of the pool that this host serves. ``key`` is the volume id.

    ``export`` wishes an iSCSI target for it. Creation, cloning and deletion are calls.
    """

    size_gb: int
    export: bool = False
    iqn: str = ""
    user: str = ""
    password: str = ""


AnyItem = (
    Network
    | Port
    | SecurityGroup
    | GroupMember
    | AddressGroup
    | DhcpNetwork
    | DhcpHost
    | Router
    | FloatingIp
    | PortForwarding
    | Instance
    | Volume
)
