"""Microversions: which one a request asks for, and how the answer says so.

Source: the API microversion guideline of the OpenStack API SIG.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from virga.api.faults import BadRequest, NotAcceptable

Version = tuple[int, int]
_VERSION = re.compile(r"(\d+)\.(\d+)\Z")


@dataclass(frozen=True)
class Microversions:
    """The range that a service speaks, and the header names it listens to."""

    service_type: str
    minimum: Version
    maximum: Version
    legacy_header: str | None = None
    """``x-openstack-nova-api-version``."""

    def negotiate(self, headers: Mapping[str, str]) -> Version:
        """The version asked for; the minimum when none is. Raises BadRequest or NotAcceptable."""
        text = self._asked(headers)
        if text is None:
            return self.minimum
        if text == "latest":
            return self.maximum
        match = _VERSION.match(text)
        if match is None:
            raise BadRequest(
                f"API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum.",
                type="InvalidAPIVersionString",
            )
        version = (int(match[1]), int(match[2]))
        if not self.minimum <= version <= self.maximum:
            raise NotAcceptable(
                f"Version {text} is not supported by the API. Minimum is {show(self.minimum)} and "
                f"maximum is {show(self.maximum)}.",
                type="InvalidGlobalAPIVersion",
            )
        return version

    def _asked(self, headers: Mapping[str, str]) -> str | None:
        for part in headers.get("openstack-api-version", "").split(","):
            words = part.split()
            if len(words) == 2 and words[0].lower() == self.service_type:
                return words[1].lower()
        if self.legacy_header:
            legacy = headers.get(self.legacy_header)
            return legacy.strip().lower() if legacy else None
        return None

    def response_headers(self, version: Version) -> dict[str, str]:
        """What every answer carries, errors and empty ones included."""
        headers = {
            "openstack-api-version": f"{self.service_type} {show(version)}",
            "vary": "OpenStack-API-Version",
        }
        if self.legacy_header:
            headers[self.legacy_header] = show(version)
            headers["vary"] = f"OpenStack-API-Version, {self.legacy_header}"
        return headers


def show(version: Version) -> str:
    """``(2, 100)`` as ``2.100``."""
    return f"{version[0]}.{version[1]}"
