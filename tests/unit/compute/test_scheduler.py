"""The scheduler's choice: pure, so a table of hosts and wishes says it all."""

from __future__ import annotations

import dataclasses

import pytest

from virga.services.compute.scheduler import Candidate, Wish, rank, resources_of
from virga.services.placement.inventory import Inventory
from virga.settings import Settings, SettingsError


def host(name: str, memory: int = 1000, used: int = 0, **more: object) -> Candidate:
    room = {"VCPU": (Inventory(4, allocation_ratio=4.0), 0), "MEMORY_MB": (Inventory(memory), used)}
    made = Candidate(
        host=name,
        provider_id=name,
        up=True,
        disabled=False,
        zone="nova",
        room=room,
        traits=frozenset(),
        hypervisor_type="QEMU",
        aggregates=(),
        servers=0,
    )
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


def wish(**more: object) -> Wish:
    return dataclasses.replace(Wish("s", "p", {"VCPU": 1, "MEMORY_MB": 100}), **more)  # type: ignore[arg-type]


def names(hosts: list[Candidate], asked: Wish, settings: Settings | None = None) -> list[str]:
    return [found.host for found in rank(hosts, asked, settings or Settings())]


def test_the_emptiest_host_comes_first_and_a_full_one_not_at_all() -> None:
    hosts = [host("a", used=500), host("b"), host("c", used=950)]
    assert names(hosts, wish()) == ["b", "a"]


@pytest.mark.parametrize("trouble", [{"up": False}, {"disabled": True}, {"zone": "other"}])
def test_hosts_that_cannot_are_left_out(trouble: dict[str, object]) -> None:
    assert names([host("a", **trouble), host("b", used=800)], wish(zone="nova")) == ["b"]


def test_groups_keep_together_and_apart() -> None:
    hosts = [host("a"), host("b")]
    there = {"a": 1}
    assert names(hosts, wish(group_policy="affinity", group_hosts=there)) == ["a"]
    assert names(hosts, wish(group_policy="anti-affinity", group_hosts=there)) == ["b"]
    assert names(hosts, wish(group_policy="anti-affinity", group_limit=2, group_hosts=there)) == ["a", "b"]


def test_traits_are_required_and_forbidden() -> None:
    hosts = [host("a", traits=frozenset({"T"})), host("b")]
    assert names(hosts, wish(traits=frozenset({"T"}))) == ["a"]
    assert names(hosts, wish(forbidden_traits=frozenset({"T"}))) == ["b"]


def test_an_operator_chooses_filters_and_weighers() -> None:
    settings = Settings(scheduler_filters=("ComputeFilter",), scheduler_weighers=("RAMWeigher=-1.0",))
    assert names([host("a"), host("b", used=999)], wish(), settings) == ["b", "a"]
    with pytest.raises(SettingsError, match="there is no 'NoSuchFilter'"):
        rank([host("a")], wish(), Settings(scheduler_filters=("NoSuchFilter",)))


def test_a_dotted_path_is_a_filter() -> None:
    path = f"{__name__}.only_b"
    assert names([host("a"), host("b")], wish(), Settings(scheduler_filters=(path,))) == ["b"]


def only_b(candidate: Candidate, asked: Wish) -> bool:
    return candidate.host == "b"


def test_a_flavor_claims_what_it_needs() -> None:
    flavor = {
        "vcpus": 2,
        "memory_mb": 512,
        "root_gb": 10,
        "ephemeral_gb": 1,
        "swap_mb": 1025,
        "extra_specs": {"resources:VCPU": "3", "resources:CUSTOM_X": "1", "other": "1"},
    }
    assert resources_of(flavor, False) == {"VCPU": 3, "MEMORY_MB": 512, "DISK_GB": 13, "CUSTOM_X": 1}
    assert resources_of(flavor, True)["DISK_GB"] == 3
