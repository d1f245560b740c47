"""Security groups, their remote members and address groups: flows that all ports of the host share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from virga.agent.drivers.interfaces import FlowWishes
from virga.contract.items import AddressGroup, AnyItem, GroupMember, Rule, SecurityGroup
from virga.contract.messages import Report
from virga.sdn.flow import Flow
from virga.sdn.port_flows import PlacedPort
from virga.sdn.security_group_flows import Conjunctions, group_flows, member_flows, membership_flows

Listener = Callable[[str], None]


class SecurityGroupManager:
    """Wants the flows of rules and members; gives ports theirs."""

    name = "security_group"
    kinds: tuple[str, ...] = ("security_group", "group_member", "address_group")

    def __init__(self, bridge: str, flows: FlowWishes) -> None:
        self._bridge = bridge
        self._flows = flows
        self._conjunctions = Conjunctions()
        self._groups: dict[str, SecurityGroup] = {}
        self._members: dict[str, dict[str, GroupMember]] = {}
        self._address_groups: dict[str, Sequence[str]] = {}
        self._naming: dict[str, dict[str, list[Rule]]] = {}
        """Remote group -> group whose rules name it -> those rules."""
        self._stale_groups: set[str] = set()
        self._stale_members: set[str] = set()
        self._listeners: list[Listener] = []

    # -- what others ask ---------------------------------------------------------------------------

    def groups(self, group_ids: Iterable[str]) -> list[SecurityGroup]:
        """Those that are known here; an unknown one allows nothing."""
        return [self._groups[group_id] for group_id in group_ids if group_id in self._groups]

    def is_stateless(self, group_ids: Iterable[str]) -> bool:
        groups = self.groups(group_ids)
        return bool(groups) and not any(group.stateful for group in groups)

    def membership(self, port: PlacedPort) -> list[Flow]:
        return membership_flows(port, self.groups(port.item.security_group_ids), self._conjunctions)

    def members(self, group_id: str) -> Sequence[GroupMember]:
        return list(self._members.get(group_id, {}).values())

    def addresses(self, address_group_id: str) -> Sequence[str]:
        return self._address_groups.get(address_group_id, ())

    def listen(self, listener: Listener) -> None:
        """Be told the id of each group whose rules changed."""
        self._listeners.append(listener)

    # -- Manager -----------------------------------------------------------------------------------

    def on_update(self, kind: str, key: str, item: AnyItem | None) -> None:
        if kind == "security_group":
            self._note_group(key, item if isinstance(item, SecurityGroup) else None)
        elif kind == "group_member":
            group_id, _, _ = key.partition("/")
            members = self._members.setdefault(group_id, {})
            if isinstance(item, GroupMember):
                members[key] = item
            else:
                members.pop(key, None)
            self._stale_members.add(key)
        elif kind == "address_group":
            self._note_addresses(key, item if isinstance(item, AddressGroup) else None)

    def resolve(self) -> None:
        for group_id in sorted(self._stale_groups):
            group = self._groups.get(group_id)
            flows = group_flows(group, self._conjunctions, self._address_groups) if group else []
            self._flows.want(self._bridge, f"security_group/{group_id}", flows)
        for key in sorted(self._stale_members):
            self._resolve_member(key)
        self._stale_groups.clear()
        self._stale_members.clear()

    def reports(self) -> Sequence[Report]:
        return []

    # -- its own -----------------------------------------------------------------------------------

    def _note_group(self, key: str, group: SecurityGroup | None) -> None:
        old = self._groups.pop(key, None)
        kept = {rule.id for rule in group.rules} if group else set()
        for rule in old.rules if old else ():
            self._unname(key, rule)
            if rule.id not in kept:
                self._conjunctions.forget(rule.id)
        if group is not None:
            self._groups[key] = group
            for rule in group.rules:
                if rule.remote_group_id:
                    self._naming.setdefault(rule.remote_group_id, {}).setdefault(key, []).append(rule)
                    self._stale_members.update(self._members.get(rule.remote_group_id, ()))
        self._stale_groups.add(key)
        for listener in self._listeners:
            listener(key)

    def _unname(self, key: str, rule: Rule) -> None:
        if rule.remote_group_id:
            self._naming.get(rule.remote_group_id, {}).pop(key, None)
            self._stale_members.update(self._members.get(rule.remote_group_id, ()))

    def _note_addresses(self, key: str, item: AddressGroup | None) -> None:
        if item is None:
            self._address_groups.pop(key, None)
        else:
            self._address_groups[key] = item.addresses
        for group in self._groups.values():
            if any(rule.remote_address_group_id == key for rule in group.rules):
                self._stale_groups.add(group.key)
                for listener in self._listeners:
                    listener(group.key)

    def _resolve_member(self, key: str) -> None:
        group_id, _, _ = key.partition("/")
        member = self._members.get(group_id, {}).get(key)
        flows: list[Flow] = []
        if member is not None:
            naming = [rule for rules in self._naming.get(group_id, {}).values() for rule in rules]
            flows = member_flows(group_id, member.addresses, naming, self._conjunctions)
        self._flows.want(self._bridge, f"group_member/{key}", flows)
