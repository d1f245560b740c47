"""Access rules of application credentials, by method and path pattern."""

from __future__ import annotations

import pytest

from virga.api.access_rules import AccessRule, allows


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/v2.1/servers", "/v2.1/servers", True),
        ("/v2.1/servers", "/v2.1/servers/1", False),
        ("/v2.1/servers/*", "/v2.1/servers/1", True),
        ("/v2.1/servers/*", "/v2.1/servers/1/action", False),
        ("/v2.1/servers/{server_id}/action", "/v2.1/servers/1/action", True),
        ("/v2.1/**", "/v2.1/servers/1/action", True),
        ("/v2.1/**", "/v3/servers", False),
        ("/v2.1/server.", "/v2.1/servers", False),
    ],
)
def test_patterns(pattern: str, path: str, expected: bool) -> None:
    assert allows([AccessRule("compute", "GET", pattern)], "compute", "GET", [path]) is expected


def test_service_and_method_count() -> None:
    rules = [AccessRule("image", "GET", "/v2/images"), AccessRule("volumev3", "POST", "/v3/volumes")]
    assert allows(rules, "image", "GET", ["/v2/images"])
    assert not allows(rules, "image", "POST", ["/v2/images"])
    assert not allows(rules, "network", "GET", ["/v2/images"])
    assert allows(rules, "block_storage", "POST", ["/v3/volumes", "/volume/v3/volumes"])
    assert not allows([], "image", "GET", ["/v2/images"])
