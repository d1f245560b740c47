"""``/v3/domains/{id}/config``: settings of one domain, kept for who reads them; users are always in the tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, insert, select

from virga.api.faults import Forbidden, NotFound
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.services.identity import domain
from virga.services.identity.models import domain_config as table

Config = dict[str, dict[str, Any]]
DEFAULTS: Config = {
    "identity": {"driver": "sql", "list_limit": None},
    "ldap": {
        "url": "ldap://localhost",
        "user": None,
        "suffix": "cn=example,cn=com",
        "query_scope": "one",
        "page_size": 0,
        "alias_dereferencing": "default",
        "debug_level": None,
        "chase_referrals": None,
        "user_tree_dn": None,
        "user_filter": None,
        "user_objectclass": "inetOrgPerson",
        "user_id_attribute": "cn",
        "user_name_attribute": "sn",
        "user_mail_attribute": "mail",
        "user_enabled_attribute": "enabled",
        "group_tree_dn": None,
        "group_filter": None,
        "group_objectclass": "groupOfNames",
        "group_id_attribute": "cn",
        "group_name_attribute": "ou",
        "group_member_attribute": "member",
        "use_tls": False,
        "use_pool": True,
    },
}
SECRET = {("ldap", "password")}
"""Options that can be set but are never shown."""


def _invalid(reason: str) -> Forbidden:
    return Forbidden(f"Invalid domain specific configuration: {reason}.")


def _missing(what: str, domain_id: str) -> NotFound:
    return NotFound(f"Could not find {what} in domain configuration for domain {domain_id}.")


def _read(tx: Tx, domain_id: str) -> Config:
    found: Config = {}
    statement = select(table).where(table.c.domain_id == domain_id)
    for row in tx.all(statement.order_by(table.c.group_name, table.c.option_name)):
        if (row.group_name, row.option_name) not in SECRET:
            found.setdefault(row.group_name, {})[row.option_name] = row.value
    return found


def _part(config: Config, req: Request, domain_id: str) -> Any:
    """What the URL asks for: all, a group, or an option."""
    group, option = req.path_params.get("group"), req.path_params.get("option")
    if group is None:
        if not config:
            raise _missing("any options", domain_id)
        return config
    if option is None:
        if group not in config:
            raise _missing(f"group {group}", domain_id)
        return {group: config[group]}
    if option not in config.get(group, {}):
        raise _missing(f"option {option} in group {group}", domain_id)
    return {option: config[group][option]}


def _checked(req: Request) -> Config:
    """The body's settings, of groups and options that there are."""
    given = req.body.get("config") if isinstance(req.body, Mapping) else None
    group, option = req.path_params.get("group"), req.path_params.get("option")
    if not isinstance(given, Mapping) or not given:
        raise _invalid("No options specified")
    if option is not None and group is not None:
        if set(given) != {option}:
            raise _invalid(
                f"Trying to update option {option} in group {group}, so that, and only that, option must be "
                "specified in the config"
            )
        given = {group: given}
    elif group is not None and set(given) != {group}:
        raise _invalid(
            f"Trying to update group {group}, so that, and only that, group must be specified in the config"
        )
    config: Config = {}
    for name, options in given.items():
        if name not in DEFAULTS:
            raise _invalid(f"Group {name} is not supported for domain specific configurations")
        if not isinstance(options, Mapping) or not options:
            raise _invalid(
                f"The value of group {name} specified in the config should be a dictionary of options"
            )
        for key in options:
            if key not in DEFAULTS[name] and (name, key) not in SECRET:
                raise _invalid(
                    f"Option {key} in group {name} is not supported for domain specific configurations"
                )
        config[name] = dict(options)
    return config


def _write(tx: Tx, domain_id: str, config: Config) -> None:
    for group, options in config.items():
        for option, value in options.items():
            same = (
                table.c.domain_id == domain_id,
                table.c.group_name == group,
                table.c.option_name == option,
            )
            tx.execute(delete(table).where(*same))
            tx.execute(
                insert(table).values(domain_id=domain_id, group_name=group, option_name=option, value=value)
            )


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """The settings of the domain, of a group of them, or one."""
    domain_id = domain.get(tx, req["domain_id"]).id
    return {"config": _part(_read(tx, domain_id), req, domain_id)}


def put(tx: Tx, req: Request) -> Response:
    """Replace all settings of the domain."""
    domain_id = domain.get(tx, req["domain_id"]).id
    config = _checked(req)
    existed = bool(_read(tx, domain_id))
    tx.execute(delete(table).where(table.c.domain_id == domain_id))
    _write(tx, domain_id, config)
    return Response(200 if existed else 201, {"config": _read(tx, domain_id)})


def change(tx: Tx, req: Request) -> dict[str, Any]:
    """Change some; a group or option must be there to be changed by its URL."""
    domain_id = domain.get(tx, req["domain_id"]).id
    config = _checked(req)
    _part(_read(tx, domain_id), req, domain_id)
    _write(tx, domain_id, config)
    return {"config": _read(tx, domain_id)}


def remove(tx: Tx, req: Request) -> Response:
    """Back to the defaults: all, a group, or one."""
    domain_id = domain.get(tx, req["domain_id"]).id
    _part(_read(tx, domain_id), req, domain_id)
    where = [table.c.domain_id == domain_id]
    if "group" in req.path_params:
        where.append(table.c.group_name == req["group"])
    if "option" in req.path_params:
        where.append(table.c.option_name == req["option"])
    tx.execute(delete(table).where(*where))
    return Response(204)


def defaults(tx: Tx, req: Request) -> dict[str, Any]:
    """What holds where a domain says nothing."""
    group, option = req.path_params.get("group"), req.path_params.get("option")
    if group is not None and group not in DEFAULTS:
        raise _invalid(f"Group {group} is not supported for domain specific configurations")
    if group is not None and option is not None and option not in DEFAULTS[group]:
        raise _invalid(
            f"Option {option} in group {group} is not supported for domain specific configurations"
        )
    return {"config": _part(DEFAULTS, req, "")}
