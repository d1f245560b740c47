"""Refusals in Nova's sentences, by microversion."""

from __future__ import annotations

from typing import Any

import pytest

from virga.api.policy import Policy
from virga.api.request import Caller, Request
from virga.services.compute import flavor, server_schema
from virga.services.compute.faults import Invalid
from virga.services.compute.schema import Versioned, check_body, check_query


def request(
    body: Any = None, version: tuple[int, int] = (2, 1), query: list[tuple[str, str]] | None = None
) -> Request:
    return Request(
        "GET", "/", {}, query or [], {}, body, b"", Caller(), Policy({}), "req-1", "http://x", version
    )


def refusal(schema: Versioned, body: Any, version: tuple[int, int] = (2, 1)) -> str:
    with pytest.raises(Invalid) as refused:
        check_body(request(body, version), schema)
    assert refused.value.status == 400
    return refused.value.message


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ({"name": 12345}, "Invalid input for field/attribute name. Value: 12345. 12345 is not of type 'string'"),
        ({"name": ""}, "Invalid input for field/attribute name. Value: . '' should be non-empty"),
        ({"name": " x"}, "An invalid 'name' value was provided. The name must be: printable characters. "
                         "Can not start or end with whitespace."),
        ({"accessIPv6": "notvalid"},
         "Invalid input for field/attribute accessIPv6. Value: notvalid. 'notvalid' is not a 'ipv6'"),
        ({"tags": []}, "Additional properties are not allowed ('tags' was unexpected)"),
    ],
)  # fmt: skip
def test_create_is_refused_in_novas_words(server: dict[str, Any], message: str) -> None:
    body = {"server": {"name": "x", "flavorRef": "42", **server}}
    assert message in refusal(server_schema.CREATE, body)


@pytest.mark.parametrize(
    ("field", "value", "first", "last"),
    [
        ("description", "x", (2, 19), (2, 104)),
        ("tags", ["a"], (2, 52), (2, 104)),
        ("personality", [], (2, 1), (2, 56)),
        ("trusted_image_certificates", ["a"], (2, 63), (2, 104)),
        ("host", "h", (2, 74), (2, 104)),
        ("hostname", "ab", (2, 90), (2, 104)),
    ],
)
def test_fields_come_and_go_with_microversions(field: str, value: Any, first: Any, last: Any) -> None:
    body = {"server": {"name": "x", "flavorRef": "42", "networks": "none", field: value}}
    for version in ((2, 37), first, last):
        asked = {"server": dict(body["server"])}
        if version < (2, 37):
            del asked["server"]["networks"]
        if first <= version <= last:
            check_body(request(asked, version), server_schema.CREATE)
        else:
            assert field in refusal(server_schema.CREATE, asked, version)
    if last < (2, 104):
        assert field in refusal(server_schema.CREATE, body, (2, 104))


def test_unknown_query_parameters_are_dropped_until_275() -> None:
    query = [("nonsense", "1"), ("name", "x")]
    assert check_query(request(query=query), server_schema.LIST) == {"name": ["x"]}
    with pytest.raises(Invalid, match="does not match any of the regexes"):
        check_query(request(query=query, version=(2, 75)), server_schema.LIST)


def test_numbers_may_be_text_but_are_bounded() -> None:
    body = {"flavor": {"name": "f", "ram": "0", "vcpus": 1, "disk": 1}}
    assert "0 is less than the minimum of 1" in refusal(flavor.CREATE, body)
