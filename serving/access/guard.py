"""Lets a request through to its route, or not: after the route is found, before anything of the body is read."""

import asyncio
import ipaddress
import math
from functools import lru_cache
from typing import TYPE_CHECKING

import structlog
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.types import Receive, Scope, Send

from poplift.settings import Settings
from serving.access.keys import PREFIX, ApiKeys
from serving.access.limits import TokenBuckets
from serving.access.roles import PUBLIC, ROLE, AccessError, Client, RefusedError
from serving.access.tokens import Issuer, TokenError, Tokens

if TYPE_CHECKING:
    from prometheus_client import Counter

# The API's own description: what it says is in this repository.
OPEN_PATHS = frozenset({"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc", "/static-offline-docs"})
NOT_ACCEPTED = "The key or token is not accepted: it is unknown, expired, revoked or meant for somebody else."

log = structlog.get_logger()


class GuardedRoute(APIRoute):
    """A route that answers clients with the role it declares in `openapi_extra`, and nobody if it declares none."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the guard, then answer."""
        guard: Guard = scope["app"].state.service.guard
        await guard.admit(Request(scope), (self.openapi_extra or {}).get(ROLE))
        await super().handle(scope, receive, send)


class Guard:
    """Knows who asks. Without keys (`POPLIFT_ACCESS=open`) it answers this machine only."""

    def __init__(self, settings: Settings, *, refused: "Counter") -> None:
        self._is_open = settings.access == "open"
        self._keys = ApiKeys(settings.access_dir)
        issuer = issuer_of(settings)
        self._tokens = Tokens(issuer) if issuer else None
        self._buckets = TokenBuckets(rate=settings.client_rate, burst=settings.client_burst)
        self._refused = refused

    async def admit(self, request: Request, role: str | None) -> None:
        """Raise RefusedError unless whoever sent the request may have this role's answer now."""
        if role == PUBLIC:
            return
        try:
            await self._check(request, role)
        except RefusedError as error:
            self._refused.labels(error.cause).inc()
            raise

    async def _check(self, request: Request, role: str | None) -> None:
        if self._is_open:
            _check_local(request)
            return
        client = await self._known(request)
        request.state.client = client.name  # for the log
        if wait := self._buckets.take(client.name):
            raise RefusedError(
                429,
                "This client asks more often than it may; wait as long as Retry-After says.",
                cause="limit",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        if role is None or role not in client.roles:
            raise RefusedError(403, f"This needs the role {role or 'of a route that has none'}.", cause="role")

    async def _known(self, request: Request) -> Client:
        scheme, _, credential = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not credential:
            raise _unauthenticated("Send a key or token: `Authorization: Bearer …`.", "missing", challenge="Bearer")
        if credential.startswith(f"{PREFIX}_"):
            client = self._keys.client(credential)
            if client is None:
                raise _unauthenticated(NOT_ACCEPTED, "key")
            return client
        if self._tokens is None:
            raise _unauthenticated(NOT_ACCEPTED, "token")
        try:
            return await asyncio.to_thread(self._tokens.client, credential)
        except TokenError as error:
            log.warning("token_refused", cause=str(error))
            raise _unauthenticated(NOT_ACCEPTED, "token") from error


def check_routes(app: FastAPI) -> None:
    """Raise AccessError where a route neither declares a role nor is part of the API's own description."""
    for route in iter_route_contexts(app.routes):
        is_guarded = isinstance(route.original_route, GuardedRoute)
        declared = (getattr(route, "openapi_extra", None) or {}).get(ROLE) if is_guarded else None
        if declared is None and route.path not in OPEN_PATHS:
            raise AccessError(f"{route.path}: declares no role; see serving/access/roles.py")


def check_start(settings: Settings) -> None:
    """Raise AccessError where the API would answer anybody, or nobody."""
    if settings.access == "open":
        if not is_loopback(settings.api_host):
            raise AccessError(
                f"POPLIFT_API_HOST={settings.api_host}: without keys the API answers this machine only. Set "
                "POPLIFT_API_HOST=127.0.0.1, or POPLIFT_ACCESS=required and make a key: "
                "`poplift keys create NAME --role decide`"
            )
    elif issuer_of(settings) is None and all(k.revoked_at for k in ApiKeys(settings.access_dir).all()):
        raise AccessError(
            "POPLIFT_ACCESS=required and nobody may ask: make a key with `poplift keys create NAME --role decide`, "
            "or set POPLIFT_OIDC_ISSUER and POPLIFT_OIDC_AUDIENCE"
        )


def issuer_of(settings: Settings) -> Issuer | None:
    """The issuer whose tokens are accepted beside keys, if one is set; raises AccessError for one without TLS."""
    if settings.oidc_issuer is None or settings.oidc_audience is None:
        return None
    return Issuer(settings.oidc_issuer, settings.oidc_audience, settings.oidc_algorithm, settings.oidc_roles_claim)


@lru_cache(64)
def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_local(request: Request) -> None:
    """Raise RefusedError for a page of another host that leads a browser of this machine here."""
    if not is_loopback(_without_port(request.headers.get("host", "localhost"))):
        raise RefusedError(
            403,
            "Without keys the API answers requests to 127.0.0.1 or localhost only; set POPLIFT_ACCESS=required.",
            cause="host",
        )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _unauthenticated(detail: str, cause: str, *, challenge: str = 'Bearer error="invalid_token"') -> RefusedError:
    return RefusedError(401, detail, cause=cause, headers={"WWW-Authenticate": challenge})
