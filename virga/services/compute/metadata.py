"""What a guest may know about itself: the trees at 169.254.169.254, and the same on its config drive.

Two trees: EC2's under ``/latest/`` (and dates), OpenStack's under ``/openstack/``. Which guest asks follows from
the network (or router) that the question came by and the address that it came from; from nothing the guest says.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import select, update

from virga.contract.calls import MetadataAnswer, MetadataRequest
from virga.db.tx import Tx
from virga.services.compute import networking, server
from virga.services.compute.host import DEFAULT_ZONE
from virga.services.compute.metadata_network import network_data
from virga.services.compute.models import server as server_table
from virga.services.compute.networking import Vif
from virga.services.compute.server import Server
from virga.services.network.models import ip_allocation, port
from virga.services.network.models_l3 import router_interface
from virga.settings import Settings

EC2_VERSIONS = (
    *("1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15"),
    *("2008-02-01", "2008-09-01", "2009-04-04"),
)
OPENSTACK_VERSIONS = (
    *("2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06"),
    *("2017-02-22", "2018-08-27", "2020-10-14"),
)
MAX_PASSWORD = 1020

Tree = Mapping[str, Any]
"""Names to texts, or to further trees."""


@dataclass(frozen=True)
class Facts:
    """A server and its ports, as the trees are made of them."""

    server: Server
    vifs: list[Vif]
    domain: str

    @property
    def hostname(self) -> str:
        name = str(self.server.hostname)
        return f"{name}.{self.domain}" if self.domain and "." not in name else name


# --- who asks ------------------------------------------------------------------------------------------


def answer(tx: Tx, settings: Settings, request: MetadataRequest) -> MetadataAnswer:
    """What the guest behind this address gets."""
    row = _asker(tx, request)
    if row is None:
        return _text(404, "")
    facts = Facts(row, networking.vifs_of(tx, [row.id]).get(row.id, []), settings.dns_domain)
    parts = [part for part in request.path.partition("?")[0].split("/") if part]
    if parts[:1] == ["openstack"]:
        return _openstack(tx, facts, parts[1:], request)
    return _ec2(facts, parts)


def _asker(tx: Tx, request: MetadataRequest) -> Server | None:
    try:
        address = ipaddress.ip_address(request.remote_address.partition("%")[0])
    except ValueError:
        return None
    joined = select(port.c.device_id).where(port.c.device_id != "")
    if address.version == 6 and address.is_link_local:
        joined = joined.where(port.c.mac_address == _mac_of(address))
    else:
        joined = joined.join(ip_allocation, ip_allocation.c.port_id == port.c.id).where(
            ip_allocation.c.ip_address == str(address)
        )
    if request.router_id:
        via = (
            select(port.c.network_id)
            .join(router_interface, router_interface.c.port_id == port.c.id)
            .where(router_interface.c.router_id == request.router_id)
        )
        networks = {row.network_id for row in tx.all(via)}
        joined = joined.where(port.c.network_id.in_(networks))
    else:
        joined = joined.where(port.c.network_id == request.network_id)
    for row in tx.all(joined):
        found = server.find(tx, row.device_id)
        if found is not None:
            return found
    return None


def _mac_of(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """The MAC address inside an EUI-64 link-local address."""
    raw = bytearray(address.packed[8:])
    raw[0] ^= 2
    return ":".join(f"{byte:02x}" for byte in (*raw[:3], *raw[5:]))


def _text(status: int, text: str, kind: str = "text/plain; charset=UTF-8") -> MetadataAnswer:
    return MetadataAnswer(status=status, body=text.encode(), content_type=kind)


# --- EC2's tree ----------------------------------------------------------------------------------------


def _ec2(facts: Facts, parts: list[str]) -> MetadataAnswer:
    if not parts:
        return _text(200, "\n".join((*EC2_VERSIONS, "latest")))
    if parts[0] not in (*EC2_VERSIONS, "latest"):
        return _text(404, "")
    tree: dict[str, Any] = {"meta-data": ec2_tree(facts)}
    data = user_data(facts.server)
    if data is not None:
        tree["user-data"] = data
    return _walk(tree, parts[1:])


def ec2_tree(facts: Facts) -> dict[str, Any]:
    """``meta-data/`` as EC2 has it."""
    row = facts.server
    fixed = next((f for vif in facts.vifs for f in vif.fixed_ips if ":" not in f.ip_address), None)
    floating = next((a for vif in facts.vifs for f in vif.fixed_ips for a in f.floating_ips), "")
    groups = dict.fromkeys(name for vif in facts.vifs for name in vif.security_groups.values())
    tree: dict[str, Any] = {
        "ami-id": f"ami-{_short(row.image_id or 'none')}",
        "ami-launch-index": str(row.launch_index),
        "ami-manifest-path": "FIXME",
        "block-device-mapping": {"ami": _device(row), "root": row.root_device_name or "/dev/vda"},
        "hostname": facts.hostname,
        "instance-action": "none",
        "instance-id": f"i-{row.number:08x}",
        "instance-type": row.flavor["name"],
        "local-hostname": facts.hostname,
        "local-ipv4": fixed.ip_address if fixed else "",
        "placement": {"availability-zone": row.availability_zone or DEFAULT_ZONE},
        "public-hostname": facts.hostname,
        "public-ipv4": floating,
        "reservation-id": row.reservation_id,
        "security-groups": "\n".join(groups),
    }
    if row.kernel_id:
        tree["kernel-id"] = f"aki-{_short(row.kernel_id)}"
    if row.ramdisk_id:
        tree["ramdisk-id"] = f"ari-{_short(row.ramdisk_id)}"
    if row.key_name:
        tree["public-keys"] = {"0": {"_name": f"0={row.key_name}", "openssh-key": row.key_data}}
    return tree


def _short(ident: str) -> str:
    return hashlib.sha256(ident.encode()).hexdigest()[:8]


def _device(row: Server) -> str:
    return str(row.root_device_name or "/dev/vda").removeprefix("/dev/")


def _walk(tree: Any, parts: list[str]) -> MetadataAnswer:
    for part in parts:
        if not isinstance(tree, Mapping) or part not in tree or part == "_name":
            return _text(404, "")
        tree = tree[part]
    if isinstance(tree, Mapping):
        return _text(200, "\n".join(_entry(name, value) for name, value in tree.items() if name != "_name"))
    if isinstance(tree, bytes):
        return MetadataAnswer(status=200, body=tree)
    return _text(200, str(tree))


def _entry(name: str, value: Any) -> str:
    """A line of a listing; keys show their name, trees end with a slash."""
    if isinstance(value, Mapping):
        return str(value.get("_name", f"{name}/"))
    return name


# --- OpenStack's tree ----------------------------------------------------------------------------------


def _openstack(tx: Tx, facts: Facts, parts: list[str], request: MetadataRequest) -> MetadataAnswer:
    if not parts:
        return _text(200, "\n".join((*OPENSTACK_VERSIONS, "latest")))
    version = parts[0]
    if version not in (*OPENSTACK_VERSIONS, "latest"):
        return _text(404, "")
    since = OPENSTACK_VERSIONS[-1] if version == "latest" else version
    if parts[1:] == ["password"] and since >= "2013-04-04":
        return _password(tx, facts.server, request)
    files = openstack_files(tx, facts, since)
    if len(parts) == 1:
        listing = [*files, *(["password"] if since >= "2013-04-04" else [])]
        return _text(200, "\n".join(listing))
    content = files.get(parts[1]) if len(parts) == 2 else None
    if content is None:
        return _text(404, "")
    kind = "application/json" if parts[1].endswith(".json") else "text/plain; charset=UTF-8"
    return MetadataAnswer(status=200, body=content, content_type=kind)


def openstack_files(
    tx: Tx, facts: Facts, since: str = OPENSTACK_VERSIONS[-1], drive: bool = False
) -> dict[str, bytes]:
    """Names and contents of one version's directory."""
    files = {"meta_data.json": _json(meta_data(facts, since, drive))}
    data = user_data(facts.server)
    if data is not None:
        files["user_data"] = data
    if since >= "2013-10-17":
        files["vendor_data.json"] = b"{}"
    if since >= "2015-10-15":
        files["network_data.json"] = _json(network_data(tx, facts.vifs))
    if since >= "2016-10-06":
        files["vendor_data2.json"] = b"{}"
    return files


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def meta_data(facts: Facts, since: str, drive: bool) -> dict[str, Any]:
    """``meta_data.json``."""
    row = facts.server
    found: dict[str, Any] = {
        "uuid": row.id,
        "hostname": facts.hostname,
        "name": row.name,
        "launch_index": row.launch_index,
        "availability_zone": row.availability_zone or DEFAULT_ZONE,
    }
    if row.metadata:
        found["meta"] = row.metadata
    if row.personality:
        found["files"] = [
            {"content_path": f"/content/{index:04d}", "path": item["path"]}
            for index, item in enumerate(row.personality)
        ]
    if row.key_name:
        found["public_keys"] = {row.key_name: row.key_data}
        found["keys"] = [{"name": row.key_name, "type": _key_type(row.key_data), "data": row.key_data}]
    if since >= "2013-04-04":
        found["random_seed"] = _seed(row)
    if drive and row.admin_password:
        found["admin_pass"] = row.admin_password
    if since >= "2015-10-15":
        found["project_id"] = row.project_id
    if since >= "2016-06-30":
        found["devices"] = []
    if since >= "2020-10-14":
        found["dedicated_cpus"] = []
    return found


