"""POST /servers: validate, count against quotas, make rows, and leave the build to a job."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import secrets
import string
import unicodedata
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.lib.ids import is_uuid_like, new_uuid
from virga.services.compute import (
    block_device,
    flavor,
    host,
    imaging,
    instance_action,
    keypair,
    limit_table,
    port_allocation,
    server_group,
    states,
    volumes,
)
from virga.services.compute.block_device import Device
from virga.services.compute.faults import Invalid, Refused
from virga.services.compute.imaging import Image
from virga.services.compute.jobs_arguments import ServerJob
from virga.services.compute.models import server as table
from virga.services.compute.models import server_tag
from virga.services.compute.page import links
from virga.services.compute.schema import check_body, truth
from virga.services.compute.server_schema import CREATE
from virga.settings import Settings

POLICY = "os_compute_api:servers:"


@dataclass
class Order:
    """A create, understood and found possible."""

    name: str
    flavor: dict[str, Any]
    image: Image | None
    devices: list[Device]
    networks: list[dict[str, Any]] | str | None
    values: dict[str, Any]
    count: int
    password: str
    tags: list[str] = field(default_factory=list)
    group_id: str | None = None


def create(tx: Tx, req: Request) -> Any:
    body = check_body(req, CREATE)
    asked = body["server"]
    req.enforce(POLICY + "create", _target(req))
    order = _understand(tx, req, body)
    reservation = "r-" + "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
    first = ""
    for index in range(order.count):
        server_id = _insert(tx, req, order, reservation, index)
        first = first or server_id
    if truth(asked.get("return_reservation_id", False)):
        return {"reservation_id": reservation}
    shown = {
        "id": first,
        "links": links(req, "servers", first),
        "OS-DCF:diskConfig": "AUTO" if order.values["auto_disk_config"] else "MANUAL",
        "security_groups": asked.get("security_groups", [{"name": "default"}]),
        "adminPass": order.password,
    }
    return Response(202, {"server": shown}, {"location": shown["links"][0]["href"]})


def _target(req: Request) -> dict[str, Any]:
    return {"project_id": req.caller.project_id, "user_id": req.caller.user_id}


# --- understanding -------------------------------------------------------------------------------------


def _understand(tx: Tx, req: Request, body: dict[str, Any]) -> Order:
    asked = body["server"]
    caller = req.caller
    count = _count(asked)
    hints = body.get("os:scheduler_hints") or body.get("OS-SCH-HNT:scheduler_hints") or {}
    if asked.get("trusted_image_certificates"):
        req.enforce(POLICY + "create:trusted_certs", _target(req))
    zone, forced = _zone(tx, req, asked)
    image_id = _image_id(asked)
    if asked.get("block_device_mapping") or asked.get("block_device_mapping_v2"):
        req.enforce(POLICY + "create:attach_volume", _target(req))
    devices = block_device.from_request(asked, image_id)
    networks = _networks(req, asked, count)
    size = flavor.get(tx, caller, _flavor_id(asked), 400)
    kept = flavor.snapshot(size)
    image = imaging.usable(tx, caller, image_id) if image_id else None
    if image is not None and (mapped := volumes.from_image(image.properties)):
        own = [d for d in devices if not (d.source_type == "image" and d.destination_type == "local")]
        devices = own if any(d.boot_index == 0 for d in own) else [*mapped, *own]
    kind = kept["extra_specs"].get("virga:kind", "")
    devices = block_device.check(devices, kept)
    devices = volumes.check_new(tx, caller, devices, count, kind, image is not None)
    root = next((d for d in devices if d.boot_index == 0), None)
    from_volume = root is not None and root.is_volume
    if image is not None and not from_volume:
        imaging.check_fits(image, kept)
    diskless = kept["root_gb"] == 0 and kind != "namespace"
    if diskless and not from_volume and not req.allows(POLICY + "create:zero_disk_flavor"):
        raise Refused(
            "Only volume-backed servers are allowed for flavors with zero disk.",
            type="BootFromVolumeRequiredForZeroDiskFlavor",
        )
    limit_table.check_servers(tx, caller.project_id or "", caller.user_id, 1, kept)
    count = _affordable(tx, req, asked, kept, count)
    networks = port_allocation.check_request(tx, caller, networks, count, req)
    port_allocation.check_groups(tx, caller, _groups(asked))
    values = _values(tx, req, asked, kept, image, hints)
    values |= {
        "pinned_availability_zone": zone,
        "availability_zone": zone,
        "requested_host": forced,
        "root_device_name": root.device_name if root else "/dev/vda",
    }
    return Order(
        name=asked["name"].strip(),
        flavor=kept,
        image=image,
        devices=devices,
        networks=networks,
        values=values,
        count=count,
        password=asked.get("adminPass") or password(),
        tags=list(dict.fromkeys(asked.get("tags") or [])),
        group_id=server_group.check_hint(tx, caller, hints, count),
    )


def _count(asked: dict[str, Any]) -> int:
    least = int(asked.get("min_count", 1))
    most = int(asked.get("max_count", least))
    if least > most:
        raise Invalid("min_count must be <= max_count")
    return most


def _affordable(tx: Tx, req: Request, asked: dict[str, Any], kept: dict[str, Any], count: int) -> int:
    """As many as the quota leaves, but not fewer than min_count."""
    least = int(asked.get("min_count", 1))
    caller = req.caller
    for wanted in range(count, least, -1):
        try:
            limit_table.check_servers(tx, caller.project_id or "", caller.user_id, wanted, kept)
        except Refused:
            continue
        return wanted
    limit_table.check_servers(tx, caller.project_id or "", caller.user_id, least, kept)
    return least


def _flavor_id(asked: dict[str, Any]) -> str:
    text = str(asked["flavorRef"])
    return text.rstrip("/").rpartition("/")[2] if "/" in text else text


def _image_id(asked: dict[str, Any]) -> str | None:
    image_id = asked.get("imageRef")
    devices = asked.get("block_device_mapping") or asked.get("block_device_mapping_v2")
    if not image_id:
        if image_id == "" and not devices:
            raise Invalid("Invalid imageRef provided.")
        if not devices:
            raise Invalid(
                "Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping "
                "combination is not valid."
            )
        return None
    return str(image_id)


def _zone(tx: Tx, req: Request, asked: dict[str, Any]) -> tuple[str | None, str | None]:
    """The zone asked for, and the host that an admin named by ``zone:host:node`` or (2.74) by name."""
    text = asked.get("availability_zone")
    zone, forced = text, None
    if text and ":" in text:
        parts = text.split(":")
        if len(parts) > 3:
            raise Invalid("Invalid input received: Unable to parse availability_zone")
        zone = parts[0] or None
        forced = next((p for p in parts[1:] if p), None)
        if forced:
            req.enforce(POLICY + "create:forced_host", _target(req))
    if req.microversion >= (2, 74) and (named := asked.get("host") or asked.get("hypervisor_hostname")):
        req.enforce("compute:servers:create:requested_destination", _target(req))
        if forced:
            raise Invalid(
                "One mechanism with host and/or hypervisor_hostname and another mechanism with zone:host:node are "
                "mutually exclusive."
            )
        if host.service_of(tx, named) is None:
            raise Invalid(f"Compute host {named} could not be found.", type="ComputeHostNotFound")
        forced = named
    if zone and zone not in {host.DEFAULT_ZONE, *host.zones_by_host(tx).values()}:
        raise Invalid("The requested availability zone is not available")
    if forced:
        actual = host.zone_of(tx, forced)
        zone = zone if zone == actual else None
    return zone, forced


def _networks(req: Request, asked: dict[str, Any], count: int) -> list[dict[str, Any]] | str | None:
    networks = asked.get("networks")
    if networks is None or isinstance(networks, str):
        return networks
    seen: set[str] = set()
    for item in networks:
        port = item.get("port")
        if port:
            if port in seen:
                raise Invalid(
                    f"Port ID '{port}' was specified twice: you cannot attach a port multiple times."
                )
            seen.add(port)
            if item.get("fixed_ip"):
                raise Invalid(
                    f"Specified Fixed IP '{item['fixed_ip']}' cannot be used with port '{port}': the two cannot be "
                    "specified together."
                )
        elif "uuid" not in item:
            raise Invalid("Bad network format: missing 'uuid'")
        elif not is_uuid_like(item["uuid"]):
            raise Invalid(f"Bad networks format: network uuid is not in proper format ({item['uuid']})")
        if count > 1 and port:
            raise Invalid(
                "Unable to launch multiple instances with a single configured port ID. Please launch your instance "
                "one by one with different ports."
            )
        if count > 1 and item.get("fixed_ip"):
            raise Invalid("max_count cannot be greater than 1 if an fixed_ip is specified.")
    if networks:
        req.enforce(POLICY + "create:attach_network", _target(req))
    return list(networks)


def _groups(asked: dict[str, Any]) -> list[str]:
    names = [g["name"].strip() for g in asked.get("security_groups") or [] if g.get("name")]
    return list(dict.fromkeys(names))


def _values(
    tx: Tx,
    req: Request,
    asked: dict[str, Any],
    kept: dict[str, Any],
    image: Image | None,
    hints: dict[str, Any],
) -> dict[str, Any]:
    caller = req.caller
    _check_metadata(tx, caller, asked.get("metadata") or {})
    _check_files(tx, caller, asked.get("personality") or [])
    key_name = asked.get("key_name")
    key = keypair.find(tx, caller.user_id, key_name) if key_name else None
    if key_name and key is None:
        raise Invalid("Invalid key_name provided.")
    description = asked.get("description") if req.microversion >= (2, 19) else asked["name"].strip()
    properties = dict(image.properties) if image else {}
    drive = asked.get("config_drive")
    mandatory = properties.get("img_config_drive") == "mandatory"
    return {
        "description": description,
        "user_data": _user_data(asked.get("user_data")),
        "key_name": key_name,
        "key_data": key.public_key if key else None,
        "config_drive": "True" if mandatory or (drive is not None and truth(drive)) else "",
        "metadata": asked.get("metadata") or {},
        "personality": asked.get("personality") or [],
        "access_ip_v4": plain_address(asked.get("accessIPv4")),
        "access_ip_v6": plain_address(asked.get("accessIPv6")),
        "auto_disk_config": _disk_config(asked, properties),
        "scheduler_hints": hints,
        "security_groups": _groups(asked) or ["default"],
        "trusted_certs": asked.get("trusted_image_certificates"),
        "image_id": image.id if image else None,
        "image_properties": properties,
        "kernel_id": properties.get("kernel_id", "") or "",
        "ramdisk_id": properties.get("ramdisk_id", "") or "",
    }


def plain_address(text: str | None) -> str | None:
    """An address in its shortest spelling."""
    return str(ipaddress.ip_address(text)) if text else text


def _user_data(text: str | None) -> str | None:
    if text:
        try:
            base64.b64decode(text, validate=False)
        except (binascii.Error, ValueError):
            raise Invalid("User data needs to be valid base 64.") from None
    return text


def _disk_config(asked: dict[str, Any], properties: dict[str, Any]) -> bool:
    automatic = properties.get("auto_disk_config", properties.get("hw_auto_disk_config"))
    wanted = asked.get("OS-DCF:diskConfig")
    if wanted == "AUTO" and automatic is not None and not truth(automatic):
        raise Invalid(
            f"Requested image {asked.get('imageRef')} has automatic disk resize disabled.",
            type="AutoDiskConfigDisabledByImage",
        )
    if wanted is not None:
        return bool(wanted == "AUTO")
    return automatic is not None and truth(automatic)


def _check_metadata(tx: Tx, caller: Any, metadata: dict[str, str]) -> None:
    limit = limit_table.limits_of(tx, caller.project_id)["metadata_items"]
    if 0 <= limit < len(metadata):
        raise Refused(f"Maximum number of metadata items exceeds {limit}", type="MetadataLimitExceeded")


def _check_files(tx: Tx, caller: Any, files: list[dict[str, str]]) -> None:
    limits = limit_table.limits_of(tx, caller.project_id)
    if 0 <= limits["injected_files"] < len(files):
        raise Refused("Personality file limit exceeded", type="OnsetFileLimitExceeded")
    for item in files:
        if 0 <= limits["injected_file_path_bytes"] < len(item.get("path", "")):
            raise Refused("Personality file path exceeds maximum length", type="OnsetFilePathLimitExceeded")
        if 0 <= limits["injected_file_content_bytes"] < len(item.get("contents", "")) * 3 // 4:
            raise Refused(
                "Personality file content exceeds maximum size", type="OnsetFileContentLimitExceeded"
            )


_PASSWORD_SYMBOLS = ("23456789", "ABCDEFGHJKLMNPQRSTUVWXYZ", "abcdefghijkmnopqrstuvwxyz")


def password(length: int = 12) -> str:
    """Random, without characters that look alike, with at least one of each kind."""
    symbols = [secrets.choice(kind) for kind in _PASSWORD_SYMBOLS]
    symbols += [secrets.choice("".join(_PASSWORD_SYMBOLS)) for _ in range(length - len(symbols))]
    secrets.SystemRandom().shuffle(symbols)
    return "".join(symbols)


# --- rows ----------------------------------------------------------------------------------------------


def hostname_of(name: str, fallback: str) -> str:
    """A host name out of a display name."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[ _]", "-", plain)
    plain = re.sub(r"[^\w.-]+", "", plain).lower().strip(".-")
    return plain[:63].rstrip(".-") or fallback


