"""All URLs of the Image service and who may use them.

Where AUTHENTICATED stands, the handler asks the policy itself: the answer depends on the image, and
whether it is 403 or 404 depends on whether the caller may see it.
"""

from __future__ import annotations

from functools import partial

from virga.api.faults import BadRequest, Fault, NotFound
from virga.api.routing import AUTHENTICATED, PUBLIC, Route, ServiceApi
from virga.services.image import data, image_api, importing, info, member, tag, task, version
from virga.services.image.access import reworded
from virga.services.image.faults import RESOURCE_NOT_FOUND, image_envelope
from virga.services.image.policies import POLICIES
from virga.services.image.store import Store
from virga.settings import Settings

ONE = "/v2/images/{image_id}"


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
        policies=POLICIES,
        not_found=_not_found,
        malformed=_malformed,
        forbidden=reworded,
    )
