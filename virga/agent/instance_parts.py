"""Puts together what a host needs to have instances: kinds, image cache, driver, manager, calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import virga
from virga.agent.calls import CallRegistry
from virga.agent.config import AgentConfig
from virga.agent.drivers.fake.instances import FakeGuests
from virga.agent.drivers.guest_kind import GuestKind, PortsReady
from virga.agent.drivers.guest_namespace import NamespaceGuests, NamespaceOptions
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


def namespace_options(config: AgentConfig) -> NamespaceOptions:
    """The launcher belongs to the guest image, and comes with this package."""
    return NamespaceOptions(
        launch=Path(virga.__file__).parent / "lab" / "guest" / "namespace" / "launch",
        tree=Path(config.guest_directory) / "tiny-root",
    )


def instance_parts(
    config: AgentConfig, registry: CallRegistry, wake: Callable[[], None], ports_ready: PortsReady
) -> InstanceParts:
    """``ports_ready`` answers from the agent's own knowledge of its ports, at once and from any thread."""
    kinds: dict[str, GuestKind]
    if config.drivers == "fake":
        memory = FakeGuests()
        kinds = {"qemu": memory, "namespace": memory}
        driver = InstancesDriver(kinds, ports_ready=ports_ready, wake=wake, background=in_this_thread)
    else:
        directory = Path(config.directory)
        cache = ImageCache(directory / "image-cache")
        qemu = QemuGuests(
            directory, cache, QemuOptions(accelerator=config.facts.accelerator, address=config.host_ip)
        )
        kinds = {"qemu": qemu}
        if config.guest_directory:
            kinds["namespace"] = NamespaceGuests(directory, namespace_options(config))
        driver = InstancesDriver(kinds, ports_ready=ports_ready, wake=wake, cache=cache)
    InstanceCalls(driver).register(registry)
    return InstanceParts(
        manager=InstanceManager(driver),
        driver=driver,
        resources=lambda: resources_of(config, driver.wanted()),
    )