def _insert(tx: Tx, req: Request, order: Order, reservation: str, index: int) -> str:
    server_id = new_uuid()
    caller = req.caller
    name = order.name if order.count == 1 else f"{order.name}-{index + 1}"
    asked = req.body["server"]
    given = asked.get("hostname") if req.microversion >= (2, 90) else None
    if given and order.count > 1:
        raise Invalid(
            "Unable to allocate a single hostname to multiple instances",
            type="AmbiguousHostnameForMultipleInstances",
        )
    tx.execute(
        insert(table).values(
            id=server_id,
            project_id=caller.project_id or "",
            user_id=caller.user_id,
            name=name,
            hostname=given or hostname_of(name, f"server-{server_id}"),
            vm_state=states.BUILDING,
            task_state="scheduling",
            power_state=states.NOSTATE,
            progress=0,
            flavor_id=order.flavor["id"],
            flavor=order.flavor,
            requested_networks=order.networks,
            tried_hosts=[],
            reservation_id=reservation,
            launch_index=index,
            admin_password=order.password,
            created_at=tx.now,
            updated_at=tx.now,
            **order.values,
        )
    )
    for device in order.devices:
        block_device.add(tx, server_id, device)
    for tag in order.tags:
        tx.execute(insert(server_tag).values(server_id=server_id, tag=tag))
    if order.group_id:
        server_group.join(tx, order.group_id, server_id)
    port_allocation.remember_request(tx, server_id, caller, order.networks)
    volumes.reserve_all(tx, server_id)
    instance_action.start(tx, server_id, "create", caller)
    tx.job("compute.build", server_id, ServerJob(server_id))
    return server_id


def routes(settings: Settings) -> list[Route]:
    return [Route("POST", "/v2.1/servers", create, AUTHENTICATED, status=202)]
