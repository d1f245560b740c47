"""All URLs of the Identity service and who may use them."""

from __future__ import annotations

from functools import partial

from virga.api.faults import identity_envelope
from virga.api.routing import AUTHENTICATED, PUBLIC, Route, ServiceApi
from virga.services.identity import auth, version
from virga.services.identity.policies import POLICIES
from virga.services.identity.token import Tokens
from virga.settings import Settings


def routes(tokens: Tokens) -> list[Route]:
    """The table; tokens are issued and read with ``tokens``."""
    return [
        Route("GET", "/", version.index, PUBLIC),
        Route("GET", "/v3", version.show, PUBLIC),
        Route("GET", "/v3/", version.show, PUBLIC),
        Route("POST", "/v3/auth/tokens", partial(auth.create, tokens), PUBLIC),
        Route("GET", "/v3/auth/tokens", partial(auth.show, tokens), AUTHENTICATED),
        Route("DELETE", "/v3/auth/tokens", partial(auth.delete, tokens), AUTHENTICATED),
        Route("GET", "/v3/auth/catalog", auth.show_catalog, AUTHENTICATED),
    ]


def service(settings: Settings) -> ServiceApi:
    """The Identity service of one cloud."""
    return ServiceApi(
        name="identity",
        prefix="/identity",
        routes=routes(Tokens(settings)),
        envelope=identity_envelope,
        policies=POLICIES,
    )
