"""Version documents, extensions and availability zones: what a client asks before anything else."""

from __future__ import annotations

from typing import Any

from virga.api.microversion import Microversions, show
from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED, PUBLIC, Route
from virga.db.tx import Tx
from virga.services.block_storage import host
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import Missing
from virga.settings import Settings

MICROVERSIONS = Microversions("volume", (3, 0), (3, 71))

_EXTENSIONS = (
    (
        "VolumeImageMetadata",
        "os-vol-image-meta",
        "Show image metadata associated with the volume.",
        "2012-12-07",
    ),
    ("UsedLimits", "os-used-limits", "Provide data on limited resources that are being used.", "2013-10-03"),
    ("AdminActions", "os-admin-actions", "Enable admin actions.", "2012-08-25"),
    ("TypesExtraSpecs", "os-types-extra-specs", "Type extra specs support.", "2011-08-24"),
    ("VolumeTypeEncryption", "encryption", "Encryption support for volume types.", "2013-07-01"),
    ("VolumeHostAttribute", "os-vol-host-attr", "Expose host as an attribute of a volume.", "2011-11-03"),
    (
        "VolumeTenantAttribute",
        "os-vol-tenant-attr",
        "Expose the internal project_id as an attribute of a volume.",
        "2011-11-03",
    ),
    (
        "VolumeMigStatusAttribute",
        "os-vol-mig-status-attr",
        "Expose migration_status as an attribute of a volume.",
        "2013-08-08",
    ),
    ("VolumeTypeAccess", "os-volume-type-access", "Volume type access support.", "2014-06-26"),
    ("VolumeActions", "os-volume-actions", "Enable volume actions.", "2012-05-31"),
    ("SnapshotActions", "os-snapshot-actions", "Enable snapshot manager actions.", "2013-07-16"),
    (
        "ExtendedSnapshotAttributes",
        "os-extended-snapshot-attributes",
        "Extended SnapshotAttributes support.",
        "2012-06-19",
    ),
    ("VolumeTransfer", "os-volume-transfer", "Volume transfer management support.", "2013-05-29"),
    ("Backups", "backups", "Backups support.", "2012-12-12"),
    ("Quotas", "os-quota-sets", "Quota management support.", "2011-08-08"),
    ("QuotaClasses", "os-quota-class-sets", "Quota classes management support.", "2012-03-12"),
    ("Qos_specs_manage", "qos-specs", "QoS specs support.", "2013-08-02"),
    ("Services", "os-services", "Services support.", "2012-10-28"),
    ("Hosts", "os-hosts", "Admin-only host administration.", "2011-06-29"),
    ("AvailabilityZones", "os-availability-zone", "Describe Availability Zones.", "2013-06-27"),
    ("TypesManage", "os-types-manage", "Types manage support.", "2011-08-24"),
    ("SchedulerHints", "OS-SCH-HNT", "Pass arbitrary key/value pairs to the scheduler.", "2013-04-18"),
    ("Scheduler_stats", "scheduler-stats", "Scheduler stats support.", "2014-09-07"),
    ("Capabilities", "capabilities", "Capabilities support.", "2015-08-31"),
)


def _document(req: Request) -> dict[str, Any]:
    return {
        "id": "v3.0",
        "status": "CURRENT",
        "version": show(MICROVERSIONS.maximum),
        "min_version": show(MICROVERSIONS.minimum),
        "updated": "2023-08-31T00:00:00Z",
        "links": [
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            {"rel": "self", "href": req.url("/v3/")},
        ],
        "media-types": [
            {"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}
        ],
    }


def index(tx: Tx, req: Request) -> Any:
    return Response(300, {"versions": [_document(req)]})


def one(tx: Tx, req: Request) -> Any:
    return {"versions": [_document(req)]}


def _extension(item: tuple[str, str, str, str]) -> dict[str, Any]:
    name, alias, description, day = item
    return {
        "name": name,
        "alias": alias,
        "description": description,
        "updated": f"{day}T00:00:00+00:00",
        "links": [],
    }


def extensions(tx: Tx, req: Request) -> Any:
    return {"extensions": [_extension(item) for item in _EXTENSIONS]}


def extension(tx: Tx, req: Request) -> Any:
    for item in _EXTENSIONS:
        if item[1] == req["alias"]:
            return {"extension": _extension(item)}
    raise Missing("The resource could not be found.")


def zones(tx: Tx, req: Request) -> Any:
    """One zone; it is there whether or not a host is up, as Cinder's default zone is."""
    return {"availabilityZoneInfo": [{"zoneName": host.ZONE, "zoneState": {"available": True}}]}


def plain_routes() -> list[Route]:
    """What has no form with a project."""
    return [
        Route("GET", "/", index, PUBLIC),
        Route("GET", "/v3", one, AUTHENTICATED),
        Route("GET", "/v3/", one, AUTHENTICATED),
    ]


def routes(settings: Settings) -> list[Both]:
    return [
        Both("GET", "/extensions", extensions, "volume_extension:list_extensions"),
        Both("GET", "/extensions/{alias}", extension, "volume_extension:list_extensions"),
        Both("GET", "/os-availability-zone", zones, "volume:availability_zone_list"),
    ]
