"""Errors that Compute clients see. The sentences are Nova's.

Fault
├── Invalid 400            a field, a reference or a state that cannot be
├── NotFoundHere 404       a thing that is not there for this caller
├── Busy 409               a state that does not allow it
├── Refused 403            quota and the like
└── Gone 410               an API that newer releases took away
"""

from __future__ import annotations

from typing import Any

from virga.api.faults import Fault, compute_envelope, image_envelope


class Invalid(Fault):
    status = 400


class NotFoundHere(Fault):
    status = 404


class Busy(Fault):
    status = 409


class Refused(Fault):
    status = 403


class Gone(Fault):
    status = 410


class NotImplementedHere(Fault):
    status = 501


class ServiceDown(Fault):
    status = 503


def server_not_found(server_id: str) -> NotFoundHere:
    return NotFoundHere(f"Instance {server_id} could not be found.", type="InstanceNotFound")


def flavor_not_found(flavor_id: object, status: int = 404) -> Fault:
    return Fault(f"Flavor {flavor_id} could not be found.", status=status, type="FlavorNotFound")


def server_locked(server_id: str) -> Busy:
    return Busy(f"Instance {server_id} is locked", type="InstanceIsLocked")


def wrong_state(action: str, server_id: str, attribute: str, value: object) -> Busy:
    """An action that this vm_state, task_state or power state does not allow."""
    return Busy(
        f"Cannot '{action}' instance {server_id} while it is in {attribute} {value}",
        type="InstanceInvalidState",
    )


def over_quota(resource: str, requested: str, used: str, limit: str) -> Refused:
    return Refused(
        f"Quota exceeded for {resource}: Requested {requested}, but already used {used} of {limit} {resource}",
        type="TooManyInstances",
    )


class NoSuchPage(Fault):
    """A URL that is not one: answered before Compute's own words begin."""

    status = 404


def page_not_found(method: str, path: str) -> Fault:
    return NoSuchPage("The resource could not be found.", headers={"content-type": "application/json"})


def envelope(fault: Fault, request_id: str) -> Any:
    """Compute's envelope, except for URLs that do not exist."""
    words = image_envelope if isinstance(fault, NoSuchPage) else compute_envelope
    return words(fault, request_id)


def removed() -> Gone:
    return Gone("This resource is no longer available. No forwarding address is given.")
