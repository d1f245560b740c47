"""The routes of a Resource: create, list, show, update, delete, and tags below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select

from virga.api import lists
from virga.api.faults import BadRequest, Fault, Forbidden, NotFound
from virga.api.request import Request, Response
from virga.api.resource import (
    Context,
    Resource,
    Values,
    authorize,
    authorize_change,
    check_if_match,
    fill,
    parse_body,
    parse_update,
    rules_for,
    shown,
    target_of,
)
from virga.api.routing import AUTHENTICATED, Route
from virga.api.validators import NAME_LENGTH, Invalid, filled_text, tags
from virga.db.tx import Tx

MakeContext = Callable[[Request], Context]
CheckQuota = Callable[[Tx, Context, Resource, list[Values]], None]


def _no_quota(tx: Tx, context: Context, resource: Resource, items: list[Values]) -> None:
    return None


@dataclass(frozen=True)
class Collection:
    """Serves one Resource below ``prefix`` (``/v2.0``)."""

    resource: Resource
    make_context: MakeContext
    prefix: str
    check_quota: CheckQuota = _no_quota
    path: str | None = None
    """Last part of the URL when it is not the collection's name with hyphens."""

    @property
    def url(self) -> str:
        return f"{self.prefix}/{self.path or self.resource.collection.replace('_', '-')}"

    def routes(self) -> list[Route]:
        """Neutron takes hyphens and underscores in a collection's name for the same."""
        return [route for url in dict.fromkeys((self.url, self._twin())) for route in self._routes(url)]

    def _twin(self) -> str:
        head, _, last = self.url.rpartition("/")
        return f"{head}/{last.replace('-', '_') if '-' in last else last.replace('_', '-')}"

    def _routes(self, url: str) -> list[Route]:
        resource = self.resource
        one = url + "/{id}"
        found = [
            Route("GET", url, self.index, AUTHENTICATED),
            Route("GET", one, self.show, AUTHENTICATED),
        ]
        if resource.create is not None:
            found.append(Route("POST", url, self.create, AUTHENTICATED, status=201))
        if resource.update is not None:
            found.append(Route("PUT", one, self.update, AUTHENTICATED))
        if resource.delete is not None:
            found.append(Route("DELETE", one, self.delete, AUTHENTICATED, status=204))
        if resource.has_tags:
            found += self.tag_routes(url)
        return found

    def tag_routes(self, url: str) -> list[Route]:
        """Tags of the objects of ``url``, which need not be where the objects themselves are."""
        one = url + "/{id}"
        return [
            Route("GET", one + "/tags", self.tags_index, AUTHENTICATED),
            Route("POST", one + "/tags", self.tags_add, AUTHENTICATED, status=201),
            Route("PUT", one + "/tags", self.tags_replace, AUTHENTICATED),
            Route("DELETE", one + "/tags", self.tags_clear, AUTHENTICATED, status=204),
            Route("GET", one + "/tags/{tag}", self.tag_show, AUTHENTICATED, status=204),
            Route("PUT", one + "/tags/{tag}", self.tag_add, AUTHENTICATED, status=201),
            Route("DELETE", one + "/tags/{tag}", self.tag_delete, AUTHENTICATED, status=204),
        ]

    # --- the five verbs

    def create(self, tx: Tx, req: Request) -> Any:
        resource, context = self.resource, self.make_context(req)
        items, bulk = parse_body(resource, req)
        given = [list(item) for item in items]
        filled = [fill(resource, context, item) for item in items]
        for item, names in zip(filled, given, strict=True):
            self._authorize_create(tx, context, item, names)
        if resource.quota:
            self.check_quota(tx, context, resource, filled)
        assert resource.create is not None
        ids = [resource.create(tx, context, item) for item in filled]
        made = render_ids(tx, context, resource, ids)
        made = shown(resource, tx, context, made)
        return {resource.collection: made} if bulk else {resource.key: made[0] if made else {}}

    def _authorize_create(self, tx: Tx, context: Context, item: Values, given: Sequence[str]) -> None:
        explicit = {
            name: item[name]
            for name in given
            if name in item
            and (name not in self.resource.fields or item[name] != self.resource.fields[name].default)
        }
        rules = rules_for(context.policy, "create", self.resource.name, explicit)
        authorize(context, rules, target_of(self.resource, tx, context, item))

    def index(self, tx: Tx, req: Request) -> Any:
        resource, context = self.resource, self.make_context(req)
        query = lists.parse(resource, req)
        rows = tx.all(lists.statement(resource, tx, context, query))
        if query.reverse:
            rows = rows[::-1]
        items = resource.render(tx, context, rows) if rows else []
        answer = {resource.collection: shown(resource, tx, context, items, query.fields)}
        if found := lists.links(req, query, items, self.url):
            answer[f"{resource.collection}_links"] = found
        return answer

    def show(self, tx: Tx, req: Request) -> Any:
        resource, context = self.resource, self.make_context(req)
        item = resource.find(tx, context, req["id"])
        fields = [name for name in req.params("fields") if name]
        visible = shown(resource, tx, context, [item], fields)
        if not visible:
            raise resource.not_found(req["id"])
        return {resource.key: visible[0]}

    def update(self, tx: Tx, req: Request) -> Any:
        resource, context = self.resource, self.make_context(req)
        changes = parse_update(resource, req)
        current = resource.find(tx, context, req["id"])
        authorize_change(resource, tx, context, "update", current, changes)
        check_if_match(req, current)
        assert resource.update is not None
        resource.update(tx, context, current, changes)
        made = shown(resource, tx, context, render_ids(tx, context, resource, [req["id"]]))
        return {resource.key: made[0] if made else {}}

    def delete(self, tx: Tx, req: Request) -> None:
        resource, context = self.resource, self.make_context(req)
        current = resource.find(tx, context, req["id"])
        authorize_change(resource, tx, context, "delete", current, {})
        check_if_match(req, current)
        assert resource.delete is not None
        resource.delete(tx, context, current)
        if resource.tag_table is not None:
            tx.execute(delete(resource.tag_table).where(resource.tag_table.c.resource_id == req["id"]))

    # --- tags

    def _owner(self, tx: Tx, req: Request, action: str) -> Values:
        resource, context = self.resource, self.make_context(req)
        try:
            current = resource.find(tx, context, req["id"])
        except Fault:
            raise (
                NotFound(
                    f"Tag resource {resource.collection} {req['id']} could not be found.",
                    type="TagResourceNotFound",
                )
                if resource.not_found is None
                else resource.not_found(req["id"])
            ) from None
        rule = f"{action}_{resource.collection}_tags"
        if rule in context.policy.rules:
            target = target_of(resource, tx, context, current)
            try:
                authorize(context, [rule], target)
            except Forbidden:
                if not context.policy.allows(context.caller, f"get_{resource.name}", target):
                    raise resource.not_found(req["id"]) from None
                raise
        return current

    def _write_tags(self, tx: Tx, current: Values, wanted: list[str]) -> None:
        table = self.resource.tag_table
        assert table is not None
        if len(wanted) > 50:
            raise BadRequest("Invalid input for tags. Reason: A resource may have 50 tags at most.")
        tx.execute(delete(table).where(table.c.resource_id == current["id"]))
        if wanted:
            tx.execute(insert(table), [{"resource_id": current["id"], "tag": tag} for tag in wanted])
        if self.resource.changed is not None:
            self.resource.changed(tx, current["id"])

    def tags_index(self, tx: Tx, req: Request) -> Any:
        return {"tags": self._owner(tx, req, "get")["tags"]}

    def _body_tags(self, req: Request) -> list[str]:
        if not isinstance(req.body, dict) or "tags" not in req.body:
            raise BadRequest("Invalid tags body", type="BadRequest")
        try:
            return tags(req.body["tags"])
        except Invalid as problem:
            raise BadRequest(f"Invalid input for operation: {problem}.", type="InvalidInput") from None

    def tags_replace(self, tx: Tx, req: Request) -> Any:
        wanted = self._body_tags(req)
        current = self._owner(tx, req, "update")
        self._write_tags(tx, current, wanted)
        return {"tags": wanted}

    def tags_add(self, tx: Tx, req: Request) -> Any:
        wanted = self._body_tags(req)
        current = self._owner(tx, req, "create")
        merged = list(dict.fromkeys(current["tags"] + wanted))
        self._write_tags(tx, current, merged)
        return {"tags": merged}

    def tags_clear(self, tx: Tx, req: Request) -> None:
        self._write_tags(tx, self._owner(tx, req, "delete"), [])

    def tag_show(self, tx: Tx, req: Request) -> None:
        if req["tag"] not in self._owner(tx, req, "get")["tags"]:
            raise NotFound(f"Tag {req['tag']} could not be found.", type="TagNotFound")

    def tag_add(self, tx: Tx, req: Request) -> Any:
        try:
            tag = str(filled_text(NAME_LENGTH)(req["tag"]))
        except Invalid as problem:
            raise BadRequest(f"Invalid input for operation: {problem}.", type="InvalidInput") from None
        current = self._owner(tx, req, "update")
        if tag not in current["tags"]:
            self._write_tags(tx, current, [*current["tags"], tag])
        return Response(201)

    def tag_delete(self, tx: Tx, req: Request) -> None:
        current = self._owner(tx, req, "delete")
        if req["tag"] not in current["tags"]:
            raise NotFound(f"Tag {req['tag']} could not be found.", type="TagNotFound")
        self._write_tags(tx, current, [tag for tag in current["tags"] if tag != req["tag"]])


