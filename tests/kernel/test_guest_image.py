"""The guest image tiny, booted under emulation and talked to: what the cloud and Tempest's scenario tests need of it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lib.guest_lab import PREFIX, SECOND_PREFIX, Guest, GuestLab, config_drive, overlay, poll_until
from virga.lab.guest.build import build
from virga.lab.guest.images import COMMAND_LINE

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="needs QEMU"),
]

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "guest"
FIRST = "52:54:00:00:00:01"
SECOND = "52:54:00:00:00:02"
ADDRESS = f"{PREFIX}.51"
READY = r"is ready by ([a-z ]+):"
SCRIPT = "#!/bin/bash\necho once >> /var/lib/ran\nid -un > /var/lib/ran-by\necho user data says hello\n"
ROOT_PORTS = ("-device", "pcie-root-port,id=rp0,chassis=1", "-device", "pcie-root-port,id=rp1,chassis=2")


@pytest.fixture(scope="session")
def image() -> Path:
    build(CACHE)
    return CACHE


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[GuestLab]:
    with GuestLab(tmp_path) as lab:
        lab.lease(FIRST, ADDRESS, "host-51")
        yield lab


@pytest.fixture(scope="module")
def shared(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GuestLab, Guest]]:
    """One guest for all questions that change nothing of importance: machine q35, metadata by the service."""
    work = tmp_path_factory.mktemp("shared")
    with GuestLab(work) as lab:
        lab.lease(FIRST, ADDRESS, "host-51")
        lab.describe("6d0c8a9e-0000-4000-8000-000000000001", "web-1")
        lab.serve("openstack/latest/user_data", gzip.compress(SCRIPT.encode()))
        disk = overlay(image / "tiny.qcow2", work / "disk.qcow2", "1G")
        arguments = ("-M", "q35", "-drive", f"file={disk},if=virtio", *ROOT_PORTS)
        guest = Guest(lab, "web", [FIRST, SECOND], *arguments)
        try:
            guest.console.wait("login: ")
            yield lab, guest
        finally:
            guest.close()


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("hostname", "web-1"),
        ("id -un", "cirros"),
        ("sudo id -un", "root"),
        ("sudo -n -u cirros -- sh -c 'id -un'", "cirros"),
        ("grep -c ^processor /proc/cpuinfo", "1"),
        ("curl -s http://169.254.169.254/latest/meta-data/public-ipv4", "172.24.4.9"),
        ("wget -q -O - http://169.254.169.254/latest/meta-data/public-ipv4", "172.24.4.9"),
        ("cat /sys/class/net/eth0/mtu", "1442"),
        ("ip -o link | awk '/52:54:00:00:00:01/ {print $2}'", "eth0:"),
        ("ip -o addr | awk '/10.99.0.51/ {print $2}'", "eth0"),
        ("ip addr show eth0| awk '/ether/ {print $2}'", FIRST),
        ("awk '/^nameserver/ {print $2}' /etc/resolv.conf", f"{PREFIX}.1\n{SECOND_PREFIX}.1"),
        ("ip route | awk '/^default/ && !n++ {print $3}'", f"{PREFIX}.1"),
        ("ping -c1 -w5 -s56 -I eth0 10.99.0.1 | grep -c '1 received'", "1"),
        ("ping6 -c1 -w5 fd99::1 | grep -c '1 received'", "1"),
        ("ping -M do -s 1414 -c1 -w5 10.99.0.1 | grep -c '1 received'", "1"),
        ("sudo arping -c1 -I eth0 10.99.0.1 | grep -c 'Received 1'", "1"),
        ("echo abc | md5sum", "0bee89b07a248e27c83fc3d5951213c1  -"),
        ("dd if=/dev/zero bs=1024 count=2 2>/dev/null | wc -c", "2048"),
        ("sudo cat /var/lib/ran /var/lib/ran-by", "once\nroot"),
        ("sudo fdisk -l /dev/vda | grep -c '^/dev/vda'", "2"),
        ('lsblk -lb --nodeps | awk \'$6 == "disk" && $1 == "vda" {print $4}\'', str(1 << 30)),
        ("nohup nice true && pgrep -x dropbear > /dev/null && mountpoint -q / && echo ok", "ok"),
        ("cut -f1 -d. /proc/uptime | grep -c '[0-9]'", "1"),
        ("sudo dmesg | grep -c 'Linux version'", "1"),
        ("echo $((2 + 2)); [ -w /tmp ]; date -u +%Z", "4\nUTC"),
        (
            "sudo ip link add link eth0 name eth0.7 type vlan id 7; ip -d link show eth0.7 | grep -o 'id 7';"
            " sudo ip link del eth0.7",
            "id 7",
        ),
    ],
)
def test_answers(shared: tuple[GuestLab, Guest], command: str, answer: str) -> None:
    lab, _ = shared
    assert lab.ssh(ADDRESS, command) == answer


def test_addresses_of_all_cards(shared: tuple[GuestLab, Guest]) -> None:
    """Both cards have a lease, and addresses by SLAAC that follow from their MAC."""
    lab, _ = shared
    wanted = ("fd99::5054:ff:fe00:1/64", "fd98::5054:ff:fe00:2/64", f"inet {SECOND_PREFIX}.")
    for address in wanted:
        poll_until(lambda address=address: address in lab.ssh(ADDRESS, "ip address"), f"{address} is there")


def test_root_disk_has_grown(shared: tuple[GuestLab, Guest]) -> None:
    lab, _ = shared
    size = "df -m / | awk 'NR == 2 {print $2}'"
    poll_until(lambda: int(lab.ssh(ADDRESS, size)) > 800, "the root file system fills the disk of 1 GiB")


def test_a_lease_is_renewed_on_demand(shared: tuple[GuestLab, Guest]) -> None:
    """As test_subnet_details does it: new name server in the DHCP server, SIGUSR1 to the client, look."""
    lab, _ = shared
    lab.options.write_text("option:dns-server,1.2.3.4\n")
    lab.reload()
    pid = lab.ssh(ADDRESS, "cat /var/run/udhcpc.eth0.pid")
    lab.ssh(ADDRESS, f"sudo /bin/kill -USR1 {pid}")
    poll_until(lambda: "1.2.3.4" in lab.ssh(ADDRESS, "cat /etc/resolv.conf"), "the new name server is used")
    lab.options.write_text("")
    lab.reload()
    lab.ssh(ADDRESS, f"sudo /bin/kill -USR1 {pid}")
    poll_until(lambda: "1.2.3.4" not in lab.ssh(ADDRESS, "cat /etc/resolv.conf"), "the old one is back")


@pytest.mark.parametrize("udp", ["", "-u"])
def test_netcat_serves_a_command_again_and_again(shared: tuple[GuestLab, Guest], udp: str) -> None:
    """Both ends in the guest; the options are Tempest's, word for word."""
    lab, _ = shared
    port = 4000 if udp else 4001
    lab.ssh(ADDRESS, f"sudo nc {udp} -p {port} -lk -e echo foolish > /dev/null 2>&1 < /dev/null &")
    ask = f'echo "bar" | nc -w 1 {udp} {ADDRESS} {port}'
    poll_until(lambda: lab.ssh(ADDRESS, ask, check=False) == "foolish", "the server answers")
    assert lab.ssh(ADDRESS, ask) == "foolish"
    assert lab.ssh(ADDRESS, "pidof nc > /dev/null && sudo killall nc && echo gone") == "gone"


