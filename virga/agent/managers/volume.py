"""Volume items become wishes for iSCSI targets. The volumes themselves are made and removed by calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from virga.agent.drivers.targets import Export
from virga.contract.items import AnyItem, Volume
from virga.contract.messages import Report


class TargetWishes(Protocol):
    """What the manager needs of the driver."""

    @property
    def portal(self) -> str: ...

    def want(self, volume_id: str, export: Export | None) -> None: ...

    def settled(self, volume_id: str) -> bool: ...

    def reason(self, volume_id: str) -> str: ...


class VolumeManager:
    """Notes which volumes are to be reached over the storage network."""

    name = "volume"
    kinds: tuple[str, ...] = ("volume",)

    def __init__(self, targets: TargetWishes, pool: Path) -> None:
        self._targets = targets
        self._pool = pool
        self._stale: dict[str, Volume | None] = {}
        self._untold: dict[str, Volume] = {}

    def on_update(self, kind: str, key: str, item: AnyItem | None) -> None:
        assert item is None or isinstance(item, Volume)
        self._stale[key] = item

    def resolve(self) -> None:
        stale, self._stale = self._stale, {}
        for key, item in stale.items():
            export = None
            if item is not None and item.export:
                export = Export(self._pool / f"volume-{key}.json", item.user, item.password)
            self._targets.want(key, export)
            self._untold.pop(key, None)
            if item is not None:
                self._untold[key] = item

    def reports(self) -> Sequence[Report]:
        news = []
        for key, item in list(self._untold.items()):
            reason = self._targets.reason(key)
            if item.export and not reason and not self._targets.settled(key):
                continue
            if not reason:
                del self._untold[key]
            news.append(
                Report(
                    kind="volume",
                    key=key,
                    status="error" if reason else "available",
                    reason=reason,
                    details={
                        "exported": item.export and not reason,
                        "portal": self._targets.portal,
                        "iqn": item.iqn,
                    },
                )
            )
        return news
