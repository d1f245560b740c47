"""What agents report, handed to the service that it concerns: one verb per kind of item."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from virga.contract.messages import Report
from virga.db.tx import Tx
from virga.lib.log import log_for
from virga.services.network import status

log = log_for("virga.report")

TakeReport = Callable[[Tx, str, Report], None]
"""Transaction, host, report."""

NETWORK_REPORTS: dict[str, TakeReport] = {
    "port": status.port,
    "router": status.router,
    "floating_ip": status.floating_ip,
    "port_forwarding": status.port_forwarding,
    "dhcp_network": status.dhcp_network,
}


class ReportDesk:
    """Runs the handlers of each report; several services may want the same kind."""

    def __init__(self, *tables: Mapping[str, TakeReport]) -> None:
        self._handlers: dict[str, list[TakeReport]] = {}
        for table in tables or (NETWORK_REPORTS,):
            for kind, handler in table.items():
                self._handlers.setdefault(kind, []).append(handler)

    def take(self, tx: Tx, host: str, reports: Sequence[Report]) -> None:
        """All of them in one transaction. A kind that nobody wants is no error."""
        for report in reports:
            for handler in self._handlers.get(report.kind, ()):
                handler(tx, host, report)
