"""Builds the guest image `tiny` into a directory; unchanged inputs are not built twice.

python -m virga.lab.guest.build OUTPUT_DIR
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

from virga.lab.guest import images, kernel, packages, tree
from virga.lab.guest.packages import BuildError, Progress

HERE = Path(__file__).parent
PRODUCTS = ("tiny.qcow2", "tiny-vmlinuz", "tiny-initrd", "tiny-rootfs.img", "tiny-root")


def input_hash() -> str:
    """Changes when any file that shapes the image changes."""
    digest = hashlib.sha256()
    for path in sorted(HERE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md":
            digest.update(f"{path.relative_to(HERE)} {path.stat().st_mode & 0o111}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def is_current(output: Path) -> bool:
    """Whether the directory holds the image that these inputs give."""
    try:
        manifest = json.loads((output / "manifest.json").read_text())
    except (OSError, ValueError):
        return False
    return manifest.get("input") == input_hash() and all((output / name).exists() for name in PRODUCTS)


def build(output: Path, progress: Progress = print, force: bool = False) -> None:
    """Makes the image, all or nothing: products are put in place when all of them are done."""
    if not force and is_current(output):
        progress("guest image tiny is current")
        return
    if os.geteuid() != 0:
        raise BuildError("the guest image keeps file owners: build it as root")
    started = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    work = output / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    names = packages.closure(packages.PACKAGES)
    archives = packages.download([*names, packages.kernel_package()], output / "packages", progress)
    _make(archives, work, progress)
    for name in PRODUCTS:
        if (output / name).is_dir():
            shutil.rmtree(output / name)
        (work / name).replace(output / name)
    manifest = {
        "input": input_hash(),
        "kernel_arguments": images.COMMAND_LINE,
        "packages": sorted(a.name for a in archives),
    }
    (output / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    shutil.rmtree(work)
    progress(f"guest image tiny is built ({time.monotonic() - started:.0f} s)")


def _make(archives: list[Path], work: Path, progress: Progress) -> None:
    progress("unpacking")
    unpacked = work / "unpacked"
    packages.unpack(archives, unpacked)
    modules = kernel.Modules(unpacked, unpacked / "usr/bin/busybox")
    progress("assembling the root file system")
    root = tree.build_root(unpacked, work / "tiny-root")
    modules.install(tree.MODULES + kernel.BOOT_MODULES, root.path)
    ramdisk = tree.build_ramdisk(unpacked, work / "ramdisk")
    modules.install_boot(ramdisk.path)
    progress("writing the images")
    shutil.copyfile(next((unpacked / "boot").glob("vmlinuz-*")), work / "tiny-vmlinuz")
    images.write_cpio(ramdisk.path, work / "tiny-initrd")
    images.write_ext4(root.path, work / "tiny-rootfs.img")
    images.write_disk(
        work / "tiny-vmlinuz", work / "tiny-initrd", work / "tiny-rootfs.img", unpacked, work / "tiny.qcow2"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds the guest image tiny.")
    parser.add_argument("output", type=Path, help="directory for the image files")
    parser.add_argument("--force", action="store_true", help="build even if nothing changed")
    arguments = parser.parse_args()
    try:
        build(arguments.output.resolve(), lambda line: print(line, flush=True), arguments.force)
    except BuildError as e:
        print(f"tiny: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