def test_a_plugged_disk_can_be_used(shared: tuple[GuestLab, Guest]) -> None:
    lab, guest = shared
    disk = lab.work / "extra.img"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    node = {"driver": "raw", "node-name": "extra", "file": {"driver": "file", "filename": str(disk)}}
    guest.qmp("blockdev-add", **node)
    guest.qmp("device_add", driver="virtio-blk-pci", id="d1", drive="extra", bus="rp0", serial="volume-1")
    poll_until(lambda: "vdb" in lab.ssh(ADDRESS, "lsblk -lb --nodeps"), "the disk is seen")
    assert lab.ssh(ADDRESS, "cat /sys/block/vdb/serial") == "volume-1"
    keep = 'sudo sh -c "date > /mnt/timestamp; sync" && sudo cat /mnt/timestamp && sudo umount /mnt'
    for kind in ("vfat", "ext4"):
        lab.ssh(ADDRESS, f"sudo mkfs -t {kind} /dev/vdb && sudo mount /dev/vdb /mnt")
        lab.ssh(ADDRESS, keep)
        assert f'TYPE="{kind}"' in lab.ssh(ADDRESS, "sudo blkid /dev/vdb")
    guest.qmp("device_del", id="d1")
    poll_until(lambda: "vdb" not in lab.ssh(ADDRESS, "lsblk -lb --nodeps"), "the disk is gone")


