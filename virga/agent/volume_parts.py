"""Puts together what a host needs to serve volumes: pool, targets, manager, calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from virga.agent.calls import CallRegistry
from virga.agent.config import AgentConfig
from virga.agent.drivers.fake.volumes import FakePool, FakeTargets
from virga.agent.drivers.targets import TargetOptions, TargetsDriver
from virga.agent.drivers.volume_pool import VolumePool
from virga.agent.managers.volume import VolumeManager
from virga.agent.protocol import Driver
from virga.agent.volume_calls import VolumeCalls


@dataclass(frozen=True, slots=True)
class VolumeParts:
    manager: VolumeManager
    driver: Driver
    room: Callable[[], tuple[float, float]]
    """GiB of the pool in all, and free."""


def volume_parts(config: AgentConfig, registry: CallRegistry, wake: Callable[[], None]) -> VolumeParts:
    """The pool is ``volumes`` in the directory of the host."""
    root = Path(config.directory) / "volumes"
    if config.drivers == "fake":
        memory = FakeTargets()
        pretended = FakePool(config.pool_gb)
        VolumeCalls(pretended, memory.exported).register(registry)
        return VolumeParts(VolumeManager(memory, root), memory, pretended.room)
    targets = TargetsDriver(TargetOptions(config.storage_ip or config.host_ip), wake)
    pool = VolumePool(root, targets.is_exported, config.pool_gb)
    pool.open()
    VolumeCalls(pool, targets.exported).register(registry)
    return VolumeParts(VolumeManager(targets, root), targets, pool.room)
