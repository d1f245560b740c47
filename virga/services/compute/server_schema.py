"""What clients may send about servers, by microversion: create, update, rebuild, and the queries of lists."""

from __future__ import annotations

import copy
from typing import Any

from virga.services.compute.schema import (
    ANY_QUERY,
    BASE64,
    BOOLEAN,
    CERTIFICATES,
    DESCRIPTION,
    DEVICE_TAG,
    DISK_CONFIG,
    FLAVOR_REF,
    FQDN,
    HOSTNAME,
    IP,
    IPV4,
    IPV6,
    METADATA,
    NAME,
    NAME_OR_NONE,
    PAGING,
    PERSONALITY,
    POSITIVE,
    REGEX_QUERY,
    SIZE,
    TEXT,
    UUID,
    V21,
    Schema,
    Versioned,
    changed,
    obj,
    several,
    wrapped,
)

_SHORT = {"type": "string", "maxLength": 255}
_BDM_V1 = {
    "virtual_name": _SHORT,
    "volume_id": UUID,
    "snapshot_id": UUID,
    "volume_size": SIZE,
    "device_name": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9._/-]*$"},
    "delete_on_termination": BOOLEAN,
    "no_device": {},
    "connection_info": {"type": "string", "maxLength": 16777215},
}
_BDM_V2 = _BDM_V1 | {
    "source_type": {"type": "string", "enum": ["volume", "image", "snapshot", "blank"]},
    "uuid": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9._-]*$"},
    "image_id": UUID,
    "destination_type": {"type": "string", "enum": ["local", "volume"]},
    "guest_format": _SHORT,
    "device_type": _SHORT,
    "disk_bus": _SHORT,
    "boot_index": {"type": ["integer", "string", "null"], "pattern": "^-?[0-9]+$"},
}
_UUIDS = {"type": "array", "items": UUID}
HINTS = obj(
    {
        "group": {"oneOf": [_UUIDS, UUID]},
        "different_host": {"oneOf": [UUID, _UUIDS]},
        "same_host": {"type": ["string", "array"], "items": UUID},
        "query": {"type": ["string", "object"]},
        "target_cell": NAME,
        "different_cell": {"type": ["string", "array"], "items": TEXT},
        "build_near_host_ip": IP,
        "cidr": {"type": "string", "pattern": "^/[0-9a-f.:]+$"},
    },
    extra=True,
)
_PORT = {"type": ["string", "null"], "format": "uuid"}


def _networks(uuid: Schema, **more: Schema) -> Schema:
    return {"type": "array", "items": obj({"fixed_ip": IP, "port": _PORT, "uuid": uuid, **more})}


def _auto(networks: Schema) -> Schema:
    return {"oneOf": [networks, {"type": "string", "enum": ["none", "auto"]}]}


_SERVER = obj(
    {
        "name": NAME,
        "imageRef": {"oneOf": [UUID, {"type": "string", "maxLength": 0}]},
        "flavorRef": FLAVOR_REF,
        "adminPass": TEXT,
        "metadata": METADATA,
        "networks": _networks(TEXT),
        "OS-DCF:diskConfig": DISK_CONFIG,
        "accessIPv4": IPV4,
        "accessIPv6": IPV6,
        "personality": PERSONALITY,
        "availability_zone": NAME,
        "block_device_mapping": {"type": "array", "items": obj(_BDM_V1)},
        "block_device_mapping_v2": {"type": "array", "items": obj(_BDM_V2)},
        "config_drive": BOOLEAN,
        "key_name": NAME,
        "min_count": POSITIVE,
        "max_count": POSITIVE,
        "return_reservation_id": BOOLEAN,
        "security_groups": {"type": "array", "items": obj({"name": NAME})},
        "user_data": BASE64 | {"maxLength": 65535},
    },
    ["name", "flavorRef"],
)
_CREATE = obj(
    {"server": _SERVER, "os:scheduler_hints": HINTS, "OS-SCH-HNT:scheduler_hints": HINTS}, ["server"]
)


def _create_steps() -> list[tuple[tuple[int, int], Schema]]:
    steps = [(V21, _CREATE)]

    def step(version: tuple[int, int], **properties: Any) -> None:
        steps.append((version, changed(steps[-1][1], "server", **properties)))

    def devices(**more: Schema) -> Schema:
        return {"type": "array", "items": obj(_BDM_V2 | more)}

    step((2, 19), description=DESCRIPTION)
    step((2, 32), networks=_networks(TEXT, tag=DEVICE_TAG), block_device_mapping_v2=devices(tag=DEVICE_TAG))
    step((2, 33), block_device_mapping_v2=devices())
    step((2, 37), networks=_auto(_networks(UUID)))
    steps[-1][1]["properties"]["server"]["required"] = ["name", "flavorRef", "networks"]
    step(
        (2, 42),
        networks=_auto(_networks(UUID, tag=DEVICE_TAG)),
        block_device_mapping_v2=devices(tag=DEVICE_TAG),
    )
    step((2, 52), tags={"type": "array", "items": DEVICE_TAG, "maxItems": 50})
    step((2, 57), personality=None)
    step((2, 63), trusted_image_certificates=CERTIFICATES)
    volume_type = {"type": ["string", "null"], "minLength": 0, "maxLength": 255}
    step((2, 67), block_device_mapping_v2=devices(tag=DEVICE_TAG, volume_type=volume_type))
    step((2, 74), host=FQDN, hypervisor_hostname=FQDN)
    step((2, 90), hostname=HOSTNAME)
    step((2, 94), hostname=FQDN)
    return steps


CREATE = Versioned(*_create_steps())

