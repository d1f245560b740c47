"""Metadata by both ways, router and isolated network: who asked arrives unforged, the answer comes back."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lib.netns import Net, net, sh
from virga.agent.drivers.addresses import AddressDriver
from virga.agent.drivers.addressing import METADATA_V6, Addressing, Device
from virga.agent.drivers.configured import Configured
from virga.agent.drivers.haproxy import haproxy_driver
from virga.agent.drivers.iptables import IptablesDriver
from virga.agent.metadata import MetadataServer, Unreachable
from virga.agent.render import haproxy, router_rules
from virga.agent.render.router_rules import RouterRules, RuleDevice
from virga.contract.calls import MetadataAnswer, MetadataRequest
from virga.lib.wait import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class ControlPlane:
    """Answers with what it was asked, or not at all."""

    def __init__(self) -> None:
        self.asked: list[MetadataRequest] = []
        self.up = True

    def __call__(self, request: MetadataRequest) -> MetadataAnswer:
        if not self.up:
            raise Unreachable("no control plane")
        self.asked.append(request)
        if request.path == "/missing":
            return MetadataAnswer(status=404, body=b"")
        text = f"{request.method} {request.path} from {request.remote_address} {request.body.decode()}"
        return MetadataAnswer(status=200, body=text.encode())


class Site:
    """A namespace with the proxy, and a guest."""

    def __init__(self, made: Net, state: Path) -> None:
        self.net, self.state = made, state
        self.key = str(uuid.uuid4())
        self.namespace = f"qrouter-{self.key}"
        made.names.append(self.namespace)
        sh("ip", "netns", "add", self.namespace)
        made.ip(self.namespace, "link", "set", "lo", "up")
        self.guest = made.add("virga")
        made.wire((self.namespace, "qr-1"), (self.guest, "eth0"))
        made.ip(self.guest, "addr", "add", "10.10.10.5/24", "dev", "eth0")
        made.ip(self.guest, "route", "add", "default", "via", "10.10.10.1")
        self.control = ControlPlane()
        self.socket = state / "metadata_proxy"
        self.server = MetadataServer(self.socket, self.control)
        self.server.start()
        self.woken: list[bool] = []
        self.fresh_agent()

    def fresh_agent(self) -> None:
        self.haproxy = haproxy_driver(self.state, lambda: self.woken.append(True))
        self.haproxy.resync()

    def address(self, *addresses: str) -> None:
        driver = AddressDriver()
        driver.want(self.namespace, Addressing(devices=(Device("qr-1", frozenset(addresses)),)))
        assert list(driver.apply()) == []

    def by_router(self, ipv6: bool = False) -> None:
        self.address("10.10.10.1/24", *([METADATA_V6] if ipv6 else []))
        rules = IptablesDriver("nft")
        rules.want(self.namespace, router_rules.render(RouterRules((RuleDevice("qr-1", has_v6=ipv6),))))
        assert list(rules.apply()) == []
        self.start(haproxy.router_binds(), router_id=self.key)

    def start(self, binds: tuple[str, ...], **whose: str) -> None:
        proxy = haproxy.Proxy(binds, str(self.socket), self.haproxy.pid_file(self.key), **whose)
        self.haproxy.want(self.key, Configured(self.namespace, haproxy.render(proxy)))
        assert list(self.haproxy.apply()) == []

    def get(self, url: str, *words: str) -> str:
        return self.net.run(self.guest, "curl", "-s", "-m", "10", "-w", " [%{http_code}]", *words, url)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with net() as made:
        site = Site(made, tmp_path)
        try:
            yield site
        finally:
            site.server.stop()


def test_by_the_router(site: Site) -> None:
    site.by_router()
    assert site.get("http://169.254.169.254/latest/meta-data") == (
        "GET /latest/meta-data from 10.10.10.5  [200]"
    )
    assert site.control.asked[0].router_id == site.key
    assert site.control.asked[0].network_id == ""
    assert site.get("http://169.254.169.254/missing") == " [404]"
    answer = site.get("http://169.254.169.254/openstack/latest/password", "-d", "secret")
    assert answer == "POST /openstack/latest/password from 10.10.10.5 secret [200]"


def test_a_guest_cannot_speak_for_another(site: Site) -> None:
    site.by_router()
    forged = [
        *("-H", "X-Forwarded-For: 10.10.10.99"),
        *("-H", "X-Neutron-Network-ID: 1234"),
        *("-H", "X-Neutron-Router-ID: 1234"),
    ]
    assert "from 10.10.10.5" in site.get("http://169.254.169.254/", *forged)
    assert site.control.asked[0].router_id == site.key
    assert site.control.asked[0].network_id == ""
    # The proxy's own port is for redirected requests only.
    assert site.net.run(site.guest, "curl", "-s", "-m", "1", "http://10.10.10.1:9697/", check=False) == ""


def test_by_ipv6(site: Site) -> None:
    site.by_router(ipv6=True)
    wait_until(lambda: "tentative" not in site.net.ip(site.guest, "-6", "addr"), 5)
    assert "from fe80::" in site.get("http://[fe80::a9fe:a9fe%25eth0]/latest")


def test_by_an_isolated_network(site: Site) -> None:
    site.address("10.10.10.2/24", "169.254.169.254/32", METADATA_V6)
    site.net.ip(site.guest, "route", "add", "169.254.169.254/32", "via", "10.10.10.2")
    site.start(haproxy.network_binds("qr-1", ipv6=True), network_id=site.key)
    assert "from 10.10.10.5" in site.get("http://169.254.169.254/latest")
    assert site.control.asked[0].network_id == site.key
    wait_until(lambda: "tentative" not in site.net.ip(site.guest, "-6", "addr"), 5)
    assert "from fe80::" in site.get("http://[fe80::a9fe:a9fe%25eth0]/latest")


def test_without_a_control_plane_the_guest_is_told(site: Site) -> None:
    site.by_router()
    site.control.up = False
    assert site.get("http://169.254.169.254/").endswith("[503]")


def test_an_agent_that_starts_anew_adopts_the_proxy(site: Site) -> None:
    site.by_router()
    pid = Path(site.haproxy.pid_file(site.key)).read_text()
    site.server.stop()
    site.fresh_agent()
    site.server = MetadataServer(site.socket, site.control)
    site.server.start()
    site.start(haproxy.router_binds(), router_id=site.key)
    assert Path(site.haproxy.pid_file(site.key)).read_text() == pid
    assert site.get("http://169.254.169.254/").endswith("[200]")


def test_a_killed_proxy_and_a_changed_one(site: Site) -> None:
    site.by_router()
    os.kill(int(Path(site.haproxy.pid_file(site.key)).read_text()), signal.SIGKILL)
    assert wait_until(lambda: site.woken, 5)
    assert list(site.haproxy.apply()) == []
    assert site.get("http://169.254.169.254/").endswith("[200]")
    site.start(("0.0.0.0:9697",), router_id=site.key)
    assert site.get("http://169.254.169.254/").endswith("[200]")


def test_leftovers_go(site: Site) -> None:
    site.by_router()
    site.fresh_agent()
    # The file of the configuration and the process that runs by it.
    assert {d.kind for d in site.haproxy.check()} == {"extra"}
    assert list(site.haproxy.prune()) == []
    assert site.net.run(site.guest, "curl", "-s", "-m", "2", "http://169.254.169.254/", check=False) == ""
    assert not list((site.state / "ns-metadata-proxy").iterdir())


def test_a_proxy_that_cannot_start_is_said(site: Site) -> None:
    proxy = haproxy.Proxy(("not-an-address",), str(site.socket), site.haproxy.pid_file(site.key), "r")
    site.haproxy.want(site.key, Configured(site.namespace, haproxy.render(proxy)))
    failures = site.haproxy.apply()
    assert len(failures) == 1
    assert "does not start" in failures[0].reason
    assert site.haproxy.outcome(site.key).reason
