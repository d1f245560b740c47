"""Errors that Placement clients see; each may carry a code that programs can rely on (from 1.23)."""

from __future__ import annotations

from virga.api.faults import Fault


class PlacementFault(Fault):
    """``type`` is the error code of the wire."""


def bad(message: str, code: str = "placement.undefined_code") -> PlacementFault:
    return PlacementFault(message, status=400, type=code)


def missing(message: str, code: str = "placement.undefined_code") -> PlacementFault:
    return PlacementFault(message, status=404, type=code)


def conflict(message: str, code: str = "placement.undefined_code") -> PlacementFault:
    return PlacementFault(message, status=409, type=code)


def concurrent(message: str) -> PlacementFault:
    return conflict(message, "placement.concurrent_update")


def provider_missing(provider_id: str) -> PlacementFault:
    return missing(
        f"No resource provider with uuid {provider_id} found : No resource provider with uuid {provider_id} found"
    )
