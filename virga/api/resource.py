"""The declarative resource layer: a resource is a table of attributes and its own rules.

A ``Resource`` says what may be sent, by whom, and which functions make, change, remove and render
rows; from that come the routes for create (one and many), list, show, update, delete and tags, with
OpenStack's validation sentences, per-attribute policies, quotas and ``If-Match``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, bindparam, select, update
from sqlalchemy.engine import Row

from virga.api.faults import BadRequest, Fault, Forbidden, PreconditionFailed
from virga.api.policy import Policy
from virga.api.request import Caller, Request
from virga.api.validators import Invalid, Validator, anything
from virga.db.tx import Tx

Values = dict[str, Any]
"""Attributes of one resource by their names on the wire."""


class _Mark:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


REQUIRED = _Mark("REQUIRED")
"""Default of an attribute without which nothing is created."""
UNSET: Any = _Mark("UNSET")
"""Default of an attribute that the verb itself decides on when it was not given."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute on the wire."""

    name: str
    validate: Validator = anything
    post: bool = False
    put: bool = False
    default: Any = None
    visible: bool = True
    column: str | None = None
    """Column it is kept in, when that has another name."""


@dataclass(frozen=True, slots=True)
class Context:
    """Who asks, and by which rules of this cloud: what every verb gets after the transaction."""

    caller: Caller
    policy: Policy
    settings: Any
    is_admin: bool

    @property
    def project_id(self) -> str:
        return self.caller.project_id or ""

    def elevated(self) -> Context:
        """The same, with an administrator's sight: for what a verb does on behalf of the caller."""
        return self if self.is_admin else replace(self, is_admin=True)


Filter = Callable[[Context, list[str]], ColumnElement[bool]]
Render = Callable[[Tx, Context, Sequence[Row[Any]]], list[Values]]


@dataclass(frozen=True)
class Resource:
    """Everything the layer must know about one kind of object."""

    name: str
    collection: str
    table: Table
    attributes: tuple[Attribute, ...]
    not_found: Callable[[str], Fault]
    render: Render
    create: Callable[[Tx, Context, Values], str] | None = None
    """Makes the rows; returns the id."""
    update: Callable[[Tx, Context, Values, Values], None] | None = None
    """Gets the resource as it is rendered, and what is to change."""
    delete: Callable[[Tx, Context, Values], None] | None = None
    scope: Callable[[Context], ColumnElement[bool] | None] | None = None
    """Which rows a caller who is no administrator may see; by default those of the project."""
    filters: Mapping[str, Filter] = field(default_factory=dict)
    """Filters that are not one column's equality."""
    target: Callable[[Tx, Context, Values], Values] | None = None
    """What policies need to know besides the attributes (the owner of the network of a port, say)."""
    quota: str | None = None
    has_tags: bool = False
    tag_table: Table | None = None
    changed: Callable[[Tx, str], None] | None = None
    """Called when tags or other things beside the columns changed."""
    within: ColumnElement[bool] | None = None
    """Holds for all rows whoever asks: those of one parent object."""
    shy: bool = False
    """Whoever may not change an object is told that there is none, even if it is shared with them."""
    bulk: bool = True
    wire_name: str | None = None
    """Key of the body, when policies use another name."""
    fields: Mapping[str, Attribute] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", {a.name: a for a in self.attributes})
        object.__setattr__(self, "_by_id", select(self.table).where(self.table.c.id == bindparam("key")))
        object.__setattr__(self, "_read_rules", {})

    @property
    def key(self) -> str:
        return self.wire_name or self.name

    def visible_to(self, context: Context) -> ColumnElement[bool] | None:
        """The condition that keeps other people's rows out; None when all may be seen."""
        if context.is_admin:
            return self.within
        if self.scope is not None:
            own = self.scope(context)
        else:
            own = self.table.c.project_id == context.project_id
        if self.within is None or own is None:
            return self.within if own is None else own
        return and_(own, self.within)

    def find(self, tx: Tx, context: Context, object_id: str) -> Values:
        """The rendered resource; the service's own 404 when the caller may not see it."""
        row = self.row(tx, context, object_id)
        if row is None:
            raise self.not_found(object_id)
        return self.render(tx, context, [row])[0]

    def row(self, tx: Tx, context: Context, object_id: str) -> Row[Any] | None:
        """The row, if the caller may see it."""
        statement = self._by_id  # type: ignore[attr-defined]
        condition = self.visible_to(context)
        if condition is None:
            return tx.first(statement, {"key": object_id})
        return tx.first(statement.where(condition), {"key": object_id})


