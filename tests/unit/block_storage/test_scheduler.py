"""Where a volume goes: filters, weighers, and the language of extra specs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from virga.services.block_storage.scheduler import Backend, Wish, meets, rank
from virga.settings import Settings, SettingsError

SETTINGS = Settings(state_dir=Path("/nowhere"))
CAN = {"volume_backend_name": "file", "storage_protocol": "iSCSI", "multiattach": True}


def backend(name: str, **known: object) -> Backend:
    there = Backend(name, "nova", total_gb=100, free_gb=80, capabilities=CAN)
    return replace(there, **known)  # type: ignore[arg-type]


def test_the_host_with_most_room_is_first() -> None:
    found = rank(
        [backend("a", provisioned_gb=500), backend("b"), backend("c", free_gb=10)], Wish(1), SETTINGS
    )
    assert found == ["b", "a", "c"]


def test_a_host_that_is_down_or_not_that_of_the_source_is_out() -> None:
    assert rank([backend("a", up=False), backend("b")], Wish(1), SETTINGS) == ["b"]
    assert rank([backend("a"), backend("b")], Wish(1, only="a"), SETTINGS) == ["a"]
    assert rank([backend("b")], Wish(1, only="a"), SETTINGS) == []


@pytest.mark.parametrize(
    ("known", "size", "fits"),
    [
        ({}, 1600, True),
        ({}, 1601, False),  # 80 GB free, 20 times
        ({"free_gb": 0.0}, 1, False),
        ({"provisioned_gb": 1999}, 1, True),
        ({"provisioned_gb": 1999}, 2, False),
        ({"total_gb": 0.0, "free_gb": 0.0}, 1, False),
    ],
)
def test_a_pool_has_an_end(known: dict[str, object], size: int, fits: bool) -> None:
    assert bool(rank([backend("a", **known)], Wish(size, overcommit=20), SETTINGS)) is fits


@pytest.mark.parametrize(
    ("specs", "fits"),
    [
        ({"volume_backend_name": "file"}, True),
        ({"volume_backend_name": "other"}, False),
        ({"capabilities:storage_protocol": "<in> SCSI"}, True),
        ({"multiattach": "<is> True"}, True),
        ({"multiattach": "<is> False"}, False),
        ({"nobody:knows": "x"}, True),
        ({"unknown": "x"}, False),
        ({"RESKEY:availability_zones": "nova,other"}, True),
        ({"RESKEY:availability_zones": "other"}, False),
    ],
)
def test_a_type_asks_for_capabilities(specs: dict[str, str], fits: bool) -> None:
    assert bool(rank([backend("a")], Wish(1, "nova", specs), SETTINGS)) is fits


def test_another_zone_has_no_host() -> None:
    assert rank([backend("a")], Wish(1, zone="elsewhere"), SETTINGS) == []


@pytest.mark.parametrize(
    ("offered", "wanted", "met"),
    [
        (5, ">= 4", True),
        (5, "<= 4", False),
        (5, "= 4", True),
        (5, "== 5", True),
        (5, "!= 5", False),
        ("abc", ">= 4", False),
        ("b", "s>= a", True),
        ("b", "s== a", False),
        ("b", "<or> a <or> b", True),
        ("c", "<or> a <or> b", False),
        ("File", "file", True),
        ("", "", True),
    ],
)
def test_the_words_of_extra_specs(offered: object, wanted: str, met: bool) -> None:
    assert meets(offered, wanted) is met


def test_an_unknown_filter_is_named() -> None:
    with pytest.raises(SettingsError, match="NoSuchFilter"):
        rank([], Wish(1), replace(SETTINGS, volume_filters=("NoSuchFilter",)))
