"""Assembles the root file system of the guest as a directory, and the smaller tree that its ramdisk holds."""

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from virga.lab.guest.packages import BuildError, run

FILES = Path(__file__).parent / "files"
CIRROS = 1000
# Programs of the packages by their path there; the target name is the last part unless given.
RAMDISK_PROGRAMS = {
    "usr/sbin/dropbear": "usr/bin/dropbear",
    "usr/bin/dropbearkey": "usr/bin/dropbearkey",
    "usr/bin/setpriv": "usr/lib/tiny/become",
}
PROGRAMS = RAMDISK_PROGRAMS | {
    "bin/bash": "usr/bin/bash",
    "usr/bin/curl": "usr/bin/curl",
    "usr/bin/dbclient": "usr/bin/dbclient",
    "sbin/mke2fs": "usr/bin/mke2fs",
    "sbin/e2fsck": "usr/bin/e2fsck",
    "sbin/resize2fs": "usr/bin/resize2fs",
    "sbin/tune2fs": "usr/bin/tune2fs",
    "bin/ip": "usr/bin/ip",
    "bin/ss": "usr/bin/ss",
    "bin/ping": "usr/bin/ping",
    "usr/bin/ncat": "usr/lib/tiny/nc",
    "usr/bin/scp": "usr/bin/scp",
    "usr/lib/openssh/sftp-server": "usr/lib/sftp-server",
    "usr/bin/tcpdump": "usr/bin/tcpdump",
    "bin/lsblk": "usr/bin/lsblk",
    "sbin/blkid": "usr/bin/blkid",
    "bin/findmnt": "usr/bin/findmnt",
    "bin/mount": "usr/bin/mount",
    "bin/umount": "usr/bin/umount",
    "bin/mountpoint": "usr/bin/mountpoint",
    "usr/bin/pgrep": "usr/bin/pgrep",
    "usr/bin/nice": "usr/bin/nice",
    "usr/bin/nohup": "usr/bin/nohup",
    # The busybox of Debian 12 crashes at any http URL.
    "usr/bin/wget": "usr/bin/wget",
}
LINKS = {
    "usr/bin/sh": "bash",
    "usr/bin/ping6": "ping",
    "usr/bin/pkill": "pgrep",
    "usr/bin/ssh": "dbclient",
    "usr/lib/tiny/server/nc": "../../../bin/busybox",
    "usr/bin/mkfs.ext2": "mke2fs",
    "usr/bin/mkfs.ext3": "mke2fs",
    "usr/bin/mkfs.ext4": "mke2fs",
}
# Kernel modules that a running guest can ask for; the boot order of the ramdisk is kernel.BOOT_MODULES.
MODULES = (
    "8021q",
    "af_packet",
    "ata_piix",
    "bonding",
    "bridge",
    "button",
    "dummy",
    "evdev",
    "isofs",
    "loop",
    "nls_ascii",
    "nls_cp437",
    "nls_iso8859-1",
    "nls_utf8",
    "overlay",
    "sr_mod",
    "sd_mod",
    "tun",
    "vfat",
    "veth",
    "virtio_balloon",
    "virtio_console",
    "virtio_rng",
    "virtio_scsi",
)
DIRECTORIES = (
    "dev",
    "proc",
    "sys",
    "run",
    "tmp",
    "mnt",
    "root",
    "home/cirros",
    "var/lib",
    "var/log",
    "var/tmp",
    "etc/dropbear",
)


@dataclass
class Tree:
    """A file system in the making. Programs drag in the libraries that they need, from the unpacked packages only."""

    path: Path
    packages: Path
    done: set[str] = field(default_factory=set)

    def skeleton(self) -> None:
        """Directories of the merged layout (one directory for programs) and this room's own files."""
        shutil.rmtree(self.path, ignore_errors=True)
        for name in ("usr/bin", "usr/lib", *DIRECTORIES):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        links = {"bin": "usr/bin", "sbin": "usr/bin", "usr/sbin": "bin", "lib": "usr/lib", "lib64": "usr/lib"}
        for link, target in (links | {"var/run": "../run", "usr/lib64": "lib"}).items():
            (self.path / link).symlink_to(target)
        shutil.copytree(FILES / "root", self.path, dirs_exist_ok=True, symlinks=True)
        (self.path / "etc/shadow").chmod(0o600)
        for name in ("tmp", "var/tmp"):
            (self.path / name).chmod(0o1777)
        (self.path / "root").chmod(0o700)
        os.chown(self.path / "home/cirros", CIRROS, CIRROS)

    def busybox(self) -> None:
        """The static busybox and a link for each of its programs that nothing else provides."""
        source = self.packages / "usr/bin/busybox"
        self._copy(source, "usr/bin/busybox")
        for applet in run(str(source), "--list").split():
            link = self.path / "usr/bin" / applet
            if not link.is_symlink() and not link.exists():
                link.symlink_to("busybox")

    def program(self, source: str, target: str) -> None:
        """A program and its libraries, which all go to /usr/lib."""
        origin = self._find(source)
        self._copy(origin, target)
        lib = self.packages / "usr/lib"
        loader = next(lib.glob("*-linux-gnu/ld-linux-*"), None) or next(
            (self.packages / "usr/lib64").glob("ld-*")
        )
        paths = ":".join(str(p) for p in sorted(lib.glob("*-linux-gnu")))
        listed = run(str(loader.resolve()), "--library-path", paths, "--list", str(origin))
        for name, path in re.findall(r"^\s+(\S+)(?: => (\S+))? \(", listed, re.MULTILINE):
            self.library(Path(name).name, Path(path) if path else loader)

    def library(self, name: str, origin: Path) -> None:
        if name.startswith("linux-vdso") or name in self.done:
            return
        if not origin.is_relative_to(self.packages) and not origin.resolve().is_relative_to(self.packages):
            raise BuildError(f"library {name} was found in none of the packages")
        self.done.add(name)
        self._copy(origin.resolve(), f"usr/lib/{name}")

    def link(self, name: str, target: str) -> None:
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    def _find(self, source: str) -> Path:
        for path in (self.packages / source, self.packages / "usr" / source):
            if path.exists():
                return path
        raise BuildError(f"none of the packages holds {source}")

    def _copy(self, origin: Path, target: str) -> None:
        path = self.path / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        shutil.copyfile(origin, path)
        path.chmod(0o755)


def setuid(tree: Tree) -> None:
    """The two programs that work for root when a user calls them: sudo's last step, and ping."""
    for name in ("usr/lib/tiny/become", "usr/bin/ping"):
        path = tree.path / name
        if path.exists() and not path.is_symlink():
            path.chmod(0o4755)


def build_root(packages: Path, into: Path) -> Tree:
    tree = Tree(into, packages)
    tree.skeleton()
    for source, target in PROGRAMS.items():
        tree.program(source, target)
    for link, target in LINKS.items():
        tree.link(link, target)
    tree.busybox()
    setuid(tree)
    return tree


def build_ramdisk(packages: Path, into: Path) -> Tree:
    """What the guest needs to find its disk, or to live without one: no tools but busybox and SSH."""
    tree = Tree(into, packages)
    tree.skeleton()
    (tree.path / "usr/bin/nc").unlink()
    (tree.path / "usr/bin/mkfs").unlink()
    for source, target in RAMDISK_PROGRAMS.items():
        tree.program(source, target)
    tree.busybox()
    setuid(tree)
    shutil.copy2(FILES / "initramfs/init", tree.path / "init")
    return tree
