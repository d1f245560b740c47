"""One simulated host: its namespaces, cables, Open vSwitch and agent."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from virga.lab import openvswitch, process, underlay
from virga.lab.detect import Detected
from virga.lab.holder import Holder
from virga.lab.program import Program, Programs, marked, python
from virga.settings import Settings

ROLES = ["network", "metadata", "compute"]
FIRST_ROLES = ["dhcp", "l3", "volume"]
RESERVED_MB = 512


@dataclass(frozen=True, slots=True)
class Host:
    """Host ``number`` of the cloud, counted from 1. The first one carries DHCP, routers and volumes as well."""

    number: int
    programs: Programs

    @property
    def name(self) -> str:
        return f"host{self.number}"

    @property
    def directory(self) -> Path:
        return self.programs.state_dir / "hosts" / self.name

    @property
    def holder(self) -> Holder:
        return Holder(self.name, self.directory)

    @property
    def agent(self) -> str:
        """Name of the agent's program."""
        return f"agent-{self.name}"

    @property
    def ready_mark(self) -> Path:
        """Names the holder for which the host was made completely."""
        return self.directory / "made.json"

    def make(
        self, wires: Holder, settings: Settings, detected: Detected, environment: dict[str, str]
    ) -> None:
        """Make or complete the host, up to its agent. Idempotent. Mark: the holder's record."""
        holder = self.holder
        holder.make(environment)
        if process.read_record(self.ready_mark) != holder.living:
            underlay.disconnect(wires, self.number)
            underlay.connect(wires, holder, self.number, settings.physical_mtu)
            _forget_boot(self.directory)
            if living := holder.living:
                process.write_record(self.ready_mark, living)
        openvswitch.start(self.programs, holder, environment)
        config = self.directory / "agent.json"
        text = msgspec.json.format(msgspec.json.encode(self.agent_config(settings, detected)))
        if not config.exists() or config.read_bytes() != text:
            config.write_bytes(text)
            # An agent that runs by the former file starts again; the data plane does not notice.
            process.stop([one for one in [self.programs.living(self.agent)] if one])
        argv = [*holder.inside(*python("virga.agent", "--config", str(config)))]
        inside = marked(environment, self.directory)
        self.programs.ensure(Program(name=self.agent, argv=argv, environment=inside, host=self.name))

    def agent_config(self, settings: Settings, detected: Detected) -> dict[str, Any]:
        """What the agent is told; its own ``config.py`` says what each word means."""
        first = self.number == 1
        mappings, nics = {"physnet1": "br-eth1"}, {"br-eth1": ["eth1"]}
        if first:
            mappings, nics = mappings | {"public": "br-ex"}, nics | {"br-ex": ["eth2"]}
        state_dir = self.programs.state_dir
        cpus, memory_mb, disk_gb = _share(settings)
        return {
            "host": self.name,
            "directory": str(self.directory),
            "bus": str(state_dir / "bus.sock"),
            "roles": [*ROLES, *(FIRST_ROLES if first else [])],
            "bridge_mappings": mappings,
            "bridge_nics": nics,
            "repair": settings.repair,
            "plug": settings.plug,
            "instance_driver": settings.instance_kind,
            "guest_directory": settings.guest_dir,
            "host_ip": underlay.tunnel_ip(self.number),
            "storage_ip": underlay.storage_ip(self.number),
            "vcpus": cpus,
            "memory_mb": memory_mb,
            "disk_gb": disk_gb,
            "pool_gb": settings.volume_pool_gb,
            "log_directory": str(state_dir / "logs"),
            "log_level": settings.log_level,
            "facts": {
                "datapath_type": detected.datapath.value,
                "accelerator": detected.accelerator.value,
                "iptables": detected.iptables.value,
            },
        }

    @property
    def made(self) -> bool:
        living = self.holder.living
        return living is not None and process.read_record(self.ready_mark) == living

    def ready(self) -> bool:
        """The switch of the host has the integration bridge that the agent makes first."""
        return self.holder.living is not None and openvswitch.has_bridge(self.holder, "br-int")

    def program_names(self) -> list[str]:
        return [self.agent, *reversed(openvswitch.daemons(self.holder))]

    def end(self) -> None:
        """End everything of the host; its files stay. Idempotent."""
        process.stop(self.programs.forget(self.agent), 5.0)
        self.programs.forget(*self.program_names())
        self.holder.end()
        self.ready_mark.unlink(missing_ok=True)

    def instances(self) -> int:
        """How many guests of the host run now."""
        return sum(_is_guest(one.pid) for one in self.holder.residents())


def _is_guest(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0]
    except OSError:
        return False
    return b"qemu-system" in command


def _forget_boot(directory: Path) -> None:
    """What a real host loses when it is switched off: nothing that is in its Open vSwitch database is there any more."""
    for entry in (directory / "var/lib/openvswitch").iterdir():
        entry.unlink()


def _share(settings: Settings) -> tuple[int, int, int]:
    """Processors, MiB of memory and GiB of disk that each host offers: its part of the machine."""
    import os

    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    disk = shutil.disk_usage(settings.state_dir)
    each = settings.hosts
    return (
        os.cpu_count() or 1,
        max(RESERVED_MB, (memory - RESERVED_MB) // each),
        max(1, disk.free // 2**30 // each),
    )
