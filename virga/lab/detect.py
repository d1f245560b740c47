"""What the machine gives and what it lacks: found out once at the start, remembered, and said in one line each."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import tempfile
from pathlib import Path

import msgspec

from virga.lab.kernel import Lack, lacks
from virga.lib.run import CommandError, run
from virga.settings import Settings

FICLONE = 0x40049409
GUEST_SAYS = 0x10
QEMU_EXIT = GUEST_SAYS << 1 | 1
PROBE_SECONDS = 10.0
"""How long a probe may take; a guest that stopped on its way stands still for ever."""


class Choice(msgspec.Struct, frozen=True):
    """One thing that was chosen, and why."""

    value: str
    reason: str


class Detected(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. ``machine`` says for which kernel; another kernel is looked at again."""

    machine: str
    datapath: Choice
    accelerator: Choice
    iptables: Choice
    reflink: Choice
    lacks: list[Lack] = []

    @property
    def lines(self) -> list[tuple[str, Choice]]:
        return [
            ("Open vSwitch", self.datapath),
            ("Instances", self.accelerator),
            ("iptables", self.iptables),
            ("Copies of disks", self.reflink),
        ]


def detect(settings: Settings, remembered: Path | None = None) -> Detected:
    """Look at the machine, or remember. Settings that are not ``auto`` win over what was found."""
    found = _recall(remembered) if remembered else None
    if found is None:
        kind = iptables()
        found = Detected(
            machine=_machine(),
            datapath=datapath(),
            accelerator=accelerator(),
            iptables=kind,
            reflink=reflink(settings.state_dir),
            lacks=lacks(kind.value) if os.geteuid() == 0 else [],
        )
        if remembered:
            remembered.write_bytes(msgspec.json.encode(found))
    return msgspec.structs.replace(
        found,
        datapath=_set(settings.datapath, found.datapath, "datapath"),
        accelerator=_set(settings.accelerator, found.accelerator, "accelerator"),
        iptables=_set(settings.iptables, found.iptables, "iptables"),
    )


def _set(wanted: str, found: Choice, name: str) -> Choice:
    return found if wanted == "auto" else Choice(wanted, f"the setting `{name}` says so")


def _machine() -> str:
    return f"{platform.release()} {platform.version()}"


def _recall(path: Path) -> Detected | None:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Detected)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    # A device that came or went is worth another look; the rest changes with the kernel only.
    same_kvm = Path("/dev/kvm").exists() == (found.accelerator.reason != NO_KVM)
    return found if found.machine == _machine() and same_kvm else None


def datapath() -> Choice:
    """``system`` when the kernel has Open vSwitch (its module is loaded if need be), else ``netdev``."""
    run(["modprobe", "-q", "openvswitch"], check=False) if _has("modprobe") else None
    done = run(["ovs-dpctl", "-vconsole:off", "dump-dps"], check=False) if _has("ovs-dpctl") else None
    if done and done.returncode == 0:
        return Choice("system", "the kernel has the Open vSwitch datapath")
    return Choice("netdev", "the kernel has no Open vSwitch datapath, so the one in user space is used")


NO_KVM = "there is no /dev/kvm, so QEMU translates (TCG)"


def accelerator() -> Choice:
    """``kvm`` when a guest really runs by it: the device may exist and yet run nothing."""
    if not Path("/dev/kvm").exists():
        return Choice("tcg", NO_KVM)
    works, why = boots("kvm", "host")
    if works:
        return Choice("kvm", "a guest came up by /dev/kvm")
    return Choice("tcg", f"/dev/kvm exists but ran no guest ({why}), so QEMU translates (TCG)")


def boot_sector() -> bytes:
    """A disk whose only sector says GUEST_SAYS to the debug port, once the firmware has come that far."""
    # sti; mov cx,4; hlt, until four ticks of the clock came; mov dx,0xf4; mov al,GUEST_SAYS; out dx,al; stay here.
    ticks = bytes([0xFB, 0xB9, 0x04, 0x00, 0xF4, 0xE2, 0xFD])
    code = ticks + bytes([0xBA, 0xF4, 0x00, 0xB0, GUEST_SAYS, 0xEE, 0xEB, 0xFE])
    return code.ljust(510, b"\0") + b"\x55\xaa"


def boots(accelerator: str, cpu: str) -> tuple[bool, str]:
    """Whether the firmware comes to a boot sector on the machine and processor that instances get; if not, why.

    Less is no proof: a /dev/kvm without the processor's help may run a few instructions, and then refuse a
    register of ``-cpu host`` or stop in the middle of the firmware.
    """
    with tempfile.NamedTemporaryFile(suffix=".img") as file:
        file.write(boot_sector())
        file.flush()
        argv = ["qemu-system-x86_64", "-accel", accelerator, "-machine", "pc", "-cpu", cpu, "-m", "64"]
        argv += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        argv += ["-drive", f"file={file.name},format=raw,if=ide,snapshot=on"]
        argv += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        try:
            done = run(argv, timeout_s=PROBE_SECONDS, check=False)
        except CommandError as error:
            return False, _first_line(str(error.completed.stderr)) or "it stopped on its way"
    why = _first_line(done.stderr) or f"exit status {done.returncode}"
    return done.returncode == QEMU_EXIT, why


def _first_line(text: str) -> str:
    return next((line for line in text.strip().splitlines() if line), "").removeprefix("qemu-system-x86_64: ")


def iptables() -> Choice:
    """The machine's own kind if it works in a fresh namespace, else the other."""
    said = run(["iptables", "--version"], check=False).stdout if _has("iptables") else ""
    own, other = ("nft", "legacy") if "nf_tables" in said else ("legacy", "nft")
    for kind, reason in (
        (own, "the machine's own kind"),
        (other, f"the machine's own kind ({own}) does not work"),
    ):
        if _works("unshare", "--net", f"iptables-{kind}", "-t", "nat", "-S"):
            return Choice(kind, reason)
    return Choice(own, "neither kind could be tried here" if os.geteuid() else "neither kind works")


def _works(*argv: str) -> bool:
    try:
        return run(argv, check=False).returncode == 0
    except CommandError:
        return False


def _has(command: str) -> bool:
    return shutil.which(command) is not None


def reflink(directory: Path) -> Choice:
    """Whether the file system of the state directory copies by reference."""
    directory.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.NamedTemporaryFile(dir=directory) as source,
        tempfile.NamedTemporaryFile(dir=directory) as copy,
    ):
        source.write(b"\0" * 4096)
        source.flush()
        with contextlib.suppress(OSError):
            fcntl.ioctl(copy.fileno(), FICLONE, source.fileno())
            return Choice("reflink", "the file system copies by reference")
    return Choice("sparse", "the file system does not copy by reference, so data is copied, holes left out")