def parse_body(resource: Resource, req: Request) -> tuple[list[Values], bool]:
    """The items of a create body and whether it was a bulk."""
    body = req.body
    if not isinstance(body, dict) or not body:
        raise BadRequest("Resource body required", type="HTTPBadRequest")
    if resource.collection in body:
        items = body[resource.collection]
        if not resource.bulk:
            raise BadRequest("Bulk operation not supported", type="HTTPBadRequest")
        if not isinstance(items, list) or not items:
            raise BadRequest("Resources required", type="HTTPBadRequest")
        # A bulk holds bare items; old clients wrap each of them.
        return [_as_item(resource, i.get(resource.key, i) if isinstance(i, dict) else i) for i in items], True
    if resource.key not in body:
        raise BadRequest(f"Unable to find '{resource.key}' in request body", type="HTTPBadRequest")
    return [_as_item(resource, body[resource.key])], False


def parse_update(resource: Resource, req: Request) -> Values:
    """The attributes of an update body, checked and converted."""
    body = req.body
    if not isinstance(body, dict) or not body:
        raise BadRequest("Resource body required", type="HTTPBadRequest")
    if resource.key not in body:
        raise BadRequest(f"Unable to find '{resource.key}' in request body", type="HTTPBadRequest")
    item = _as_item(resource, body[resource.key])
    _twin(item)
    for name in item:
        attribute = resource.fields.get(name)
        if attribute is not None and not attribute.put:
            raise BadRequest(f"Cannot update read-only attribute {name}", type="HTTPBadRequest")
    _refuse_unknown(resource, item)
    return _converted(resource, item)


def _as_item(resource: Resource, item: Any) -> Values:
    if not isinstance(item, dict):
        raise BadRequest("Body contains invalid data", type="HTTPBadRequest")
    return dict(item)


def _twin(item: Values) -> None:
    """``tenant_id`` is the old name of ``project_id``; both may be sent if they agree."""
    if "tenant_id" in item:
        old = item.pop("tenant_id")
        if item.setdefault("project_id", old) != old:
            raise BadRequest("'project_id' and 'tenant_id' do not match", type="HTTPBadRequest")


def fill(resource: Resource, context: Context, item: Values) -> Values:
    """A create item with the project, defaults and conversions; raises what the API says is wrong."""
    _twin(item)
    if "project_id" in resource.fields:
        given = item.get("project_id")
        if given is None and "project_id" in item:
            item.pop("project_id")
        elif given is not None and given != context.caller.project_id and not context.is_admin:
            raise BadRequest(
                "Specifying 'project_id' or 'tenant_id' other than the authenticated project in request "
                "requires admin privileges",
                type="HTTPBadRequest",
            )
        if "project_id" not in item:
            if not context.caller.project_id:
                raise BadRequest(
                    "Running without keystone AuthN requires that tenant_id is specified",
                    type="HTTPBadRequest",
                )
            item["project_id"] = context.caller.project_id
    _refuse_unknown(resource, item)
    for attribute in resource.attributes:
        if attribute.post:
            if attribute.name not in item:
                if attribute.default is REQUIRED:
                    raise BadRequest(
                        f"Failed to parse request. Required attribute '{attribute.name}' not specified",
                        type="HTTPBadRequest",
                    )
                item[attribute.name] = _fresh(attribute.default)
        elif attribute.name in item:
            raise BadRequest(f"Attribute '{attribute.name}' not allowed in POST", type="HTTPBadRequest")
    return _converted(resource, item)


def _fresh(default: Any) -> Any:
    return type(default)(default) if isinstance(default, list | dict) else default


def _refuse_unknown(resource: Resource, item: Values) -> None:
    unknown = sorted(str(name) for name in item if name not in resource.fields)
    if unknown:
        raise BadRequest(f"Unrecognized attribute(s) '{', '.join(unknown)}'", type="HTTPBadRequest")


def _converted(resource: Resource, item: Values) -> Values:
    for name, value in item.items():
        if value is UNSET:
            continue
        try:
            item[name] = resource.fields[name].validate(value)
        except Invalid as problem:
            raise BadRequest(f"Invalid input for {name}. Reason: {problem}.", type="HTTPBadRequest") from None
    return item


# --- policy


def rules_for(policy: Policy, action: str, name: str, item: Mapping[str, Any]) -> list[str]:
    """The rules that an action with these attributes must satisfy; only attributes with rules count."""
    whole = f"{action}_{name}"
    rules = [whole]
    for attribute, value in item.items():
        rule = f"{whole}:{attribute}"
        if rule in policy.rules:
            rules.append(rule)
        inner: Iterable[Any] = value if isinstance(value, list) else (value,)
        for part in inner:
            if isinstance(part, dict):
                rules += [r for r in (f"{rule}:{key}" for key in part) if r in policy.rules]
    return list(dict.fromkeys(rules))


