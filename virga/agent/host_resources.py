"""What this host offers to the scheduler, and what its hypervisor is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from virga.agent.config import AgentConfig
from virga.contract.items import Instance
from virga.contract.messages import Resources
from virga.lib.run import CommandError, run

GIB = 1024**3


def total_memory_mb(meminfo: Path = Path("/proc/meminfo")) -> int:
    found = re.search(r"^MemTotal:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
    return int(found.group(1)) // 1024 if found else 0


@cache
def qemu_version() -> int:
    """As OpenStack numbers hypervisors: 7.2.22 is 7002022."""
    try:
        text = run(["qemu-system-x86_64", "--version"]).stdout
    except CommandError:
        return 0
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", text)
    if not found:
        return 0
    major, minor, micro = (int(part) for part in found.groups())
    return major * 1_000_000 + minor * 1_000 + micro


def resources_of(config: AgentConfig, held: Sequence[Instance]) -> Resources:
    """The configuration says how a machine is divided among simulated hosts; else this host has all of it."""
    disk = os.statvfs(config.directory)
    fake = config.drivers == "fake"
    return Resources(
        vcpus=config.vcpus or len(os.sched_getaffinity(0)),
        memory_mb=config.memory_mb or total_memory_mb(),
        disk_gb=config.disk_gb or disk.f_blocks * disk.f_frsize // GIB,
        vcpus_used=sum(item.vcpus for item in held),
        memory_mb_used=sum(item.memory_mb for item in held),
        disk_gb_used=sum(item.root_gb + item.ephemeral_gb for item in held),
        hypervisor_type="fake" if fake else "QEMU",
        hypervisor_version=1000 if fake else qemu_version(),
        cpu_info=json.dumps({"arch": os.uname().machine, "topology": {"cores": os.cpu_count()}}),
        running_vms=len(held),
        host_ip=config.host_ip,
    )
