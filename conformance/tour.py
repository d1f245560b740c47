"""``make conformance-tour``: the everyday commands of the OpenStack client, and the same acts by openstacksdk.

Each step is a command as people type it; the client chooses the microversions. What it prints as JSON is asserted
upon, and the first step that fails ends the tour with what it said.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import openstack

from conformance.__main__ import lab
from virga.settings import Settings

WAIT_S = 300.0


class StepFailed(Exception):
    """A command of the tour did not do what it should; says which, and what it said."""


@dataclass
class Client:
    """``openstack`` as an administrator of one cloud."""

    environ: dict[str, str]
    steps: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, settings: Settings) -> Client:
        password = (settings.state_dir / "admin_password").read_text().strip()
        who = {
            "OS_AUTH_URL": f"{settings.endpoint}/identity/v3",
            "OS_USERNAME": "admin",
            "OS_PASSWORD": password,
            "OS_PROJECT_NAME": "admin",
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_REGION_NAME": "RegionOne",
        }
        return cls({**{k: v for k, v in os.environ.items() if not k.startswith("OS_")}, **who})

    def run(self, command: str) -> str:
        """What the command prints. Raises StepFailed."""
        self.steps.append(command)
        argv = [str(Path(sys.executable).with_name("openstack")), *shlex.split(command)]
        done = subprocess.run(argv, env=self.environ, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StepFailed(f"openstack {command}\n{done.stdout}{done.stderr}")
        print(f"ok       openstack {command}", flush=True)
        return done.stdout

    def ask(self, command: str, **expected: Any) -> Any:
        """The command's answer as JSON, which must hold ``expected``."""
        answer = json.loads(self.run(f"{command} -f json"))
        for name, value in expected.items():
            if answer.get(name) != value:
                raise StepFailed(f"openstack {command}: {name} is {answer.get(name)!r}, not {value!r}")
        return answer

    def listed(self, command: str, column: str, *wanted: str) -> list[dict[str, Any]]:
        """The rows of a list, in whose ``column`` all of ``wanted`` must stand."""
        rows: list[dict[str, Any]] = json.loads(self.run(f"{command} -f json"))
        missing = set(wanted) - {row[column] for row in rows}
        if missing:
            raise StepFailed(f"openstack {command}: {', '.join(sorted(missing))} is not in column {column}")
        return rows

    def until(self, command: str, **expected: Any) -> Any:
        """Ask until it is so; the client itself has no way to wait for everything."""
        end = time.monotonic() + WAIT_S
        while True:
            try:
                return self.ask(command, **expected)
            except StepFailed:
                if time.monotonic() > end:
                    raise


def identity(client: Client) -> None:
    client.run("token issue -f value -c id")
    names = {row["Name"] for row in client.listed("catalog list", "Type", "identity", "compute", "image")}
    assert names, "the catalog has no names"
    rows = client.listed("versions show", "Service Type", "identity", "image", "compute", "placement")
    newest = {row["Service Type"]: row["Max Microversion"] for row in rows if row["Max Microversion"]}
    assert newest["compute"] == "2.104", newest
    client.listed("project list", "Name", "admin", "demo")


def network(client: Client) -> None:
    client.ask("network create n1", name="n1", status="ACTIVE")
    client.ask("subnet create --network n1 --subnet-range 10.9.0.0/24 s1", cidr="10.9.0.0/24")
    client.ask("router create r1", name="r1")
    client.run("router add subnet r1 s1")
    client.run("router set r1 --external-gateway public")
    client.ask("security group create sg1", name="sg1")
    client.ask("security group rule create --proto tcp --dst-port 22 sg1", port_range_min=22)
    client.listed("network agent list", "Host", "host1")


def image(client: Client, directory: Path) -> None:
    path = directory / "img.raw"
    path.write_bytes(os.urandom(1 << 20))
    told = f"image create --file {path} --disk-format raw --container-format bare img1"
    client.ask(told, name="img1", status="active", size=1 << 20)
    client.listed("image list", "Name", "img1")