def authorize(context: Context, rules: Sequence[str], target: Mapping[str, Any]) -> None:
    """Raise Forbidden, worded as Neutron words it, unless all rules are satisfied."""
    if all(context.policy.allows(context.caller, rule, target) for rule in rules):
        return
    said = " and ".join(f"rule:{rule}" for rule in rules)
    raise Forbidden(
        f"{f'({said})' if len(rules) > 1 else said} is disallowed by policy", type="PolicyNotAuthorized"
    )


def target_of(resource: Resource, tx: Tx, context: Context, item: Values) -> Values:
    """The policy target: the attributes, both names of the project, and what the resource adds."""
    target = dict(item)
    target["tenant_id"] = target.get("project_id")
    if resource.target is not None:
        target |= resource.target(tx, context, item)
    return target


def authorize_change(
    resource: Resource, tx: Tx, context: Context, action: str, current: Values, changes: Values
) -> None:
    """A caller who may not even see the object is told that it does not exist."""
    target = target_of(resource, tx, context, {**current, **changes})
    try:
        authorize(context, rules_for(context.policy, action, resource.name, changes), target)
    except Forbidden:
        if resource.shy or not context.policy.allows(context.caller, f"get_{resource.name}", target):
            raise resource.not_found(str(current.get("id"))) from None
        raise


def hidden_attributes(resource: Resource, context: Context, target: Values) -> list[str]:
    """Attributes whose read rule the caller does not satisfy for this object."""
    rules: dict[int, list[tuple[str, str]]] = resource._read_rules  # type: ignore[attr-defined]
    wanted = rules.get(id(context.policy))
    if wanted is None:
        named = [(name, f"get_{resource.name}:{name}") for name in resource.fields]
        wanted = rules[id(context.policy)] = [pair for pair in named if pair[1] in context.policy.rules]
    return [name for name, rule in wanted if not context.policy.allows(context.caller, rule, target)]


def shown(
    resource: Resource, tx: Tx, context: Context, items: list[Values], fields: Sequence[str] = ()
) -> list[Values]:
    """Items as the caller may see them: rows and attributes that policies hide are gone."""
    result = []
    known: dict[tuple[Any, ...], list[str] | None] = {}
    for item in items:
        # An owner needs no look at what the object hangs on, so a list of one's own is one decision.
        own = context.is_admin or item.get("project_id") == context.project_id
        key = (
            (own,)
            if own
            else (
                item.get("project_id"),
                item.get("shared"),
                item.get("router:external"),
                item.get("network_id"),
            )
        )
        if key in known:
            hidden = known[key]
        else:
            target = (
                {**item, "tenant_id": item.get("project_id")}
                if own
                else (target_of(resource, tx, context, item))
            )
            allowed = context.policy.allows(context.caller, f"get_{resource.name}", target)
            hidden = known[key] = hidden_attributes(resource, context, target) if allowed else None
        if hidden is None:
            continue
        if fields:
            item = {name: item[name] for name in fields if name in item and name not in hidden}
        else:
            for name in hidden:
                item.pop(name, None)
        result.append(item)
    return result


# --- revisions

_IF_MATCH = re.compile(r"\"?revision_number=(\d+)\"?\Z")


def check_if_match(req: Request, current: Values) -> None:
    """``If-Match: revision_number=N`` lets a change through only on that revision."""
    header = req.headers.get("if-match")
    if header is None:
        return
    match = _IF_MATCH.match(header.strip())
    if match is None:
        raise BadRequest(f"Unsupported value of If-Match: {header}", type="HTTPBadRequest")
    if int(match[1]) != current.get("revision_number"):
        raise PreconditionFailed(
            f"Constrained to {match[1]}, but current revision is {current.get('revision_number')}",
            type="HTTPPreconditionFailed",
        )


def bump(tx: Tx, table: Table, object_id: str) -> None:
    """Something that belongs to the object changed: next revision, new time."""
    tx.execute(
        update(table)
        .where(table.c.id == object_id)
        .values(revision_number=table.c.revision_number + 1, updated_at=tx.now)
    )


def change(tx: Tx, table: Table, object_id: str, values: Mapping[str, Any]) -> None:
    """Write columns; the revision goes up by one."""
    tx.execute(
        update(table)
        .where(table.c.id == object_id)
        .values(**values, revision_number=table.c.revision_number + 1, updated_at=tx.now)
    )