def test_a_plugged_card_is_left_to_the_user(shared: tuple[GuestLab, Guest]) -> None:
    lab, guest = shared
    lab.run("ip", "tuntap", "add", "plugged", "mode", "tap")
    lab.run("ip", "link", "set", "plugged", "master", "br0", "up")
    options = {"script": "no", "downscript": "no", "vnet_hdr": False}
    guest.qmp("netdev_add", type="tap", id="h1", ifname="plugged", **options)
    guest.qmp("device_add", driver="virtio-net-pci", id="c1", netdev="h1", mac="52:54:00:00:00:03", bus="rp1")
    poll_until(lambda: "52:54:00:00:00:03" in lab.ssh(ADDRESS, "ip -o link"), "the card is seen")
    lab.ssh(ADDRESS, "sudo ip addr add 10.99.9.9/24 dev eth2 && sudo ip link set eth2 up")
    assert "10.99.9.9/24" in lab.ssh(ADDRESS, "ip a")


def test_console(shared: tuple[GuestLab, Guest]) -> None:
    """Writing to it from inside, logging in with the password from outside."""
    lab, guest = shared
    lab.ssh(ADDRESS, 'sudo sh -c "echo \\"written inside\\" >/dev/console"')
    guest.console.wait("written inside")
    guest.console.type("")
    guest.console.wait("login: ")
    guest.console.type("cirros")
    guest.console.wait("assword: ")
    guest.console.type("gocubsgo")
    guest.console.wait(r"\$ ")
    guest.console.type("echo $((6 * 7)) $(sudo id -un); exit")
    guest.console.wait("42 root")


def test_files_come_in_by_scp(shared: tuple[GuestLab, Guest]) -> None:
    lab, _ = shared
    source = lab.work / "big"
    source.write_bytes(os.urandom(200_000))
    command = [part.replace("cirros@", "cirros@") for part in lab.ssh_command(ADDRESS)]
    command[command.index("ssh")] = "scp"
    target = command.pop()
    subprocess.run([*command, str(source), f"{target}:/tmp/big"], check=True, timeout=60)
    assert lab.ssh(ADDRESS, "wc -c < /tmp/big") == "200000"


def _keys(lab: GuestLab, *kinds: str) -> list[str]:
    keys = []
    for kind in kinds:
        path = lab.work / f"id_{kind}"
        if not path.exists():
            argv = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", kind, "-f", str(path)]
            subprocess.run(argv, check=True)
        keys.append(path.with_suffix(".pub").read_text())
    return keys


def test_life_with_a_config_drive(image: Path, lab: GuestLab) -> None:
    """Machine pc, a CD-ROM instead of a metadata service: keys of every kind, reboot, power button."""
    document = lab.describe("6d0c8a9e-0000-4000-8000-000000000002", "db-1")
    shutil.rmtree(lab.metadata / "openstack")
    document["public_keys"] = dict(enumerate(_keys(lab, "ecdsa", "ed25519", "rsa")))
    files = {
        "openstack/latest/meta_data.json": json.dumps(document).encode(),
        "openstack/latest/user_data": SCRIPT.encode(),
        "openstack/latest/network_data.json": b"{}",
    }
    drive = config_drive(lab.work, files, lab.work / "config.iso")
    disk = overlay(image / "tiny.qcow2", lab.work / "disk.qcow2", "2G")
    media = ("-drive", f"file={drive},format=raw,if=none,id=cd", "-device", "ide-cd,drive=cd")
    guest = Guest(
        lab,
        "db",
        [FIRST],
        *("-M", "pc", "-smp", "2", "-cpu", "Nehalem,+rdrand", "-drive", f"file={disk},if=virtio", *media),
        *("-device", "virtio-rng-pci"),
    )
    try:
        assert guest.console.wait(READY)[1] == "config drive"
        guest.console.wait("user data says hello")
        for kind in ("ecdsa", "ed25519", "rsa"):
            lab.key = lab.work / f"id_{kind}"
            assert lab.ssh(ADDRESS, "hostname; nproc") == "db-1\n2"
        found = lab.ssh(
            ADDRESS, "sudo mount $(sudo blkid -L config-2) /mnt && cat /mnt/openstack/latest/meta_data.json"
        )
        assert json.loads(found) == json.loads(files["openstack/latest/meta_data.json"])
        lab.ssh(ADDRESS, "sudo umount /mnt; echo kept > kept; sync; sudo reboot")
        guest.console.wait(READY)
        assert lab.ssh(ADDRESS, "cat kept; sudo cat /var/lib/ran; hostname") == "kept\nonce\ndb-1"
        guest.qmp("system_powerdown")
        guest.wait_exit()
    finally:
        guest.close()