def compute(client: Client, several: bool) -> None:
    client.listed("flavor list", "Name", "m1.nano", "m1.micro")
    client.run("keypair create --type ssh k1")
    address = client.run("floating ip create public -f value -c floating_ip_address").strip()
    new = "--flavor m1.nano --image img1 --network n1 --key-name k1 --security-group sg1"
    client.ask(f"server create {new} --wait vm1", status="ACTIVE", key_name="k1")
    client.run(f"server add floating ip vm1 {address}")
    rows = client.listed("server list", "Name", "vm1")
    assert address in rows[0]["Networks"]["n1"], rows
    client.ask("server show vm1", name="vm1", status="ACTIVE")
    client.listed("server event list vm1", "Action", "create")
    client.run("console log show vm1")
    client.ask("console url show vm1", type="novnc", protocol="vnc")
    for size, after in (("m1.micro", "confirm"), ("m1.nano", "revert")):
        client.run(f"server resize --flavor {size} --wait vm1")
        client.run(f"server resize {after} vm1")
        client.until("server show vm1", status="ACTIVE")
    if several:
        client.run("server migrate --wait vm1")
        client.run("server migrate confirm vm1")
        client.until("server show vm1", status="ACTIVE")
        client.run("server migrate --live-migration --wait vm1")
        client.until("server show vm1", status="ACTIVE")
        moves = client.listed("server migration list --server vm1", "Type", "live-migration")
        assert moves[0]["Status"] == "completed", moves
    client.run("server rebuild --image img1 --wait vm1")
    client.ask("server image create --wait --name snapimg vm1", name="snapimg", status="active")
    client.run("server stop vm1")
    client.until("server show vm1", status="SHUTOFF")
    client.run("server delete --wait vm1")


def overview(client: Client) -> None:
    client.listed("quota show", "Resource", "instances", "cores", "ram")
    client.listed("availability zone list", "Zone Name", "nova")
    client.listed("compute service list", "Binary", "nova-compute")
    client.listed("hypervisor list", "State", "up")
    client.listed("limits show --absolute", "Name", "max_total_instances")
    client.run("usage show -f json")


def by_sdk(client: Client) -> None:
    """The same acts by openstacksdk, which chooses versions of its own."""
    names = {
        name.removeprefix("OS_").lower(): value for name, value in client.environ.items() if name[:3] == "OS_"
    }
    cloud = openstack.connect(load_yaml_config=False, load_envvars=False, **names)
    net = cloud.network.create_network(name="n2")
    cloud.network.create_subnet(network_id=net.id, ip_version=4, cidr="10.10.0.0/24")
    size, disk = cloud.compute.find_flavor("m1.nano"), cloud.image.find_image("img1")
    server = cloud.compute.create_server(
        name="vm2", flavor_id=size.id, image_id=disk.id, networks=[{"uuid": net.id}]
    )
    server = cloud.compute.wait_for_server(server)
    assert server.status == "ACTIVE" and server.flavor.original_name == "m1.nano"
    shot = cloud.compute.create_server_image(server, "snap2", wait=True)
    assert shot.status == "active"
    cloud.compute.delete_server(server)
    cloud.compute.wait_for_delete(server)
    for found in (shot, cloud.image.find_image("snapimg"), disk):
        cloud.image.delete_image(found)
    cloud.network.delete_network(net)
    print("ok       the same by openstacksdk", flush=True)


@click.command()
@click.option(
    "--cloud", type=click.Path(exists=True, path_type=Path), help="State directory of a running cloud."
)
@click.option("--hosts", default=2, help="Simulated hosts of a new lab.")
@click.option("--dataplane", default="lab", help="lab or fake.")
def main(cloud: Path | None, hosts: int, dataplane: str) -> None:
    """Exit status 0 when every step did what it should."""
    with (
        tempfile.TemporaryDirectory(prefix="virga-tour-") as directory,
        lab(cloud, hosts, dataplane) as settings,
    ):
        client = Client.of(settings)
        parts: list[Callable[[], None]] = [
            lambda: identity(client),
            lambda: network(client),
            lambda: image(client, Path(directory)),
            lambda: compute(client, hosts > 1),
            lambda: overview(client),
            lambda: by_sdk(client),
        ]
        try:
            for part in parts:
                part()
        except (StepFailed, AssertionError, openstack.exceptions.SDKException) as problem:
            sys.exit(f"failed   {problem}")
        print(f"{len(client.steps)} commands, and openstacksdk.")


if __name__ == "__main__":
    main()
