"""Runs Neutron's control plane on loopback: MariaDB, RabbitMQ, the API under uWSGI, the RPC server and the periodic workers.

Configured as an operator would for such a machine: two API processes, durable commits, logs at INFO.
Without authentication, quotas unlimited. All of its files are in one temporary directory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.peer.install import RABBIT

NEUTRON_CONF = """[DEFAULT]
auth_strategy = noauth
core_plugin = ml2
service_plugins = router,qos,trunk
state_path = {home}/state
api_paste_config = {environment}/etc/neutron/api-paste.ini
transport_url = rabbit://guest:guest@127.0.0.1:{mq}/
rpc_workers = 1
rpc_state_report_workers = 1
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false
pagination_max_limit = -1
[database]
connection = mysql+pymysql://root@127.0.0.1:{db}/neutron
max_pool_size = 10
max_overflow = 20
[quotas]
quota_network = -1
quota_subnet = -1
quota_port = -1
quota_router = -1
quota_floatingip = -1
quota_security_group = -1
quota_security_group_rule = -1
[oslo_concurrency]
lock_path = {home}/state/lock
[oslo_messaging_notifications]
driver = noop
"""
ML2_CONF = """[ml2]
type_drivers = flat,vlan,vxlan
tenant_network_types = vxlan
mechanism_drivers = openvswitch
extension_drivers = port_security,qos
[ml2_type_flat]
flat_networks = public
[ml2_type_vxlan]
vni_ranges = 1:60000
[securitygroup]
firewall_driver = openvswitch
enable_security_group = true
"""
UWSGI_CONF = """[uwsgi]
http-socket = 127.0.0.1:{api}
module = neutron.wsgi.api:application
master = true
processes = 2
lazy-apps = true
enable-threads = true
thunder-lock = true
add-header = Connection: close
buffer-size = 65535
die-on-term = true
disable-logging = true
pyargv = --config-file {home}/neutron.conf --config-file {home}/ml2.ini --log-file {home}/api.log
"""


@dataclass
class Processes:
    """What was started, each in a process group of its own, to be ended in the opposite order."""

    home: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, name: str, command: list[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with (self.home / f"{name}.out").open("wb") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=self.home,
                env={**os.environ, **env}, start_new_session=True,
            )  # fmt: skip
        self.running.append(process)
        return process

    def stop(self) -> None:
        for process in reversed(self.running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def running(environment: Path) -> Iterator[str]:
    """A new, empty Neutron; its address. Everything is ended and removed afterwards."""
    home = Path(tempfile.mkdtemp(prefix="virga-peer-"))
    processes = Processes(home)
    try:
        yield _start(environment, home, processes)
    finally:
        processes.stop()
        shutil.rmtree(home, ignore_errors=True)


def _start(environment: Path, home: Path, processes: Processes) -> str:
    db, mq, dist, epmd, api = (_free_port() for _ in range(5))
    names = {"home": home, "environment": environment, "db": db, "mq": mq, "api": api}
    for name, text in (("neutron.conf", NEUTRON_CONF), ("ml2.ini", ML2_CONF), ("uwsgi.ini", UWSGI_CONF)):
        (home / name).write_text(text.format(**names))
    _start_database(home, processes, db)
    _start_queue(home, processes, mq, dist, epmd)
    bin_ = environment / "bin"
    env = {
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "OS_NEUTRON_CONFIG_DIR": str(home),
        "OS_NEUTRON_CONFIG_FILES": "neutron.conf;ml2.ini",
    }
    config = ["--config-file", str(home / "neutron.conf"), "--config-file", str(home / "ml2.ini")]
    subprocess.run(
        [str(bin_ / "neutron-db-manage"), *config, "upgrade", "heads"],
        check=True, capture_output=True, env={**os.environ, **env},
    )  # fmt: skip
    processes.start("api", [str(bin_ / "uwsgi"), "--ini", str(home / "uwsgi.ini")], env)
    for name in ("neutron-rpc-server", "neutron-periodic-workers"):
        processes.start(name, [str(bin_ / name), *config, "--log-file", str(home / f"{name}.log")], env)
    endpoint = f"http://127.0.0.1:{api}"
    _until(lambda: _answers(f"{endpoint}/v2.0/networks"), "Neutron's API", 120)
    return endpoint


def _start_database(home: Path, processes: Processes, port: int) -> None:
    data, sock = home / "mysql", home / "mysql.sock"
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root",
         "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True, capture_output=True,
    )  # fmt: skip
    processes.start(
        "mariadb",
        ["mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={sock}", f"--port={port}", "--user=root",
         "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=512M", "--max-connections=500",
         "--skip-name-resolve", f"--pid-file={home}/mysql.pid"],
        {},
    )  # fmt: skip
    _until(lambda: _listens(port), "MariaDB", 60)
    statement = "CREATE DATABASE neutron CHARACTER SET utf8mb3"
    subprocess.run(
        ["mariadb", "--no-defaults", f"--socket={sock}", "-u", "root", "-e", statement],
        check=True, capture_output=True,
    )  # fmt: skip


def _start_queue(home: Path, processes: Processes, port: int, dist: int, epmd: int) -> None:
    base = home / "rabbit"
    base.mkdir()
    env = {
        "HOME": str(base),
        "RABBITMQ_NODENAME": "virga-peer@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(dist),
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_MNESIA_BASE": str(base / "mnesia"),
        "RABBITMQ_LOG_BASE": str(base / "log"),
        "RABBITMQ_PID_FILE": str(base / "pid"),
        "RABBITMQ_CONFIG_FILE": str(base / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(base / "plugins"),
    }
    # Started by us, so that Erlang does not leave one behind.
    processes.start("epmd", ["epmd", "-port", str(epmd), "-address", "127.0.0.1"], env)
    _until(lambda: _listens(epmd), "epmd", 30)
    processes.start("rabbitmq", [str(RABBIT)], env)
    _until(lambda: _listens(port), "RabbitMQ", 120)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
        return bool(answer.status == 200)
    return False


def _until(there: Callable[[], bool], what: str, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not start within {limit_s:g} s")
        time.sleep(0.05)
