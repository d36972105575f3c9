"""The routes of whoever runs the service: live, ready, metrics, version."""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST

from serving import examples
from serving.access.guard import GuardedRoute
from serving.access.roles import Role, asks, asks_nobody
from serving.service import Service

PACKAGE_VERSION = version("poplift")

router = APIRouter(route_class=GuardedRoute, tags=["operations"])


@router.get("/", openapi_extra=asks_nobody(), include_in_schema=False)
async def front_page() -> Response:
    """Whoever opens the address in a browser wants to read what can be asked."""
    return RedirectResponse("docs")


@router.get(
    "/healthz",
    responses={200: examples.shows(examples.ALIVE)},
    openapi_extra=asks_nobody(),
    summary="The process answers",
)
async def healthz() -> dict[str, str]:
    """Looks at nothing: a store that is down is no reason to restart this process."""
    return {"status": "alive"}


@router.get(
    "/readyz",
    openapi_extra=asks_nobody(),
    summary="A release is loaded and the online store answers",
    responses={200: examples.shows(examples.READY), 503: {"description": "Not ready, and why."}},
)
def readyz(request: Request) -> dict[str, Any]:
    """Asks the online store for the sentinel outlet of the policy; degraded: it answered before and now does not."""
    service: Service = request.app.state.service
    return {
        "status": service.check_ready(),
        "release_id": service.context().release.id,
        "release_error": service.current.error,
    }


@router.get(
    "/metrics",
    openapi_extra=asks(Role.READ),
    summary="Metrics in Prometheus' text format",
    response_class=Response,
)
async def metrics(request: Request) -> Response:
    """Only this application's own registry."""
    return Response(request.app.state.service.metrics.render(), media_type=CONTENT_TYPE_LATEST)


@router.get(
    "/version",
    responses={200: examples.shows(examples.VERSION)},
    openapi_extra=asks(Role.READ),
    summary="Versions of code, model and release",
)
async def versions(request: Request) -> dict[str, Any]:
    """What answers, since when it was built, and why a newer release was refused, if one was."""
    service: Service = request.app.state.service
    release, challenger = service.current.get(), service.challenger.get()
    return {
        "poplift": PACKAGE_VERSION,
        "business_time": service.business_time.isoformat(),
        "release_id": release.id if release else None,
        "release_versions": dict(release.versions) if release else None,
        "release_error": service.current.error,
        "challenger_id": challenger.release.id if challenger else None,
        "challenger_share": challenger.share if challenger else None,
        "challenger_error": service.challenger.error,
    }
