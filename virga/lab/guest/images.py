"""Turns trees into image files: ramdisk archive, ext4 file system, bootable disk. Needs no mount and no loop device."""

import os
import shutil
import stat
import struct
from pathlib import Path

from virga.lab.guest.packages import run

SECTOR = 512
BOOT_START = 2048
MIB = 1024 * 1024
LABEL = "tiny-root"
# Fixed, so that two builds of the same input give the same disk.
UUID = "7e11b0a5-91c3-4d0e-8f3a-5a4c1d2b7711"
# Under emulation every self-test, self-patching and trace set-up of the kernel is a noticeable part of the boot.
_SLOW_AND_UNUSED = (
    "crypto_kdf108_init",
    "init_blk_tracer",
    "init_kprobe_trace",
    "load_system_certificate_list",
)
# Interrupts stay routed by ACPI: the table that the kernel has without it ends at the sixth PCI slot, and cards
# that are plugged later come after it.
COMMAND_LINE = (
    "console=tty0 console=ttyS0 quiet loglevel=4 panic=10 mitigations=off noreplace-smp nokaslr lsm= audit=0"
    " cryptomgr.notests random.trust_cpu=on no_timer_check tsc=reliable"
    f" initcall_blacklist={','.join(_SLOW_AND_UNUSED)}"
)


def write_cpio(tree: Path, output: Path) -> None:
    """Packs a tree as the newc archive that the kernel unpacks. Not compressed: a guest under emulation unpacks slowly."""
    with output.open("wb") as archive:
        for number, path in enumerate(sorted(tree.rglob("*"), key=str), start=1):
            archive.write(_cpio_entry(path, path.relative_to(tree).as_posix(), number))
        archive.write(_cpio_header("TRAILER!!!", 0, 0, 0, 0, 0))


def _cpio_entry(path: Path, name: str, number: int) -> bytes:
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        data = str(path.readlink()).encode()
    elif stat.S_ISREG(info.st_mode):
        data = path.read_bytes()
    else:
        data = b""
    header = _cpio_header(name, number, info.st_mode, info.st_uid, info.st_gid, len(data))
    return header + data + b"\0" * (-len(data) % 4)


def _cpio_header(name: str, number: int, mode: int, uid: int, gid: int, size: int) -> bytes:
    raw = name.encode() + b"\0"
    fields = (number, mode, uid, gid, 1, 0, size, 0, 0, 0, 0, len(raw), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + raw
    return head + b"\0" * (-len(head) % 4)


def write_ext4(tree: Path, output: Path) -> None:
    """Fills a new ext4 file system with a tree; its block groups let it grow online to the size of any disk."""
    used = sum(p.lstat().st_blocks * SECTOR for p in tree.rglob("*"))
    size = (used + 14 * MIB) // MIB * MIB
    output.unlink(missing_ok=True)
    with output.open("wb") as file:
        file.truncate(size)
    run(
        *(
            "mke2fs",
            "-q",
            "-F",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-I",
            "256",
            "-i",
            "16384",
            "-m",
            "0",
            "-L",
            LABEL,
        ),
        *("-J", "size=4", "-U", UUID, "-E", f"hash_seed={UUID},lazy_itable_init=1,nodiscard,resize=8388608"),
        *("-d", str(tree), str(output)),
        env={"E2FSPROGS_FAKE_TIME": "1700000000", "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
    )


def write_disk(kernel: Path, ramdisk: Path, filesystem: Path, packages: Path, output: Path) -> None:
    """A disk with SYSLINUX: master boot record, a FAT partition with kernel and ramdisk, then the root, which can grow."""
    raw = output.with_suffix(".raw")
    boot_mib = (kernel.stat().st_size + ramdisk.stat().st_size) // MIB + 3
    root_start = BOOT_START + boot_mib * MIB // SECTOR
    root_sectors = filesystem.stat().st_size // SECTOR
    with raw.open("wb") as file:
        file.write(_boot_record(packages, boot_mib * MIB // SECTOR, root_start, root_sectors))
        file.truncate(root_start * SECTOR)
        file.seek(root_start * SECTOR)
        with filesystem.open("rb") as source:
            shutil.copyfileobj(source, file, MIB)
    _fill_boot_partition(raw, boot_mib * MIB // SECTOR, kernel, ramdisk, packages)
    output.unlink(missing_ok=True)
    run("qemu-img", "convert", "-c", "-O", "qcow2", "-o", "compat=1.1", str(raw), str(output))
    raw.unlink()


def _boot_record(packages: Path, boot_sectors: int, root_start: int, root_sectors: int) -> bytes:
    code = (packages / "usr/lib/syslinux/mbr/mbr.bin").read_bytes().ljust(440, b"\0")[:440]
    any_chs = b"\xfe\xff\xff"
    table = b"".join(
        struct.pack("<B3sB3sII", flag, any_chs, kind, any_chs, start, length)
        for flag, kind, start, length in (
            (0x80, 0x0E, BOOT_START, boot_sectors),
            (0x00, 0x83, root_start, root_sectors),
        )
    )
    return code + b"tiny\0\0" + table.ljust(64, b"\0") + b"\x55\xaa"


def _fill_boot_partition(raw: Path, sectors: int, kernel: Path, ramdisk: Path, packages: Path) -> None:
    offset = BOOT_START * SECTOR
    image = f"{raw}@@{offset}"
    config = raw.with_suffix(".cfg")
    config.write_text(
        "DEFAULT tiny\nPROMPT 0\nTIMEOUT 0\nLABEL tiny\n"
        f"  KERNEL /vmlinuz\n  INITRD /initrd\n  APPEND {COMMAND_LINE}\n"
    )
    tools = packages / "usr/bin"
    env = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "MTOOLS_SKIP_CHECK": "1",
        "SOURCE_DATE_EPOCH": "1700000000",
    }
    geometry = ("-T", str(sectors), "-h", "16", "-s", "63", "-H", str(BOOT_START))
    run("mformat", "-i", image, *geometry, "-N", "74696e79", "-v", "TINYBOOT", "::", env=env)
    for source, target in ((kernel, "vmlinuz"), (ramdisk, "initrd"), (config, "syslinux.cfg")):
        run("mcopy", "-i", image, str(source), f"::{target}", env=env)
    run("syslinux", "--install", "--offset", str(offset), str(raw), env=env)
    config.unlink()
