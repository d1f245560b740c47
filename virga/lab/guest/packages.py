"""Fetches distribution packages with apt and unpacks them into a directory, without installing anything."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

KERNEL = "linux-image-cloud-amd64"
# What is unpacked; the shared libraries that these need are found by following their dependencies.
PACKAGES = (
    "bash",
    "busybox-static",
    "coreutils",
    "curl",
    "dropbear-bin",
    "e2fsprogs",
    "iproute2",
    "iputils-ping",
    "mount",
    "mtools",
    "ncat",
    "openssh-client",
    "openssh-sftp-server",
    "procps",
    "syslinux",
    "syslinux-common",
    "tcpdump",
    "util-linux",
    "wget",
)
_LIBRARY = re.compile(r"^(lib[a-z0-9.+-]+|zlib1g)$")
_NO_LIBRARY = re.compile(r"(-common|-data|-bin|-modules.*|^libpam-.*|^libdebian.*)$")

Progress = Callable[[str], None]


class BuildError(Exception):
    """The image cannot be built; the text says what was attempted and what to do."""


def run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Runs a tool to its end and returns what it printed; BuildError carries its complaint."""
    try:
        done = subprocess.run(
            command, cwd=cwd, env=None if env is None else os.environ | env, capture_output=True, text=True
        )
    except FileNotFoundError as e:
        raise BuildError(f"{command[0]} is not installed") from e
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise BuildError(f"{' '.join(command[:3])} failed: {lines[-1] if lines else done.returncode}")
    return done.stdout


def kernel_package() -> str:
    """The package with the kernel itself, which the meta package depends on."""
    found = re.search(r"Depends: (linux-image-\S+)", run("apt-cache", "depends", KERNEL))
    if found is None:
        raise BuildError(f"apt knows no {KERNEL}: run apt-get update")
    return found.group(1)


def closure(names: Iterable[str]) -> list[str]:
    """The named packages and every library package that they depend on, by name."""
    options = [f"--no-{x}" for x in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    text = run("apt-cache", "depends", "--recurse", *options, *names)
    needs: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if not line.startswith((" ", "<")):
            current = needs.setdefault(line.strip(), [])
        elif found := re.match(r"^ \|?\s*(?:Pre)?Depends: ([^<\s:]+)", line):
            current.append(found.group(1))
    wanted: dict[str, None] = {}
    queue = list(names)
    while queue:
        name = queue.pop(0)
        if name in wanted:
            continue
        wanted[name] = None
        queue += [x for x in needs.get(name, []) if _LIBRARY.match(x) and not _NO_LIBRARY.search(x)]
    return list(wanted)


def download(names: list[str], cache: Path, progress: Progress) -> list[Path]:
    """Puts the packages into the cache directory; what is there already is not fetched again."""
    cache.mkdir(parents=True, exist_ok=True)
    missing = [name for name in names if not list(cache.glob(f"{name}_*.deb"))]
    if missing:
        progress(f"fetching {len(missing)} packages")
        try:
            run("apt-get", "download", "-qq", *missing, cwd=cache)
        except BuildError:
            # The lists of a machine that was not updated for long name packages that are gone.
            progress("updating the package lists")
            run("apt-get", "update", "-qq")
            run("apt-get", "download", "-qq", *missing, cwd=cache)
    return [max(cache.glob(f"{name}_*.deb"), key=lambda p: p.stat().st_mtime) for name in names]


def unpack(archives: Iterable[Path], into: Path) -> None:
    """Unpacks packages over one another; the tree has the merged /usr layout whatever the packages use."""
    shutil.rmtree(into, ignore_errors=True)
    (into / "usr/lib").mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (into / "usr" / name).mkdir(exist_ok=True)
        (into / name).symlink_to(f"usr/{name}")
    for archive in archives:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as data:
            done = subprocess.run(
                ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", str(into)],
                stdin=data.stdout,
            )
        if data.returncode or done.returncode:
            raise BuildError(f"{archive.name} cannot be unpacked: remove it and build again")
