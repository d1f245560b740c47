"""All URLs of the Image service and who may use them.

Where AUTHENTICATED stands, the handler asks the policy itself: the answer depends on the image, and
whether it is 403 or 404 depends on whether the caller may see it.
"""

from __future__ import annotations

from functools import partial

from virga.api.faults import BadRequest, Fault, NotFound
from virga.api.routing import AUTHENTICATED, PUBLIC, Route, ServiceApi
from virga.services.image import data, image_api, importing, info, member, metadef, tag, task, version
from virga.services.image.access import reworded
from virga.services.image.faults import RESOURCE_NOT_FOUND, image_envelope
from virga.services.image.policies import POLICIES
from virga.services.image.store import Store
from virga.settings import Settings

ONE = "/v2/images/{image_id}"
NAMESPACES = "/v2/metadefs/namespaces"
NAMESPACE = NAMESPACES + "/{namespace}"


def _metadefs() -> list[Route]:
    """Namespaces, and the same verbs for each kind of thing in them. The rule is the last word of a line."""

    def line(method: str, path: str, handler: metadef.Handler, rule: str, status: int = 200) -> Route:
        return Route(method, path, metadef.ruled(rule, handler), AUTHENTICATED, status)

    found = [
        line("GET", NAMESPACES, metadef.index, "get_metadef_namespaces"),
        line("POST", NAMESPACES, metadef.create, "add_metadef_namespace", 201),
        line("GET", NAMESPACE, metadef.show, "get_metadef_namespace"),
        line("PUT", NAMESPACE, metadef.change, "modify_metadef_namespace"),
        line("DELETE", NAMESPACE, metadef.remove, "delete_metadef_namespace"),
        line("GET", "/v2/metadefs/resource_types", metadef.resource_types, "list_metadef_resource_types"),
    ]
    of = metadef.of_kind
    for kind, key in (("object", "objects"), ("property", "properties"), ("tag", "tags")):
        every = f"{NAMESPACE}/{key}"
        one = every + "/{name}"
        gone = "remove_metadef_property" if kind == "property" else f"delete_metadef_{kind}"
        found += [
            line("GET", every, of(metadef.item_index, kind, key), f"get_metadef_{key}"),
            line("DELETE", every, of(metadef.items_remove, kind), gone),
            line("GET", one, of(metadef.item_show, kind), f"get_metadef_{kind}"),
            line("PUT", one, of(metadef.item_change, kind), f"modify_metadef_{kind}"),
            line("DELETE", one, of(metadef.item_remove, kind), gone),
        ]
        if kind != "tag":
            found.append(line("POST", every, of(metadef.item_create, kind), f"add_metadef_{kind}", 201))
    types = NAMESPACE + "/resource_types"
    associate, part = "add_metadef_resource_type_association", "remove_metadef_resource_type_association"
    listed = of(metadef.item_index, "resource_type", "resource_type_associations")
    found += [
        line("POST", NAMESPACE + "/tags", metadef.tags_create, "add_metadef_tags", 201),
        line("POST", NAMESPACE + "/tags/{name}", metadef.tag_create, "add_metadef_tag", 201),
        line("GET", types, listed, "get_metadef_resource_type"),
        line("POST", types, of(metadef.item_create, "resource_type"), associate, 201),
        line("DELETE", types + "/{name}", of(metadef.item_remove, "resource_type"), part),
    ]
    return found


def routes(store: Store) -> list[Route]:
    """The table; bytes are kept in ``store``."""
    return [
        Route("GET", "/", version.index, PUBLIC),
        Route("GET", "/versions", version.show, PUBLIC),
        Route("GET", "/v2", version.index, PUBLIC),
        Route("GET", "/v2/", version.index, PUBLIC),
        *(
            Route("GET", f"/v2/schemas/{name}", partial(info.schema, name), AUTHENTICATED)
            for name in info.SCHEMAS
        ),
        Route("GET", "/v2/images", image_api.index, AUTHENTICATED),
        Route("POST", "/v2/images", image_api.create, AUTHENTICATED),
        Route("GET", ONE, image_api.show, AUTHENTICATED),
        Route("PATCH", ONE, image_api.update, AUTHENTICATED),
        Route("DELETE", ONE, partial(image_api.delete, store), AUTHENTICATED),
        Route("GET", ONE + "/file", partial(data.download, store), AUTHENTICATED),
        Route("PUT", ONE + "/file", partial(data.upload, store), AUTHENTICATED, streams=True),
        Route("PUT", ONE + "/stage", partial(data.stage, store), AUTHENTICATED, streams=True),
        Route("POST", ONE + "/import", importing.create, AUTHENTICATED, 202),
        Route("GET", ONE + "/tasks", task.index_of_image, AUTHENTICATED),
        Route("POST", ONE + "/actions/deactivate", tag.deactivate, AUTHENTICATED),
        Route("POST", ONE + "/actions/reactivate", tag.reactivate, AUTHENTICATED),
        Route("PUT", ONE + "/tags/{tag}", tag.add, AUTHENTICATED),
        Route("DELETE", ONE + "/tags/{tag}", tag.remove, AUTHENTICATED),
        Route("GET", ONE + "/members", member.index, AUTHENTICATED),
        Route("POST", ONE + "/members", member.create, AUTHENTICATED),
        Route("GET", ONE + "/members/{member_id}", member.show, AUTHENTICATED),
        Route("PUT", ONE + "/members/{member_id}", member.update_status, AUTHENTICATED),
        Route("DELETE", ONE + "/members/{member_id}", member.remove, AUTHENTICATED),
        Route("GET", "/v2/info/import", info.import_methods, AUTHENTICATED),
        Route("GET", "/v2/info/stores", info.stores, AUTHENTICATED),
        Route("GET", "/v2/info/stores/detail", partial(info.stores_detail, store), "stores_info_detail"),
        Route("GET", "/v2/info/usage", info.usage, AUTHENTICATED),
        *_metadefs(),
        Route("GET", "/v2/tasks", task.index, "tasks_api_access"),
        Route("POST", "/v2/tasks", task.create, "tasks_api_access", 201),
        Route("GET", "/v2/tasks/{task_id}", task.show, "tasks_api_access"),
    ]


def _not_found(method: str, path: str) -> Fault:
    return NotFound(RESOURCE_NOT_FOUND)


def _malformed(reason: str) -> Fault:
    return BadRequest("Malformed JSON in request body.")


def service(settings: Settings) -> ServiceApi:
    """The Image service of one cloud."""
    return ServiceApi(
        name="image",
        prefix="/image",
        routes=routes(Store(settings)),
        envelope=image_envelope,
        project_scope=True,
        empty_types=dict.fromkeys(("DELETE", "PUT", "POST"), "text/html; charset=UTF-8"),
        policies=POLICIES,
        not_found=_not_found,
        malformed=_malformed,
        forbidden=reworded,
    )
