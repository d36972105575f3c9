"""The API: put together here, started by the lifespan, answered by the routes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from poplift.settings import Settings
from serving import events, operations, problems, routes
from serving.current import CurrentRelease
from serving.decision_log import DecisionLog
from serving.event_door import EventDoor
from serving.metrics import Metrics
from serving.observe import Observe
from serving.online import BoundedReader, FeastReader, FeatureReader
from serving.service import Limits, Service

DESCRIPTION = """Predicted demand and recommended activations for the coming week, from features read online.

Every answer names the release and model that gave it, the age of the features it used, and a decision id
under which it is logged. What is recommended rests on predictions, not on measured lift. Errors are
problem+json (RFC 9457); send `X-Request-ID` to find your request in logs and answers.
"""

log = structlog.get_logger()


def create_app(settings: Settings, *, reader: FeatureReader | None = None, limits: Limits | None = None) -> FastAPI:
    """The application; `reader` defaults to the online store behind Feast."""
    service = _service(settings, reader or FeastReader(settings), limits or Limits())
    app = FastAPIOffline(  # /docs brings its scripts along; FastAPI's own would fetch them from the internet
        title="poplift",
        version=operations.PACKAGE_VERSION,
        description=DESCRIPTION,
        lifespan=_lifespan,
        openapi_tags=[{"name": "decisions"}, {"name": "events"}, {"name": "operations"}],
    )
    app.state.service = service
    app.include_router(routes.router)
    app.include_router(events.router)
    app.include_router(operations.router)
    problems.install(app)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=service.limits.body_bytes)
    app.add_middleware(Observe, metrics=service.metrics, max_in_flight=service.limits.in_flight)
    return app


def _service(settings: Settings, reader: FeatureReader, limits: Limits) -> Service:
    metrics = Metrics()

    told: list[str] = []

    def refused(message: str) -> None:
        metrics.release_refused.inc()
        if told != [message]:  # it is looked at every few seconds; the same cause is said once
            told[:] = [message]
            log.error("release_refused", cause=message)

    return Service(
        now=settings.now,
        limits=limits,
        metrics=metrics,
        current=CurrentRelease(settings.releases_dir, on_error=refused, on_swap=metrics.swapped),
        unbounded_reader=reader,
        reader=BoundedReader(reader, deadline=limits.read_deadline, workers=limits.read_workers),
        decisions=DecisionLog(Path(settings.decisions_dir), metrics=metrics),
        events=EventDoor(settings),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    service.decisions.start()
    await asyncio.to_thread(service.follow_release)
    await asyncio.to_thread(_warm, service)
    following = asyncio.create_task(_follow_releases(service))
    try:
        yield
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        service.reader.close()
        await asyncio.to_thread(service.decisions.close)


def _warm(service: Service) -> None:
    """Open the store before the first request; a failure is not fatal, /readyz keeps saying so."""
    try:
        service.check_ready(warm=True)
    except Exception as error:  # noqa: BLE001 - whatever the store raises, the service starts and reports it
        log.warning("not_ready_at_start", cause=f"{type(error).__name__}: {error}")


async def _follow_releases(service: Service) -> None:
    while True:
        await asyncio.sleep(service.limits.poll.total_seconds())
        await asyncio.to_thread(service.follow_release)
