"""The service catalog: what is served where, as a token carries it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from virga.db.tx import Tx
from virga.services.identity.models import (
    endpoint,
    endpoint_group,
    project_endpoint,
    project_endpoint_group,
    service,
)


def catalog(tx: Tx, user_id: str, project_id: str | None) -> list[dict[str, Any]]:
    """Enabled services with their enabled endpoints, URLs filled in for the project and the user."""
    chosen = _chosen_endpoints(tx, project_id)
    by_service: dict[str, list[dict[str, Any]]] = {}
    for row in tx.all(select(endpoint).where(endpoint.c.enabled).order_by(endpoint.c.id)):
        if chosen and row.id not in chosen:
            continue
        url = filled_in(row.url, user_id, project_id)
        if url is not None:
            by_service.setdefault(row.service_id, []).append(
                {
                    "id": row.id,
                    "interface": row.interface,
                    "region_id": row.region_id,
                    "url": url,
                    "region": row.region_id,
                }
            )
    services = tx.all(select(service).where(service.c.enabled).order_by(service.c.type))
    return [
        {
            "endpoints": by_service.get(row.id, []),
            "id": row.id,
            "type": row.type,
            "name": row.extra.get("name", ""),
        }
        for row in services
    ]


def _chosen_endpoints(tx: Tx, project_id: str | None) -> set[str]:
    """Endpoints that were associated with the project; none means all."""
    if project_id is None:
        return set()
    rows = tx.all(select(project_endpoint.c.endpoint_id).where(project_endpoint.c.project_id == project_id))
    return {row.endpoint_id for row in rows} | _grouped_endpoints(tx, project_id)


def _grouped_endpoints(tx: Tx, project_id: str) -> set[str]:
    """Endpoints that fit a group which the project was given."""
    mine = project_endpoint_group
    statement = select(endpoint_group.c.filters).join(mine, mine.c.endpoint_group_id == endpoint_group.c.id)
    found: set[str] = set()
    for row in tx.all(statement.where(mine.c.project_id == project_id)):
        where = [endpoint.c[name] == value for name, value in row.filters.items() if name in endpoint.c]
        found |= {item.id for item in tx.all(select(endpoint.c.id).where(*where))}
    return found


def filled_in(url: str, user_id: str, project_id: str | None) -> str | None:
    """The URL with ``$(project_id)s`` and the like replaced; None when it needs what the token has not."""
    values = {"user_id": user_id}
    if project_id is not None:
        values |= {"project_id": project_id, "tenant_id": project_id}
    template = url.replace("$(", "%(")
    if "%(" not in template:
        return url
    try:
        return template % values
    except (KeyError, ValueError, TypeError):
        return None
