"""Instance items become wishes of the instances driver; what came of them becomes reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from virga.agent.drivers.guest_kind import Outcome
from virga.contract.items import AnyItem, Instance
from virga.contract.messages import Report


class InstanceWishes(Protocol):
    """What the manager needs of the driver."""

    def want(self, instance: Instance) -> None: ...

    def unwant(self, instance_id: str) -> None: ...

    def outcomes(self) -> dict[str, Outcome]: ...


class InstanceManager:
    """Instances need no conversion: an item is the whole truth about a guest."""

    name = "instance"
    kinds: tuple[str, ...] = ("instance",)

    def __init__(self, driver: InstanceWishes) -> None:
        self._driver = driver
        self._stale: dict[str, Instance | None] = {}

    def on_update(self, kind: str, key: str, item: AnyItem | None) -> None:
        assert item is None or isinstance(item, Instance)
        self._stale[key] = item

    def resolve(self) -> None:
        stale, self._stale = self._stale, {}
        for key, item in stale.items():
            if item is None:
                self._driver.unwant(key)
            else:
                self._driver.want(item)

    def reports(self) -> Sequence[Report]:
        return [
            Report(
                kind="instance",
                key=key,
                status=outcome.status,
                reason=outcome.reason,
                details=dict(outcome.details),
            )
            for key, outcome in self._driver.outcomes().items()
        ]
