"""The routes of whoever runs the service: live, ready, metrics, version."""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from serving.service import Service

PACKAGE_VERSION = version("poplift")

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="The process answers")
async def healthz() -> dict[str, str]:
    """Looks at nothing: a store that is down is no reason to restart this process."""
    return {"status": "alive"}


@router.get(
    "/readyz",
    summary="A release is loaded and the online store answers",
    responses={503: {"description": "Not ready, and why."}},
)
def readyz(request: Request) -> dict[str, Any]:
    """Asks the online store for the sentinel outlet of the policy."""
    service: Service = request.app.state.service
    service.check_ready()
    return {
        "status": "ready",
        "release_id": service.context().release.id,
        "release_error": service.current.error,
    }


@router.get("/metrics", summary="Metrics in Prometheus' text format", response_class=Response)
async def metrics(request: Request) -> Response:
    """Only this application's own registry."""
    return Response(request.app.state.service.metrics.render(), media_type=CONTENT_TYPE_LATEST)


@router.get("/version", summary="Versions of code, model and release")
async def versions(request: Request) -> dict[str, Any]:
    """What answers, since when it was built, and why a newer release was refused, if one was."""
    service: Service = request.app.state.service
    release = service.current.get()
    return {
        "poplift": PACKAGE_VERSION,
        "business_time": service.business_time.isoformat(),
        "release_id": release.id if release else None,
        "release_versions": dict(release.versions) if release else None,
        "release_error": service.current.error,
    }