_UPDATE = wrapped(
    "server", obj({"name": NAME, "OS-DCF:diskConfig": DISK_CONFIG, "accessIPv4": IPV4, "accessIPv6": IPV6})
)
_UPDATE_219 = changed(_UPDATE, "server", description=DESCRIPTION)
_UPDATE_294 = changed(_UPDATE_219, "server", hostname=FQDN)
UPDATE = Versioned(
    (V21, _UPDATE),
    ((2, 19), _UPDATE_219),
    ((2, 90), changed(_UPDATE_219, "server", hostname=HOSTNAME)),
    ((2, 94), _UPDATE_294),
    ((2, 104), changed(_UPDATE_294, "server", pinned_availability_zone=NAME_OR_NONE)),
)

_REBUILD = wrapped(
    "rebuild",
    obj(
        {
            "name": NAME,
            "imageRef": UUID,
            "adminPass": TEXT,
            "metadata": METADATA,
            "preserve_ephemeral": BOOLEAN,
            "OS-DCF:diskConfig": DISK_CONFIG,
            "accessIPv4": IPV4,
            "accessIPv6": IPV6,
            "personality": PERSONALITY,
        },
        ["imageRef"],
    ),
)


def _rebuild_steps() -> list[tuple[tuple[int, int], Schema]]:
    steps = [(V21, _REBUILD)]

    def step(version: tuple[int, int], **properties: Any) -> None:
        steps.append((version, changed(steps[-1][1], "rebuild", **properties)))

    step((2, 19), description=DESCRIPTION)
    step((2, 54), key_name=NAME_OR_NONE)
    user_data = {"oneOf": [{"type": "string", "format": "base64", "maxLength": 65535}, {"type": "null"}]}
    step((2, 57), personality=None, user_data=user_data)
    step((2, 63), trusted_image_certificates=CERTIFICATES)
    step((2, 90), hostname=HOSTNAME)
    step((2, 94), hostname=FQDN)
    return steps


REBUILD = Versioned(*_rebuild_steps())

# --- lists ---------------------------------------------------------------------------------------------

IGNORED_SORT_KEYS = [
    "architecture",
    "cell_name",
    "cleaned",
    "default_ephemeral_device",
    "default_swap_device",
    "deleted",
    "deleted_at",
    "disable_terminate",
    "ephemeral_gb",
    "ephemeral_key_uuid",
    "id",
    "key_data",
    "launched_on",
    "locked",
    "memory_mb",
    "os_type",
    "reservation_id",
    "root_gb",
    "shutdown_terminate",
    "user_data",
    "vcpus",
    "vm_mode",
]
SORT_KEYS = [
    "access_ip_v4",
    "access_ip_v6",
    "auto_disk_config",
    "availability_zone",
    "config_drive",
    "created_at",
    "display_description",
    "display_name",
    "host",
    "hostname",
    "image_ref",
    "instance_type_id",
    "kernel_id",
    "key_name",
    "launch_index",
    "launched_at",
    "locked_by",
    "node",
    "power_state",
    "progress",
    "project_id",
    "ramdisk_id",
    "root_device_name",
    "task_state",
    "terminated_at",
    "updated_at",
    "user_id",
    "uuid",
    "vm_state",
]
JOINED = [
    "block_device_mapping",
    "services",
    "metadata",
    "system_metadata",
    "info_cache",
    "security_groups",
    "pci_devices",
]
_PLAIN = [
    "user_id",
    "project_id",
    "tenant_id",
    "launch_index",
    "image_ref",
    "image",
    "vm_state",
    "task_state",
    "host",
    "uuid",
    "sort_dir",
    "all_tenants",
    "soft_deleted",
    "deleted",
    "status",
]
_REGEX = [
    "kernel_id",
    "ramdisk_id",
    "hostname",
    "key_name",
    "power_state",
    "node",
    "flavor",
    "reservation_id",
    "launched_at",
    "terminated_at",
    "availability_zone",
    "name",
    "display_name",
    "description",
    "display_description",
    "locked_by",
    "root_device_name",
    "config_drive",
    "access_ip_v4",
    "access_ip_v6",
    "auto_disk_config",
    "progress",
    "ip",
    "ip6",
    "created_at",
]
_TIME = several({"type": "string", "format": "date-time"})


def _keys(names: list[str]) -> Schema:
    return several({"type": "string", "enum": names})


_LIST: Schema = obj(
    dict.fromkeys([*_PLAIN, *JOINED], ANY_QUERY)
    | dict.fromkeys(_REGEX, REGEX_QUERY)
    | {"sort_key": _keys(SORT_KEYS + IGNORED_SORT_KEYS), "changes-since": _TIME}
    | PAGING,
    extra=True,
    patternProperties={"^_": ANY_QUERY},
)
_TAGS = dict.fromkeys(("tags", "tags-any", "not-tags", "not-tags-any"), REGEX_QUERY)


def _list_steps() -> list[tuple[tuple[int, int], Schema]]:
    steps = [(V21, _LIST)]
    for version, more in (
        ((2, 26), dict(_TAGS)),
        ((2, 66), {"changes-before": _TIME}),
        ((2, 73), {"locked": ANY_QUERY, "sort_key": _keys(["locked", *SORT_KEYS, *IGNORED_SORT_KEYS])}),
        ((2, 75), {"sort_key": _keys(["locked", *SORT_KEYS])}),
    ):
        schema = copy.deepcopy(steps[-1][1])
        schema["properties"] |= more
        steps.append((version, schema))
    steps[-1][1]["additionalProperties"] = False
    return steps


LIST = Versioned(*_list_steps())
SHOW = Versioned((V21, obj({}, extra=True)), ((2, 102), obj({})))