def _key_type(data: str | None) -> str:
    return "x509" if data and data.startswith("-----BEGIN CERT") else "ssh"


def _seed(row: Server) -> str:
    """The same for one build, so that a drive made twice is one drive; nobody else can know it."""
    secret = f"{row.id}/{row.build}/{row.admin_password}"
    return base64.b64encode(hashlib.shake_256(secret.encode()).digest(512)).decode()


def user_data(row: Server) -> bytes | None:
    return base64.b64decode(row.user_data) if row.user_data else None


def _password(tx: Tx, row: Server, request: MetadataRequest) -> MetadataAnswer:
    """A guest may leave its password, encrypted with the owner's key, once."""
    if request.method in ("GET", "HEAD"):
        return _text(200, row.password or "")
    if request.method != "POST":
        return _text(405, "")
    if row.password:
        return _text(409, "")
    if len(request.body) > MAX_PASSWORD:
        return _text(400, "Request is too large.")
    text = request.body.decode("utf-8", "replace")
    tx.execute(update(server_table).where(server_table.c.id == row.id).values(password=text))
    return _text(200, "")


# --- config drive --------------------------------------------------------------------------------------


def drive(tx: Tx, row: Server, settings: Settings) -> dict[str, bytes]:
    """Path on the config drive to content."""
    facts = Facts(row, networking.vifs_of(tx, [row.id]).get(row.id, []), settings.dns_domain)
    files: dict[str, bytes] = {}
    for version in (*OPENSTACK_VERSIONS, "latest"):
        since = OPENSTACK_VERSIONS[-1] if version == "latest" else version
        for name, content in openstack_files(tx, facts, since, drive=True).items():
            files[f"openstack/{version}/{name}"] = content
    for index, item in enumerate(row.personality or ()):
        files[f"openstack/content/{index:04d}"] = base64.b64decode(item.get("contents", ""))
    tree = ec2_tree(facts)
    tree.pop("public-keys", None)
    if row.key_name:
        tree["public-keys"] = {"0": {"openssh-key": row.key_data}}
    for version in ("2009-04-04", "latest"):
        files[f"ec2/{version}/meta-data.json"] = _json(tree)
        data = user_data(row)
        if data is not None:
            files[f"ec2/{version}/user-data"] = data
    return files
