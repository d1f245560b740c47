"""Which tests belong together: other people's lists and patterns, each with the cloud that it is judged on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from conformance.tempest_run import names_in

Group = Literal["lab", "memory"]
"""``lab``: packets, QEMU guests and logins, two hosts. ``memory``: the APIs alone, no root."""


@dataclass(frozen=True)
class Suite:
    """A list of names in a file, or all tests whose full id (tags included) matches ``pattern``."""

    title: str
    group: Group
    list_file: str = ""
    pattern: str = ""

    def names(self, lists: Path, existing: Mapping[str, str]) -> list[str]:
        """Names of the tests; ``existing`` maps each name to its full id. FileNotFoundError without the list."""
        if self.list_file:
            return names_in(lists / self.list_file)
        return sorted(name for name, full in existing.items() if re.search(self.pattern, full))


def _scenarios(title: str, *modules: str) -> Suite:
    return Suite(title, "lab", pattern=rf"^tempest\.scenario\.test_({'|'.join(modules)})\.")


SUITES = (
    Suite("Guideline 2022.11, Identity", "lab", "interop-identity-required.txt"),
    Suite("Guideline 2022.11, Image", "lab", "interop-image-required.txt"),
    Suite("Guideline 2022.11, Network", "lab", "interop-network-required.txt"),
    Suite("Guideline 2022.11, Compute", "lab", "interop-compute-required.txt"),
    Suite("Guideline 2022.11, Block Storage", "lab", "interop-volume-required.txt"),
    Suite("**OpenStack Powered Compute** (all of these)", "lab", "interop-powered-compute-required.txt"),
    Suite("OpenStack Powered Compute, flagged", "lab", "interop-powered-compute-flagged.txt"),
    Suite("**SCS-0128**", "lab", "scs-0128-required.txt"),
    Suite(
        "Tempest, tagged smoke",
        "lab",
        pattern=r"^tempest\.api\.(identity|image|network|compute|volume)\..*\[.*\bsmoke\b.*\]",
    ),
    _scenarios(
        "Tempest scenarios: network",
        "network_basic_ops",
        "network_v6",
        "security_groups_basic_ops",
        "network_advanced_server_ops",
    ),
    _scenarios(
        "Tempest scenarios: servers",
        "server_basic_ops",
        "server_multinode",
        "shelve_instance",
        "snapshot_pattern",
    ),
    _scenarios(
        "Tempest scenarios: volumes",
        "minimum_basic",
        "stamp_pattern",
        "volume_boot_pattern",
        "volume_backup_restore",
    ),
    Suite("All of `tempest.api.identity`", "memory", pattern=r"^tempest\.api\.identity\."),
    Suite("All of `tempest.api.image`", "memory", pattern=r"^tempest\.api\.image\."),
    Suite("All of `tempest.api.network`", "memory", pattern=r"^tempest\.api\.network\."),
    Suite("All of `tempest.api.compute`", "memory", pattern=r"^tempest\.api\.compute\."),
    Suite("All of `tempest.api.volume`", "memory", pattern=r"^tempest\.api\.volume\."),
    Suite("All of `neutron_tempest_plugin.api`", "memory", pattern=r"^neutron_tempest_plugin\.api\."),
)


def of_group(group: str) -> tuple[Suite, ...]:
    return tuple(suite for suite in SUITES if suite.group == group)
