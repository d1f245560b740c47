"""The trees that guests read, made from values."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from virga.services.compute.metadata import Facts, ec2_tree, meta_data
from virga.services.compute.networking import Fixed, Vif


def facts(**more: Any) -> Facts:
    row = SimpleNamespace(
        **{
            "id": "5f1c0a64-0000-4000-8000-000000000001",
            "number": 7,
            "name": "vm one",
            "hostname": "vm-one",
            "image_id": "i",
            "flavor": {"name": "m1.nano"},
            "launch_index": 0,
            "availability_zone": "nova",
            "reservation_id": "r-12345678",
            "root_device_name": "/dev/vda",
            "kernel_id": "",
            "ramdisk_id": "",
            "key_name": "key",
            "key_data": "ssh-ed25519 AAAA me",
            "metadata": {"a": "b"},
            "personality": [],
            "project_id": "p",
            "build": 1,
            "admin_password": "secret",
            **more,
        }
    )
    vif = Vif("port-1", "net-1", "n1", "fa:16:3e:00:00:01", "ACTIVE", 1500, "ovs")
    vif.fixed_ips = [Fixed("sub-1", "10.0.0.5", ["172.24.4.9"])]
    vif.security_groups = {"g": "default"}
    return Facts(row, [vif], "openstacklocal")  # type: ignore[arg-type]


def test_the_ec2_tree_has_addresses_name_and_key() -> None:
    tree = ec2_tree(facts())
    assert (tree["local-ipv4"], tree["public-ipv4"]) == ("10.0.0.5", "172.24.4.9")
    assert tree["hostname"] == "vm-one.openstacklocal"
    assert tree["public-keys"]["0"]["openssh-key"] == "ssh-ed25519 AAAA me"
    assert tree["instance-id"] == "i-00000007"


def test_openstacks_file_grows_with_its_version() -> None:
    oldest, newest = meta_data(facts(), "2012-08-10", False), meta_data(facts(), "2020-10-14", True)
    assert oldest["meta"] == {"a": "b"}
    assert "random_seed" not in oldest and "project_id" not in oldest
    assert newest["project_id"] == "p"
    assert newest["admin_pass"] == "secret"
    assert newest["keys"] == [{"name": "key", "type": "ssh", "data": "ssh-ed25519 AAAA me"}]


def test_the_seed_is_the_same_for_one_build_only() -> None:
    seeds = [meta_data(facts(build=build), "2020-10-14", True)["random_seed"] for build in (1, 1, 2)]
    assert seeds[0] == seeds[1] != seeds[2]
