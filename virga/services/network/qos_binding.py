"""Putting networks and ports under a QoS policy: which one, who may, and whether hosts can do what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Row

from virga.api.resource import Context, Values
from virga.db.tx import Tx
from virga.services.network import faults, qos_policy, rbac
from virga.services.network.attributes_qos import RULE_TYPES
from virga.services.network.models import network, port
from virga.services.network.models_qos import qos_policy as policy_table
from virga.services.network.models_qos import qos_rule

RemoveNotAuthorized = faults.refusal(
    "PolicyRemoveAuthorizationError",
    403,
    "Failed to remove provided policy {id} because you are not authorized.",
)
NotSupportedByPort = faults.refusal(
    "QosRuleNotSupported", 409, "Rule {type} is not supported by port {object_id}"
)
NotSupportedByNetwork = faults.refusal(
    "QosRuleNotSupportedByNetwork", 409, "Rule {type} is not supported by network {object_id}"
)


def assign(tx: Tx, context: Context, kind: type[faults.Refusal], object_id: str, policy_id: str) -> str:
    """The policy, if the caller may use it and hosts can do all that it says."""
    qos_policy.RESOURCE.find(tx, context, policy_id)
    for rule in rules_of(tx, policy_id):
        if not is_supported(rule):
            raise kind(type=rule.type, object_id=object_id)
    return policy_id


def for_network(tx: Tx, context: Context, network_id: str, project_id: str, asked: str | None) -> str | None:
    """What a new network is put under: what was asked for, else the project's default."""
    if asked is not None:
        return assign(tx, context, NotSupportedByNetwork, network_id, asked)
    return qos_policy.default_of(tx, project_id)


def changed(
    tx: Tx, context: Context, kind: type[faults.Refusal], current: Values, wanted: str | None
) -> str | None:
    """The new policy of a network or port; a policy that the caller may not see is not taken off by them."""
    held = current["qos_policy_id"]
    if held is not None and held != wanted and not _may_use(tx, context, held):
        raise RemoveNotAuthorized(id=held)
    return wanted if wanted is None or wanted == held else assign(tx, context, kind, current["id"], wanted)


def _may_use(tx: Tx, context: Context, policy_id: str) -> bool:
    if context.is_admin:
        return True
    owner = tx.scalar(select(policy_table.c.project_id).where(policy_table.c.id == policy_id))
    shared = rbac.shared_ids(tx, context, "qos_policy", [policy_id])
    return owner == context.project_id or policy_id in shared


def rules_of(tx: Tx, policy_id: str) -> Sequence[Row[Any]]:
    return tx.all(select(qos_rule).where(qos_rule.c.qos_policy_id == policy_id))


def is_supported(rule: Row[Any]) -> bool:
    """Hosts can realise rules of this type with these values."""
    supported = RULE_TYPES[rule.type].supported
    if supported is None:
        return False
    return all(
        getattr(rule, name) in values for name, values in supported.items() if isinstance(values, list)
    )


def refuse_unsupported(tx: Tx, policy_id: str, rule: Row[Any]) -> None:
    """A rule that hosts cannot do does not come into a policy that is in use."""
    if is_supported(rule):
        return
    for table, kind in ((port, NotSupportedByPort), (network, NotSupportedByNetwork)):
        used = tx.scalar(select(table.c.id).where(table.c.qos_policy_id == policy_id).limit(1))
        if used is not None:
            raise kind(type=rule.type, object_id=used)
