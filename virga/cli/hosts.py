"""`virga hosts`: the simulated hosts."""

from __future__ import annotations

from pathlib import Path

import click

from virga.cli.options import existing_cloud, state_dir_option


@click.command()
@state_dir_option
def hosts(state_dir: Path | None) -> None:
    """List the simulated hosts: state, addresses, agent, and how many instances run there."""
    from virga.lab.underlay import storage_ip, tunnel_ip

    cloud = existing_cloud(state_dir)
    if cloud.is_fake:
        click.echo("The hosts of this cloud are in memory.")
        return
    click.echo(f"{'HOST':<8} {'STATE':<8} {'AGENT':<8} {'TUNNEL':<14} {'STORAGE':<16} INSTANCES")
    for host in cloud.existing_hosts():
        state = "up" if host.made else "down"
        agent = "up" if cloud.programs.living(host.agent) else "down"
        addresses = f"{tunnel_ip(host.number):<14} {storage_ip(host.number):<16}"
        click.echo(f"{host.name:<8} {state:<8} {agent:<8} {addresses} {host.instances()}")
