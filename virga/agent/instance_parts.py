"""Puts together what a host needs to have instances: kinds, image cache, driver, manager, calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from virga.agent.calls import CallRegistry
from virga.agent.config import AgentConfig
from virga.agent.drivers.fake.instances import FakeGuests
from virga.agent.drivers.guest_kind import GuestKind, PortsReady
from virga.agent.drivers.image_cache import ImageCache
from virga.agent.drivers.instances import InstancesDriver, in_this_thread
from virga.agent.drivers.qemu_guests import QemuGuests, QemuOptions
from virga.agent.host_resources import resources_of
from virga.agent.instance_calls import InstanceCalls
from virga.agent.managers.instance import InstanceManager
from virga.contract.messages import Resources


@dataclass(frozen=True, slots=True)
class InstanceParts:
    manager: InstanceManager
    driver: InstancesDriver
    resources: Callable[[], Resources]


def instance_parts(
    config: AgentConfig, registry: CallRegistry, wake: Callable[[], None], ports_ready: PortsReady
) -> InstanceParts:
    """``ports_ready`` answers from the agent's own knowledge of its ports, at once and from any thread."""
    if config.drivers == "fake":
        memory = FakeGuests()
        kinds: dict[str, GuestKind] = {"qemu": memory, "namespace": memory}
        driver = InstancesDriver(kinds, ports_ready=ports_ready, wake=wake, background=in_this_thread)
    else:
        directory = Path(config.directory)
        cache = ImageCache(directory / "image-cache")
        qemu = QemuGuests(directory, cache, QemuOptions(accelerator=config.facts.accelerator))
        driver = InstancesDriver({"qemu": qemu}, ports_ready=ports_ready, wake=wake, cache=cache)
    InstanceCalls(driver).register(registry)
    return InstanceParts(
        manager=InstanceManager(driver),
        driver=driver,
        resources=lambda: resources_of(config, driver.wanted()),
    )
