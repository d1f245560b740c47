"""A holder: one sleeping process that keeps a network, mount and host-name namespace alive, and how to get in.

The namespaces have no name on the machine, so ``ip netns list`` there stays empty; inside, everything is
where it is on a real host. All that runs in them can be found again by them, and so be ended.
"""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from virga.lab import process
from virga.lab.process import Process

SCRIPT = Path(__file__).with_name("holder.sh")
MARK = "HOLDER_OF_VIRGA"


class HolderError(Exception):
    """The namespaces could not be made."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The namespaces called ``name``, whose files are in ``directory``."""

    name: str
    directory: Path

    @property
    def record(self) -> Path:
        return self.directory / "holder.json"

    @property
    def living(self) -> Process | None:
        return process.living(self.record)

    @property
    def pid(self) -> int:
        """Process id of the living holder. Raises HolderError when there is none."""
        found = self.living
        if found is None:
            raise HolderError(f"{self.name} is not running; start the cloud with `virga up`")
        return found.pid

    def inside(self, *argv: str) -> tuple[str, ...]:
        """The command that runs ``argv`` in the namespaces."""
        return ("nsenter", "-t", str(self.pid), "-m", "-n", "-u", "--", *argv)

    def make(self, environment: dict[str, str]) -> None:
        """Make the namespaces unless they live. All or nothing. Mark: our record, and MARK in the environment."""
        if self.living:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        argv = [
            "unshare",
            "--net",
            "--mount",
            "--uts",
            "--propagation",
            "private",
            "--",
            "/bin/sh",
            str(SCRIPT),
        ]
        child = subprocess.Popen(
            [*argv, self.name, str(self.directory)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment | {MARK: str(self.directory)},
            cwd="/",
            start_new_session=True,
            text=True,
        )
        born = process.identify(child.pid)
        if born:
            process.write_record(self.record, born)
        assert child.stdout and child.stderr
        ready = child.stdout.readline().strip() == "ready"
        if not ready:
            reason = child.stderr.read().strip()
            child.wait()
            raise HolderError(f"the namespaces of {self.name} cannot be made: {reason or 'no reason given'}")
        child.stdout.close()
        child.stderr.close()
        child.returncode = 0  # It stays; Popen must not complain.

    def residents(self) -> list[Process]:
        """Every process in these namespaces, or in a namespace that was made inside them. The holder comes last."""
        holder = self.living
        found = []
        if holder is None:
            inside = self._marked
        else:
            kinds = {kind: {holder.namespace(kind)} for kind in ("mnt", "uts", "net")}
            kinds["net"] |= _named_networks(holder.pid)

            def inside(pid: int) -> bool:
                return any(process.namespace_of(pid, kind) in names for kind, names in kinds.items())

        for pid in process.everyone():
            if (holder is None or pid != holder.pid) and inside(pid):
                found.append(process.identify(pid))
        return [one for one in [*found, holder] if one]

    def _marked(self, pid: int) -> bool:
        """Without the holder its namespaces cannot be told any more; the environment still can."""
        with contextlib.suppress(OSError):
            return f"{MARK}={self.directory}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes() + b"\0"
        return False

    def end(self) -> None:
        """End all that runs inside, then the namespaces. Idempotent."""
        for patience_s in (5.0, 1.0):
            others = [one for one in self.residents() if one != self.living]
            if not others:
                break
            process.stop(others, patience_s)
        process.stop(self.residents(), 1.0)
        self.record.unlink(missing_ok=True)


def _named_networks(pid: int) -> set[str]:
    """Network namespaces that have a name in the mount namespace of ``pid``."""
    found = set()
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
            root = line.split()[3]
            if root.startswith("net:["):
                found.add(root)
    return found