@pytest.mark.parametrize("disk", ["root", "blank", "none"])
def test_kernel_and_ramdisk(image: Path, lab: GuestLab, disk: str) -> None:
    """Booted the ami way, in little memory; without a disk of ours it lives in the ramdisk."""
    lab.describe("6d0c8a9e-0000-4000-8000-000000000003", "ami-1")
    arguments = ["-M", "q35", "-kernel", str(image / "tiny-vmlinuz"), "-initrd", str(image / "tiny-initrd")]
    arguments += ["-append", COMMAND_LINE if disk == "none" else "root=/dev/vda console=tty0 console=ttyS0"]
    if disk != "none":
        path = lab.work / "root.img"
        if disk == "root":
            shutil.copyfile(image / "tiny-rootfs.img", path)
        with path.open("ab") as file:
            file.truncate(300 << 20)
        arguments += ["-drive", f"file={path},format=raw,if=virtio"]
    guest = Guest(lab, "ami", [FIRST], *arguments, memory=96)
    try:
        assert guest.console.wait(READY)[1] == "metadata service"
        assert lab.ssh(ADDRESS, "hostname; sudo id -un; awk '$2 == \"/\" {print $3}' /proc/mounts").split()[
            :2
        ] == [
            "ami-1",
            "root",
        ]
        kind = lab.ssh(ADDRESS, "stat -f -c %T /")
        assert ("ext" in kind) == (disk == "root")
    finally:
        guest.close()


def test_password_login_by_ssh_and_no_metadata(image: Path, lab: GuestLab) -> None:
    """Nothing is told to the guest: it comes up with its own name, and the password opens it."""
    disk = overlay(image / "tiny.qcow2", lab.work / "disk.qcow2", "200M")
    guest = Guest(lab, "bare", [FIRST], "-M", "q35", "-drive", f"file={disk},if=virtio")
    askpass = lab.work / "askpass"
    askpass.write_text("#!/bin/sh\necho gocubsgo\n")
    askpass.chmod(0o755)
    try:
        guest.console.wait("login: ")
        argv = ["setsid", *lab.ssh_command(ADDRESS, "-o", "PubkeyAuthentication=no"), "id -un; hostname"]
        environment = os.environ | {"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout == "cirros\nhost-51\n", done.stderr
    finally:
        guest.close()


def test_namespace_instance(image: Path, lab: GuestLab) -> None:
    """The second kind: same tree, no machine. Up at once, keeps its files, ends as it was told."""
    lab.describe("6d0c8a9e-0000-4000-8000-000000000004", "ns-1")
    lab.serve("openstack/latest/user_data", SCRIPT)
    netns, log = f"{lab.netns}-i", lab.work / "console.log"
    subprocess.run(["ip", "netns", "add", netns], check=True)
    lab.run("ip", "link", "add", "v1", "type", "veth", "peer", "name", "eth0", "address", FIRST)
    lab.run("ip", "link", "set", "v1", "master", "br0", "up")
    subprocess.run(["ip", "-n", lab.netns, "link", "set", "eth0", "netns", netns], check=True)
    launch = Path(build.__code__.co_filename).parent / "namespace/launch"
    tree, state = image / "tiny-root", lab.work / "state"

    def start() -> subprocess.Popen[bytes]:
        argv = [
            str(launch),
            "--tree",
            str(tree),
            "--state",
            str(state),
            "--netns",
            netns,
            "--hostname",
            "ns-1",
        ]
        with log.open("ab") as output:
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def initial(process: subprocess.Popen[bytes]) -> str:
        return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]

    process = start()
    try:
        poll_until(lambda: "user data says hello" in log.read_text(), "user data has run")
        assert lab.ssh(ADDRESS, "hostname; sudo id -un; sudo cat /var/lib/ran") == "ns-1\nroot\nonce"
        assert "permission denied" in lab.ssh(ADDRESS, "sudo mount -t tmpfs x /mnt 2>&1", check=False)
        lab.ssh(ADDRESS, 'echo kept > kept; sudo sh -c "echo written inside >/dev/console"')
        assert "written inside" in log.read_text()
        lab.ssh(ADDRESS, "sudo reboot")
        assert process.wait(20) == -1
        process = start()
        poll_until(lambda: log.read_text().count("is ready by") == 2, "it is up again")
        assert lab.ssh(ADDRESS, "cat kept; sudo cat /var/lib/ran") == "kept\nonce"
        os.kill(int(initial(process)), 12)
        assert process.wait(20) == -2
        assert str(state) not in Path("/proc/mounts").read_text()
    finally:
        process.kill()
        process.wait(10)
        subprocess.run(["ip", "netns", "del", netns], check=True)
