"""The kernel's modules: which ones the guest carries, in what order the ramdisk loads them."""

import shutil
import struct
from pathlib import Path

from virga.lab.guest.packages import BuildError, run

# Loaded before the root file system is looked for; their needs come first by themselves.
BOOT_MODULES = ("virtio_pci", "virtio_blk", "virtio_net")


_SIGNATURE_MARK = b"~Module signature appended~\n"


def without_signature(module: bytes) -> bytes:
    """The module as it was linked. The guest trusts its own disk, and checking signatures slows its boot."""
    if not module.endswith(_SIGNATURE_MARK):
        return module
    end = len(module) - len(_SIGNATURE_MARK)
    # struct module_signature: five bytes of kinds and lengths, three of padding, the length of the signature.
    _, _, _, signer, key, length = struct.unpack(">BBBBB3xI", module[end - 12 : end])
    return module[: end - 12 - signer - key - length]


class Modules:
    """The module files of one kernel package and who needs whom."""

    def __init__(self, packages: Path, busybox: Path) -> None:
        self.base = packages
        versions = sorted((packages / "usr/lib/modules").iterdir())
        if len(versions) != 1:
            raise BuildError("expected the modules of exactly one kernel")
        self.directory = versions[0]
        self.version = self.directory.name
        self.busybox = busybox
        self.depmod(packages)
        self.needs: dict[str, list[str]] = {}
        for line in (self.directory / "modules.dep").read_text().splitlines():
            path, _, needed = line.partition(":")
            self.needs[path] = needed.split()
        self.path_of = {Path(path).stem.replace("-", "_"): path for path in self.needs}

    def depmod(self, base: Path) -> None:
        run(str(self.busybox), "depmod", "-b", str(base), self.version)

    def order(self, names: tuple[str, ...]) -> list[str]:
        """Paths of the modules and all they need, each after what it needs; built-in ones are left out."""
        ordered: list[str] = []

        def add(path: str) -> None:
            if path in ordered:
                return
            for needed in self.needs[path]:
                add(needed)
            ordered.append(path)

        for name in names:
            path = self.path_of.get(name.replace("-", "_"))
            if path is not None:
                add(path)
        return ordered

    def install(self, names: tuple[str, ...], root: Path) -> None:
        """Copies the modules into a tree where modprobe finds them."""
        target = root / "usr/lib/modules" / self.version
        for path in self.order(names):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_bytes(without_signature((self.directory / path).read_bytes()))
        for name in ("modules.builtin", "modules.order"):
            shutil.copyfile(self.directory / name, target / name)
        self.depmod(root)

    def install_boot(self, root: Path) -> None:
        """Copies the boot modules into a ramdisk, with the list by which its init loads them."""
        target = root / "usr/lib/modules"
        target.mkdir(parents=True, exist_ok=True)
        order = self.order(BOOT_MODULES)
        for path in order:
            (target / Path(path).name).write_bytes(without_signature((self.directory / path).read_bytes()))
        (target / "boot.order").write_text("".join(f"{Path(path).name}\n" for path in order))