def nested(
    url: str,
    parent: str,
    resource_for: Callable[[str], Resource],
    make_context: MakeContext,
) -> list[Route]:
    """Routes of a resource that lives below another: ``resource_for`` makes it for one parent id."""

    def serve(verb: str) -> Callable[[Tx, Request], Any]:
        def handler(tx: Tx, req: Request) -> Any:
            here = Collection(resource_for(req[parent]), make_context, "", path=req.path.lstrip("/"))
            return getattr(here, verb)(tx, req)

        return handler

    one = url + "/{id}"
    return [
        Route("GET", url, serve("index"), AUTHENTICATED),
        Route("POST", url, serve("create"), AUTHENTICATED, status=201),
        Route("GET", one, serve("show"), AUTHENTICATED),
        Route("PUT", one, serve("update"), AUTHENTICATED),
        Route("DELETE", one, serve("delete"), AUTHENTICATED, status=204),
    ]


def render_ids(tx: Tx, context: Context, resource: Resource, ids: Sequence[str]) -> list[Values]:
    """Freshly written resources, rendered in the order of ``ids``, whoever may see them otherwise."""
    if len(ids) == 1:
        rows = tx.all(resource._by_id, {"key": ids[0]})  # type: ignore[attr-defined]
    else:
        rows = tx.all(select(resource.table).where(resource.table.c.id.in_(ids)))
    by_id = {item["id"]: item for item in resource.render(tx, context, rows)}
    return [by_id[object_id] for object_id in ids if object_id in by_id]
