"""Ranges of bytes and quoted lists, as values."""

from __future__ import annotations

import pytest

from virga.api.faults import BadRequest
from virga.services.image.data import byte_range
from virga.services.image.faults import ImageFault
from virga.services.image.listing import split_quoted


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=5-", (5, 10)),
        ("bytes=-4", (6, 10)),
        ("bytes=-40", (0, 10)),
        ("bytes=3-1000", (3, 10)),
    ],
)
def test_ranges(wanted: str | None, expected: tuple[int, int] | None) -> None:
    assert byte_range(wanted, None, 10) == expected


@pytest.mark.parametrize(
    "wanted", ["bytes=10-", "bytes=a-b", "lines=1-2", "bytes=5-3", "bytes=-", "bytes=1-2,3-4"]
)
def test_impossible_ranges(wanted: str) -> None:
    with pytest.raises(ImageFault) as caught:
        byte_range(wanted, None, 10)
    assert caught.value.status in (400, 416)


def test_content_range_of_older_clients() -> None:
    assert byte_range(None, "bytes 2-4/10", 10) == (2, 5)
    with pytest.raises(ImageFault):
        byte_range(None, "bytes 2-40/*", 10)


@pytest.mark.parametrize(
    ("text", "values"),
    [("a", ["a"]), ("a,b", ["a", "b"]), ('"a,b",c', ["a,b", "c"]), ("", [""]), ('"x\\"y"', ['x"y'])],
)
def test_quoted_lists(text: str, values: list[str]) -> None:
    assert split_quoted(text) == values


@pytest.mark.parametrize("text", ['a"b', '"a"b', '"a'])
def test_quotes_that_do_not_pair(text: str) -> None:
    with pytest.raises(BadRequest):
        split_quoted(text)
