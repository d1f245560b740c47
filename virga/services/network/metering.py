"""Metering labels and their rules: what the routers of a project count as it crosses their gateways."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, or_, select
from sqlalchemy.engine import Row

from virga.api.resource import REQUIRED, Attribute, Context, Resource, Values
from virga.api.validators import Invalid, boolean, one_of, or_none, text, uuid
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.network import faults
from virga.services.network.attributes import ID, NAME, PROJECT, once
from virga.services.network.models_metering import metering_label, metering_label_rule

LabelNotFound = faults.refusal("MeteringLabelNotFound", 404, "Metering label '{id}' does not exist.")
RuleNotFound = faults.refusal("MeteringLabelRuleNotFound", 404, "Metering label rule '{id}' does not exist.")
RuleOverlaps = faults.refusal(
    "MeteringLabelRuleOverlaps",
    409,
    "Metering label rule with remote_ip_prefix '{prefix}' overlaps another.",
)
PREFIXES = ("remote_ip_prefix", "source_ip_prefix", "destination_ip_prefix")


def render_labels(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    return [
        {
            "id": row.id,
            "name": row.name,
            "description": row.description,
            "project_id": row.project_id,
            "tenant_id": row.project_id,
            "shared": row.shared,
        }
        for row in rows
    ]


def create_label(tx: Tx, context: Context, values: Values) -> str:
    label_id = new_uuid()
    own = ("project_id", "name", "description", "shared")
    tx.execute(insert(metering_label).values(id=label_id, **{name: values[name] for name in own}))
    tx.touch("metering_label", label_id)
    return label_id


def remove_label(tx: Tx, context: Context, current: Values) -> None:
    table = metering_label_rule
    tx.execute(delete(table).where(table.c.metering_label_id == current["id"]))
    tx.execute(delete(metering_label).where(metering_label.c.id == current["id"]))
    tx.touch("metering_label", current["id"])


LABEL = Resource(
    name="metering_label",
    collection="metering_labels",
    table=metering_label,
    attributes=(
        ID,
        PROJECT,
        Attribute("tenant_id", column="project_id"),
        Attribute("name", NAME.validate, post=True, default=""),
        once("description", text(1024), default=""),
        once("shared", boolean, default=False),
    ),
    not_found=lambda label_id: LabelNotFound(id=label_id),
    render=render_labels,
    create=create_label,
    delete=remove_label,
    scope=lambda context: or_(
        metering_label.c.project_id == context.project_id, metering_label.c.shared.is_(True)
    ),
)


def _prefix(value: Any) -> str:
    """A range; host bits go."""
    try:
        if not isinstance(value, str):
            raise ValueError
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise Invalid(f"'{value}' is not a valid IP subnet") from None


def render_rules(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    names = ("id", "metering_label_id", "direction", "excluded", *PREFIXES)
    return [{name: getattr(row, name) for name in names} for row in rows]


def create_rule(tx: Tx, context: Context, values: Values) -> str:
    label_id = values["metering_label_id"]
    LABEL.find(tx, context, label_id)
    given = [values[name] for name in PREFIXES if values[name] is not None]
    if not given:
        raise faults.BadRequest(
            resource="metering_label_rule",
            reason="one of remote_ip_prefix, source_ip_prefix and destination_ip_prefix is needed",
        )
    if values["remote_ip_prefix"] is not None and len(given) > 1:
        raise faults.BadRequest(
            resource="metering_label_rule",
            reason="remote_ip_prefix cannot be used with source_ip_prefix or destination_ip_prefix",
        )
    if len({ipaddress.ip_network(prefix).version for prefix in given}) > 1:
        raise faults.BadRequest(
            resource="metering_label_rule", reason="the prefixes are not of one IP version"
        )
    _refuse_overlap(tx, values)
    rule_id = new_uuid()
    tx.execute(insert(metering_label_rule).values(id=rule_id, **values))
    tx.touch("metering_label", label_id)
    return rule_id


def _refuse_overlap(tx: Tx, values: Values) -> None:
    """What one label counts in one direction is counted once."""
    prefix = values["remote_ip_prefix"]
    if prefix is None:
        return
    here, table = ipaddress.ip_network(prefix), metering_label_rule
    for row in tx.all(
        select(table.c.remote_ip_prefix).where(
            table.c.metering_label_id == values["metering_label_id"],
            table.c.direction == values["direction"],
            table.c.remote_ip_prefix.is_not(None),
        )
    ):
        there = ipaddress.ip_network(row.remote_ip_prefix)
        if there.version == here.version and there.overlaps(here):
            raise RuleOverlaps(prefix=prefix)


def remove_rule(tx: Tx, context: Context, current: Values) -> None:
    tx.execute(delete(metering_label_rule).where(metering_label_rule.c.id == current["id"]))
    tx.touch("metering_label", current["metering_label_id"])


def rule_target(tx: Tx, context: Context, item: Values) -> Values:
    """Policies ask who owns the label."""
    owner = select(metering_label.c.project_id).where(metering_label.c.id == item.get("metering_label_id"))
    project_id = tx.scalar(owner)
    return {"project_id": project_id, "tenant_id": project_id}


RULE = Resource(
    name="metering_label_rule",
    collection="metering_label_rules",
    table=metering_label_rule,
    attributes=(
        ID,
        once("metering_label_id", uuid, default=REQUIRED),
        once("direction", one_of(["ingress", "egress"]), default=REQUIRED),
        once("excluded", boolean, default=False),
        *(once(name, or_none(_prefix)) for name in PREFIXES),
    ),
    not_found=lambda rule_id: RuleNotFound(id=rule_id),
    render=render_rules,
    create=create_rule,
    delete=remove_rule,
    scope=lambda context: metering_label_rule.c.metering_label_id.in_(
        select(metering_label.c.id).where(
            or_(metering_label.c.project_id == context.project_id, metering_label.c.shared.is_(True))
        )
    ),
    target=rule_target,
)
