"""Rules of QoS policies, below their policy and, by their own id, beside it; and which types there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy import update as sql_update
from sqlalchemy.engine import Row

from virga.api.collection import Collection, MakeContext
from virga.api.request import Request
from virga.api.resource import Context, Resource, Values, authorize, bump
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.network import faults, qos_binding, qos_policy, rbac
from virga.services.network.attributes_qos import RULE_ID, RULE_TYPES, RuleType
from virga.services.network.models_qos import qos_policy as policy_table
from virga.services.network.models_qos import qos_rule

RuleNotFound = faults.refusal(
    "QosRuleNotFound", 404, "QoS rule {id} for policy {policy_id} could not be found."
)
RulesConflict = faults.refusal(
    "QoSRulesConflict",
    409,
    "Rule {type} conflicts with rule {id} which already exists in QoS Policy {policy_id}.",
)
ParameterConflict = faults.refusal(
    "QoSRuleParameterConflict",
    409,
    "Unable to add the rule with value {value} to the policy {policy_id} as the existing rule of type {type} "
    "has value {existing}.",
)
RuleTypeNotFound = faults.refusal("HTTPNotFound", 404, "The resource could not be found.")


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    return [{"id": row.id, **qos_policy.rule_values(row)} for row in rows]


def _policy(tx: Tx, policy_id: str) -> Row[Any]:
    row = tx.first(select(policy_table).where(policy_table.c.id == policy_id))
    if row is None:
        raise qos_policy.PolicyNotFound(id=policy_id)
    return row


def _settle(tx: Tx, policy_id: str, rule_id: str) -> None:
    """The rule as written must not contradict its siblings, and hosts must be able to do it."""
    rows = {row.id: row for row in qos_binding.rules_of(tx, policy_id)}
    rule = rows.pop(rule_id)
    for other in rows.values():
        _refuse_contradiction(policy_id, rule, other)
    qos_binding.refuse_unsupported(tx, policy_id, rule)
    bump(tx, policy_table, policy_id)
    tx.touch("qos_policy", policy_id)


def _refuse_contradiction(policy_id: str, rule: Row[Any], other: Row[Any]) -> None:
    if rule.type == other.type and (
        rule.direction == other.direction or "any" in (rule.direction, other.direction)
    ):
        raise RulesConflict(type=rule.type, id=other.id, policy_id=policy_id)
    by_type = {rule.type: rule, other.type: other}
    greatest, least = by_type.get("bandwidth_limit"), by_type.get("minimum_bandwidth")
    if greatest is None or least is None or greatest.direction != least.direction:
        return
    if greatest.max_kbps < least.min_kbps:
        value, existing = greatest.max_kbps, least.min_kbps
        if rule is least:
            value, existing = existing, value
        raise ParameterConflict(value=value, policy_id=policy_id, type=other.type, existing=existing)


def _refuse_same(tx: Tx, kind: RuleType, policy_id: str, direction: str, own: str = "") -> None:
    """Before the row is written, so that the constraint is not what speaks."""
    other = tx.first(
        select(qos_rule.c.id).where(
            qos_rule.c.qos_policy_id == policy_id,
            qos_rule.c.type == kind.name,
            qos_rule.c.direction == direction,
            qos_rule.c.id != own,
        )
    )
    if other is not None:
        raise RulesConflict(type=kind.name, id=other.id, policy_id=policy_id)


def create(kind: RuleType, policy_id: str, tx: Tx, context: Context, values: Values) -> str:
    qos_policy.RESOURCE.find(tx, context, policy_id)
    said = {name: values[name] for name in kind.fields}
    _refuse_same(tx, kind, policy_id, said.get("direction", ""))
    rule_id = new_uuid()
    known = {"id": rule_id, "qos_policy_id": policy_id, "type": kind.name, "direction": ""}
    tx.execute(insert(qos_rule).values(**{**known, **said}))
    _settle(tx, policy_id, rule_id)
    return rule_id


def update(
    kind: RuleType, policy_id: str, tx: Tx, context: Context, current: Values, changes: Values
) -> None:
    if "direction" in changes:
        _refuse_same(tx, kind, policy_id, changes["direction"], current["id"])
    if changes:
        tx.execute(sql_update(qos_rule).where(qos_rule.c.id == current["id"]).values(**changes))
    _settle(tx, policy_id, current["id"])


def remove(policy_id: str, tx: Tx, context: Context, current: Values) -> None:
    tx.execute(delete(qos_rule).where(qos_rule.c.id == current["id"]))
    bump(tx, policy_table, policy_id)
    tx.touch("qos_policy", policy_id)


def target(policy_id: str, tx: Tx, context: Context, item: Values) -> Values:
    """Policies ask who owns the QoS policy, and whether it is shared."""
    owner = _policy(tx, policy_id).project_id
    shared = bool(rbac.shared_ids(tx, context, "qos_policy", [policy_id]))
    return {"ext_parent:tenant_id": owner, "shared": shared}


def of_policy(kind: RuleType, policy_id: str, prefix: str = "") -> Resource:
    """The rules of one type in one policy; with ``prefix`` ``alias_`` under their other name."""
    return Resource(
        name=f"{prefix or 'policy_'}{kind.name}_rule",
        wire_name=f"{prefix}{kind.name}_rule",
        collection=f"{prefix}{kind.name}_rules",
        table=qos_rule,
        attributes=(RULE_ID, *kind.attributes),
        not_found=lambda rule_id: RuleNotFound(id=rule_id, policy_id=policy_id),
        render=render,
        create=partial(create, kind, policy_id),
        update=partial(update, kind, policy_id),
        delete=partial(remove, policy_id),
        # Who may see the policy is asked by rules, of its owner.
        scope=lambda _: None,
        within=(qos_rule.c.qos_policy_id == policy_id) & (qos_rule.c.type == kind.name),
        target=partial(target, policy_id),
    )


# --- URLs


def routes(make_context: MakeContext) -> list[Route]:
    found = [
        Route("GET", "/v2.0/qos/rule-types", partial(_types, make_context), AUTHENTICATED),
        Route("GET", "/v2.0/qos/rule-types/{type}", partial(_type, make_context), AUTHENTICATED),
    ]
    for kind in RULE_TYPES.values():
        found += _below_policy(kind, make_context) + _by_own_id(kind, make_context)
    return found


def _below_policy(kind: RuleType, make_context: MakeContext) -> list[Route]:
    url = f"/v2.0/qos/policies/{{policy_id}}/{kind.name}_rules"
    one = url + "/{id}"

    def serve(verb: str) -> Callable[[Tx, Request], Any]:
        def handler(tx: Tx, req: Request) -> Any:
            if req.method == "GET":
                qos_policy.RESOURCE.find(tx, make_context(req), req["policy_id"])
            else:
                _policy(tx, req["policy_id"])
            return _act(of_policy(kind, req["policy_id"]), make_context, verb, tx, req)

        return handler

    return [
        Route("GET", url, serve("index"), AUTHENTICATED),
        Route("POST", url, serve("create"), AUTHENTICATED, status=201),
        Route("GET", one, serve("show"), AUTHENTICATED),
        Route("PUT", one, serve("update"), AUTHENTICATED),
        Route("DELETE", one, serve("delete"), AUTHENTICATED, status=204),
    ]


def _by_own_id(kind: RuleType, make_context: MakeContext) -> list[Route]:
    def serve(verb: str) -> Callable[[Tx, Request], Any]:
        def handler(tx: Tx, req: Request) -> Any:
            found = select(qos_rule.c.qos_policy_id).where(
                qos_rule.c.id == req["id"], qos_rule.c.type == kind.name
            )
            policy_id = tx.scalar(found)
            if policy_id is None:
                raise RuleNotFound(id=req["id"], policy_id=None)
            return _act(of_policy(kind, policy_id, "alias_"), make_context, verb, tx, req)

        return handler

    made = []
    for url in (f"/v2.0/qos/alias-{kind.name.replace('_', '-')}-rules", f"/v2.0/qos/alias_{kind.name}_rules"):
        made += [
            Route("GET", url + "/{id}", serve("show"), AUTHENTICATED),
            Route("PUT", url + "/{id}", serve("update"), AUTHENTICATED),
            Route("DELETE", url + "/{id}", serve("delete"), AUTHENTICATED, status=204),
        ]
    return made


def _act(resource: Resource, make_context: MakeContext, verb: str, tx: Tx, req: Request) -> Any:
    return getattr(Collection(resource, make_context, "", path=req.path.lstrip("/")), verb)(tx, req)


def _types(make_context: MakeContext, tx: Tx, req: Request) -> Any:
    """Types that hosts can realise; with ``all_rules`` all that may be written down."""
    authorize(make_context(req), ["get_rule_type"], req.own_target())
    every = (req.param("all_rules") or "").lower() in ("true", "1")
    return {"rule_types": [{"type": kind.name} for kind in RULE_TYPES.values() if every or kind.supported]}


def _type(make_context: MakeContext, tx: Tx, req: Request) -> Any:
    authorize(make_context(req), ["get_rule_type:drivers"], req.own_target())
    kind = RULE_TYPES.get(req["type"])
    if kind is None or not kind.supported:
        raise RuleTypeNotFound()
    driver = {"name": "openvswitch", "supported_parameters": kind.parameters}
    return {"rule_type": {"type": kind.name, "drivers": [driver]}}
