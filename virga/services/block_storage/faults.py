"""Errors that Block Storage clients see. The sentences are Cinder's.

Fault
├── Invalid 400       a field, a reference or a state that cannot be
├── Missing 404       a thing that is not there for this caller
├── Exists 409        a name that is taken, a thing that is in use
└── OverQuota 413     more than the project may have
"""

from __future__ import annotations

from typing import Any

from virga.api.faults import COMPUTE_KEYS, Fault


class Invalid(Fault):
    status = 400


class Missing(Fault):
    status = 404


class Exists(Fault):
    status = 409


class OverQuota(Fault):
    status = 413

    def __init__(self, message: str, **more: Any) -> None:
        super().__init__(message, headers={"retry-after": "0"}, **more)


class Unpaged(Missing):
    """A URL that does not exist; its answer is of another shape than all others."""


def envelope(fault: Fault, request_id: str) -> Any:
    """``{"itemNotFound": {"code", "message"}}``; URLs that do not exist are answered in front of Cinder itself."""
    if isinstance(fault, Unpaged):
        return {
            "message": f"{fault.message}<br /><br />\n\n\n",
            "code": "404 Not Found",
            "title": "Not Found",
        }
    body: dict[str, Any] = {"code": fault.status, "message": fault.message}
    if fault.status == 413:
        body["retryAfter"] = fault.headers.get("retry-after", "0")
    return {COMPUTE_KEYS.get(fault.status, "computeFault"): body}


def page_not_found(method: str, path: str) -> Fault:
    return Unpaged("The resource could not be found.")


def need_project(project_id: str | None) -> str:
    """What is made belongs to a project, so the token must be of one."""
    if not project_id:
        raise Invalid("Malformed request url: the token is not scoped to a project")
    return project_id


def volume_not_found(volume_id: object) -> Missing:
    return Missing(f"Volume {volume_id} could not be found.", type="VolumeNotFound")


def snapshot_not_found(snapshot_id: object) -> Missing:
    return Missing(f"Snapshot {snapshot_id} could not be found.", type="SnapshotNotFound")


def type_not_found(volume_type: object) -> Missing:
    return Missing(f"Volume type {volume_type} could not be found.", type="VolumeTypeNotFound")


def type_name_not_found(name: object) -> Missing:
    return Missing(f"Volume type with name {name} could not be found.", type="VolumeTypeNotFoundByName")


def attachment_not_found(attachment_id: object) -> Missing:
    return Missing(
        f"Volume attachment could not be found with filter: attachment_id = {attachment_id}.",
        type="VolumeAttachmentNotFound",
    )


def backup_not_found(backup_id: object) -> Missing:
    return Missing(f"Backup {backup_id} could not be found.", type="BackupNotFound")


def transfer_not_found(transfer_id: object) -> Missing:
    return Missing(f"Transfer {transfer_id} could not be found.", type="TransferNotFound")


def qos_not_found(qos_id: object) -> Missing:
    return Missing(f"No such qos specs {qos_id}.", type="QoSSpecsNotFound")


def message_not_found(message_id: object) -> Missing:
    return Missing(f"Message {message_id} could not be found.", type="MessageNotFound")


def invalid_volume(reason: str) -> Invalid:
    return Invalid(f"Invalid volume: {reason}", type="InvalidVolume")


def invalid_snapshot(reason: str) -> Invalid:
    return Invalid(f"Invalid snapshot: {reason}", type="InvalidSnapshot")


def invalid_backup(reason: str) -> Invalid:
    return Invalid(f"Invalid backup: {reason}", type="InvalidBackup")


def invalid_input(reason: str) -> Invalid:
    return Invalid(f"Invalid input received: {reason}", type="InvalidInput")


def wrong_status(verb: str, allowed: str, actual: str) -> Invalid:
    """A change that the volume's status does not allow."""
    return invalid_volume(f"Volume status must be {allowed} to {verb}, but current status is: {actual}.")
