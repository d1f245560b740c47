"""The short page at the end of a start: where the cloud is, how to get in, what was found, what to try."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virga.lab.cloud import Cloud

SERVICES = ("identity", "image", "network", "compute", "volume")


def page(cloud: Cloud, seconds: float) -> str:
    """The page as text. Reads only."""
    from virga.lab.cloud import detected_or_none
    from virga.lab.credentials import accounts, places

    settings = cloud.settings
    lines = [f"The cloud in {cloud.directory} is up ({seconds:.1f} s).", "", "  Endpoints"]
    lines += [f"    {name:<10} {settings.endpoint}/{name}" for name in SERVICES]
    lines += ["", f"  Credentials (openrc, openrc-demo and clouds.yaml in {places(settings)[-1]})"]
    for account in accounts(settings):
        lines += [
            f"    {account.username:<10} {account.password}   project {account.project}, --os-cloud {account.cloud}"
        ]
    if cloud.is_fake:
        lines += ["", "  Data plane: in memory, no packets"]
    elif detected := cloud.detected or detected_or_none(cloud.directory):
        lines += ["", "  Detected"]
        lines += [f"    {name:<16} {choice.value}: {choice.reason}" for name, choice in detected.lines]
        lines += [
            f"    {'Outside world':<16} {settings.outside_cidr}, this machine is {_first(settings.outside_cidr)}"
        ]
    lines += ["", "  Try", "    . ./openrc && openstack image list", *_tries(cloud)]
    return "\n".join(lines) + "\n"


def _first(cidr: str) -> str:
    import ipaddress

    return str(ipaddress.ip_network(cidr)[1])


def _tries(cloud: Cloud) -> list[str]:
    tour = "    openstack network create demo && openstack subnet create demo --network demo --subnet-range 10.10.10.0/24"
    if cloud.is_fake:
        return [tour, "    virga status"]
    return [tour, "    virga host exec host1 -- ip netns list"]
