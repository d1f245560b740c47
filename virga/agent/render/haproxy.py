"""haproxy.cfg of a metadata proxy: takes guests' requests in a namespace, says whose they are, hands them on.

The headers by which the agent knows the asker are set here and nowhere else: whatever a guest sent
under their names is thrown away first.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Proxy:
    """One metadata proxy. Exactly one of ``router_id`` and ``network_id`` is set."""

    binds: tuple[str, ...]
    socket: str
    pid_file: str
    router_id: str = ""
    network_id: str = ""


def router_binds(ipv6: bool = True) -> tuple[str, ...]:
    """The port that the router's rules redirect 169.254.169.254:80 to, in both families where there are two."""
    return (":::9697",) if ipv6 else ("0.0.0.0:9697",)


def network_binds(device: str, ipv6: bool) -> tuple[str, ...]:
    """The metadata addresses that an isolated network's DHCP port carries."""
    six = (f"fe80::a9fe:a9fe:80 interface {device}",) if ipv6 else ()
    return ("169.254.169.254:80", *six)


def render(proxy: Proxy) -> str:
    name, value = (
        ("X-Neutron-Router-ID", proxy.router_id)
        if proxy.router_id
        else ("X-Neutron-Network-ID", proxy.network_id)
    )
    binds = "\n".join(f"    bind {bind}" for bind in proxy.binds)
    return f"""global
    log-tag     haproxy-metadata-proxy-{value}
    user        root
    group       root
    maxconn     1024
    nbthread    1
    pidfile     {proxy.pid_file}
    daemon

defaults
    mode http
    option dontlognull
    option http-server-close
    option http-buffer-request
    retries                 3
    timeout http-request    30s
    timeout connect         30s
    timeout client          32s
    timeout server          32s
    timeout http-keep-alive 30s

listen listener
{binds}

    server metadata {proxy.socket}

    http-request del-header X-Forwarded-For
    http-request del-header X-Neutron-Network-ID
    http-request del-header X-Neutron-Router-ID
    http-request set-header X-Forwarded-For %[src]
    http-request set-header {name} {value}
"""
