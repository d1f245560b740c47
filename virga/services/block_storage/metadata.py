"""Metadata of volumes and snapshots over HTTP: the same six verbs for both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED
from virga.db.tx import Tx
from virga.services.block_storage import schema
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import Invalid, Missing
from virga.services.block_storage.schema import Body

WHOLE = Body(schema.wrapped("metadata", schema.METADATA, extra=True))
ONE = Body(schema.wrapped("meta", schema.METADATA, extra=True))


class MetadataOf:
    """Of one kind of thing: how it is found, saved and shown."""

    def __init__(
        self,
        kind: str,
        parameter: str,
        get: Callable[[Tx, Any, object], Any],
        save: Callable[[Tx, Any, dict[str, str]], Any],
        rule: str,
        shown: Callable[[Tx, Any], dict[str, str]] | None = None,
    ) -> None:
        self._kind = kind
        self._parameter = parameter
        self._get = get
        self._save = save
        self._rule = rule
        self._shown = shown or (lambda tx, row: dict(row.metadata))

    def _find(self, tx: Tx, req: Request, verb: str) -> Any:
        row = self._get(tx, req.caller, req[self._parameter])
        req.enforce(self._rule.format(verb=verb), {"project_id": row.project_id, "user_id": row.user_id})
        return row

    def _lost(self, row: Any, key: str) -> Missing:
        return Missing(f"{self._kind} {row.id} has no metadata with key {key}.")

    def index(self, tx: Tx, req: Request) -> Any:
        return {"metadata": self._shown(tx, self._find(tx, req, "get"))}

    def show(self, tx: Tx, req: Request) -> Any:
        row = self._find(tx, req, "get")
        found = self._shown(tx, row)
        if req["key"] not in found:
            raise self._lost(row, req["key"])
        return {"meta": {req["key"]: found[req["key"]]}}

    def create(self, tx: Tx, req: Request) -> Any:
        asked = WHOLE.check(req)["metadata"]
        row = self._find(tx, req, "create" if self._kind == "Volume" else "update")
        merged = {**row.metadata, **asked}
        self._save(tx, row, merged)
        return {"metadata": merged}

    def replace(self, tx: Tx, req: Request) -> Any:
        asked = WHOLE.check(req)["metadata"]
        row = self._find(tx, req, "update")
        self._save(tx, row, asked)
        return {"metadata": asked}

    def change(self, tx: Tx, req: Request) -> Any:
        asked = ONE.check(req)["meta"]
        if req["key"] not in asked:
            raise Invalid("Request body and URI mismatch")
        if len(asked) > 1:
            raise Invalid("Request body contains too many items")
        row = self._find(tx, req, "update")
        self._save(tx, row, {**row.metadata, **asked})
        return {"meta": asked}

    def remove(self, tx: Tx, req: Request) -> Any:
        row = self._find(tx, req, "delete")
        kept = dict(row.metadata)
        if req["key"] not in kept:
            raise self._lost(row, req["key"])
        del kept[req["key"]]
        self._save(tx, row, kept)
        return Response(200)

    def routes(self, at: str) -> list[Both]:
        return [
            Both("GET", f"{at}/metadata", self.index, AUTHENTICATED),
            Both("POST", f"{at}/metadata", self.create, AUTHENTICATED),
            Both("PUT", f"{at}/metadata", self.replace, AUTHENTICATED),
            Both("GET", at + "/metadata/{key}", self.show, AUTHENTICATED),
            Both("PUT", at + "/metadata/{key}", self.change, AUTHENTICATED),
            Both("DELETE", at + "/metadata/{key}", self.remove, AUTHENTICATED),
        ]
