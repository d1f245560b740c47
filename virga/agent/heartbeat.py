"""Tells the control plane, by a timer, that this host is alive, what it does, and with what settings.

The configurations are those that Neutron's agents report, role by role, because clients read them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from virga.agent.config import AgentConfig
from virga.agent.managers.census import CensusManager
from virga.contract.messages import Heartbeat, Resources

Configuration = dict[str, str | int | bool | dict[str, str] | list[str]]

NETWORK_EXTENSIONS = ["qos"]
L3_EXTENSIONS = ["port_forwarding"]
"""What the agents do beyond the core, by the names that Neutron's agents have for it."""


class HeartbeatSender:
    """A thread of its own, so that a long round of the loop does not look like death."""

    def __init__(
        self,
        config: AgentConfig,
        census: CensusManager,
        send: Callable[[Heartbeat], None],
        resources: Callable[[], Resources | None],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._census = census
        self._send = send
        self._resources = resources
        self._started_at = wall_clock()
        self._now = threading.Event()
        self._stopped = False

    def run(self) -> None:
        """Until ``stop``."""
        while not self._stopped:
            self._send(self.heartbeat())
            self._now.wait(self._config.heartbeat_s)
            self._now.clear()

    def soon(self) -> None:
        """Do not wait for the timer."""
        self._now.set()

    def stop(self) -> None:
        self._stopped = True
        self._now.set()

    def heartbeat(self) -> Heartbeat:
        """What would be sent now."""
        makers: dict[str, Callable[[], Configuration]] = {
            "network": self._network,
            "dhcp": self._dhcp,
            "l3": self._l3,
            "metadata": self._metadata,
        }
        roles = self._config.roles
        return Heartbeat(
            host=self._config.host,
            roles=roles,
            configurations={role: makers[role]() for role in roles if role in makers},
            resources=self._resources() if {"compute", "volume"} & set(roles) else None,
            started_at=self._started_at,
        )

    def _network(self) -> Configuration:
        config = self._config
        return {
            "arp_responder_enabled": False,
            "baremetal_smartnic": False,
            "bridge_mappings": dict(config.bridge_mappings),
            "datapath_type": config.facts.datapath_type,
            "devices": self._census.count("port"),
            "enable_distributed_routing": False,
            "extensions": list(NETWORK_EXTENSIONS),
            "in_distributed_mode": False,
            "integration_bridge": config.integration_bridge,
            "l2_population": False,
            "log_agent_heartbeats": False,
            "ovs_capabilities": {"datapath_types": "netdev,system", "iface_types": "internal,patch,vxlan"},
            "ovs_hybrid_plug": config.plug == "hybrid",
            "resource_provider_bandwidths": {},
            "resource_provider_hypervisors": dict.fromkeys(config.bridge_mappings.values(), config.host),
            "tunnel_types": list(config.tunnel_types),
            "tunneling_ip": config.host_ip if config.tunnel_types else "",
            "vhostuser_socket_dir": "/var/run/openvswitch",
        }

    def _dhcp(self) -> Configuration:
        return {
            "dhcp_driver": "neutron.agent.linux.dhcp.Dnsmasq",
            "dhcp_lease_duration": 86400,
            "log_agent_heartbeats": False,
            "networks": self._census.count("dhcp_network"),
            "ports": self._census.count("dhcp_host"),
            "subnets": self._census.dhcp_subnets(),
        }

    def _l3(self) -> Configuration:
        gateways, interfaces = self._census.router_ports()
        return {
            "agent_mode": "legacy",
            "ex_gw_ports": gateways,
            "extensions": list(L3_EXTENSIONS),
            "floating_ips": self._census.count("floating_ip"),
            "handle_internal_only_routers": True,
            "interface_driver": "openvswitch",
            "interfaces": interfaces,
            "log_agent_heartbeats": False,
            "routers": self._census.count("router"),
        }

    def _metadata(self) -> Configuration:
        return {
            "log_agent_heartbeats": False,
            "metadata_proxy_socket": f"{self._config.directory}/metadata.sock",
            "nova_metadata_host": "127.0.0.1",
            "nova_metadata_port": 8775,
        }
