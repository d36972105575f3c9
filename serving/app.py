"""The API: put together here, started by the lifespan, answered by the routes."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from anyio import to_thread
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from poplift.clock import wall_now
from poplift.settings import Settings
from serving import (
    events,
    execution_routes,
    operations,
    plan_routes,
    problems,
    published_plan_routes,
    release_routes,
    routes,
)
from serving.access.guard import Guard, check_routes
from serving.bounded_reader import BoundedReader
from serving.challenger import CurrentChallenger
from serving.circuit_breaker import CircuitBreaker
from serving.current import CurrentRelease
from serving.decision_log import DecisionLog
from serving.event_door import EventDoor
from serving.exploration import CurrentLaunches
from serving.metrics import Metrics
from serving.observe import Observe
from serving.online import FeastReader, FeatureReader
from serving.planner.effect_files import CurrentEffects
from serving.planner.published import PublishedPlans
from serving.remembered_answers import RememberedAnswers
from serving.rollback import roll_back
from serving.service import Limits, Service
from serving.shadow import Shadow

if TYPE_CHECKING:
    from serving.executions_door import ExecutionsDoor

DESCRIPTION = """Predicted demand and recommended activations for the coming week, from features read online.

Every answer names the release and model that gave it, the age of the features it used, and a decision id
under which it is logged. What is recommended rests on predictions, not on measured lift. Errors are
problem+json (RFC 9457); send `X-Request-ID` to find your request in logs and answers.
"""

SPARE_THREADS = 8  # for /readyz while the API is full

log = structlog.get_logger()


def create_app(settings: Settings, *, reader: FeatureReader | None = None, limits: Limits | None = None) -> FastAPI:
    """The application; `reader` defaults to the online store behind Feast."""
    service = _service(settings, reader or FeastReader(settings), limits or Limits())
    app = FastAPIOffline(  # /docs brings its scripts along; FastAPI's own would fetch them from the internet
        title="poplift",
        version=operations.PACKAGE_VERSION,
        description=DESCRIPTION,
        lifespan=_lifespan,
        # Requests are traced where OTEL_EXPORTER_OTLP_ENDPOINT says whereto; metrics and logs go their own way.
        telemetry={"auto_configure": True, "metrics": False, "logs": False, "operation_spans": False},
        openapi_tags=[{"name": "decisions"}, {"name": "events"}, {"name": "operations"}],
    )
    app.state.service = service
    app.include_router(routes.router)
    app.include_router(plan_routes.router)
    app.include_router(published_plan_routes.router)
    app.include_router(execution_routes.router)
    app.include_router(events.router)
    app.include_router(release_routes.router)
    app.include_router(operations.router)
    check_routes(app)
    problems.install(app)
    plan_routes.install(app)
    published_plan_routes.install(app)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=service.limits.body_bytes)
    app.add_middleware(Observe, metrics=service.metrics, max_in_flight=service.limits.in_flight)
    return app


def _service(settings: Settings, reader: FeatureReader, limits: Limits) -> Service:
    metrics = Metrics(cpu_hour_usd=settings.cpu_hour_usd)

    told: list[str] = []

    def refused(message: str) -> None:
        metrics.release_refused.inc()
        if told != [message]:  # it is looked at every few seconds; the same cause is said once
            told[:] = [message]
            log.error("release_refused", cause=message)

    def stopped(release_id: str, why: str) -> None:
        metrics.challenger_stopped.inc()
        log.error("challenger_stopped", release=release_id, cause=why)

    current = CurrentRelease(settings.releases_dir, on_error=refused, on_swap=metrics.swapped)
    challenger = CurrentChallenger(settings.releases_dir, on_stop=stopped)
    return Service(
        now=settings.now,
        limits=limits,
        metrics=metrics,
        guard=Guard(settings, refused=metrics.access_refused),
        current=current,
        challenger=challenger,
        # rows of the shadow have a queue of their own, so that they never take the place of a decision
        shadow=Shadow(DecisionLog(Path(settings.decisions_dir), metrics=metrics), metrics=metrics, beside=challenger),
        unbounded_reader=reader,
        reader=BoundedReader(
            reader,
            deadline=limits.read_deadline,
            workers=limits.read_workers,
            ends_in_time=lambda: isinstance(reader, FeastReader) and reader.ends_in_time,
            breaker=CircuitBreaker(on_change=partial(_store_changed, metrics)),
        ),
        decisions=DecisionLog(Path(settings.decisions_dir), metrics=metrics),
        events=EventDoor(settings),
        answers=RememberedAnswers(settings.home / "answers.db", now=lambda: wall_now().timestamp()),
        plans=PublishedPlans(settings.plans_dir),
        executions=cache(partial(_executions_door, settings)),
        launches=CurrentLaunches(settings.experiments_dir),
        effects=CurrentEffects(settings.features_dir, now=settings.now),
        roll_back=partial(roll_back, settings),
        threads=ThreadPoolExecutor(limits.in_flight, thread_name_prefix="answer"),
    )


def _store_changed(metrics: Metrics, is_open: bool) -> None:
    metrics.store_breaker_open.set(float(is_open))
    if is_open:
        log.error("online_store_left_alone", effect="answers are degraded or 503, as the release's policy says")
    else:
        log.info("online_store_answers_again")


def _executions_door(settings: Settings) -> "ExecutionsDoor":
    from serving.executions_door import ExecutionsDoor  # brings the lake, Ibis and DuckDB: with the first report

    return ExecutionsDoor(settings)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    service.decisions.start()
    service.shadow.start()
    # whoever is let in has a thread at once: waiting for one would come on top of every deadline
    to_thread.current_default_thread_limiter().total_tokens = service.limits.in_flight + SPARE_THREADS
    await asyncio.to_thread(service.follow_release)
    await asyncio.to_thread(_warm, service)
    following = asyncio.create_task(_follow_releases(service))
    try:
        yield
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        service.threads.shutdown(wait=False)
        service.reader.close()
        await asyncio.to_thread(service.shadow.close)
        await asyncio.to_thread(service.decisions.close)
        service.metrics.processor_time.count()


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
        service.metrics.processor_time.count()
