"""The server process, or several of them behind one port, which drain requests and decision log when told to stop."""

import shutil
import sys
from typing import Any

from fastapi import FastAPI

from poplift.settings import Settings, load_settings, share_metrics
from serving import logs
from serving.access.guard import check_start
from serving.memory import collect_seldom, share_one_arena
from serving.online import FeatureReader
from serving.service import Limits

CONNECTIONS = 512  # open at once, most of them idle; what works at once is bounded by Limits.in_flight
GRACE_SECONDS = 10
TURN_SECONDS = 0.001  # a thread that works keeps the others waiting so long; Python's 5 ms are longer than an answer
START_SECONDS = 30  # until a worker must have started, or a silent one is replaced


def run(settings: Settings, *, reader: FeatureReader | None = None, workers: int = 1) -> None:
    """Serve the API at the settings' host and port until SIGTERM or Ctrl-C; `reader` defaults to the online store.

    Raises AccessError where that would answer anybody, or nobody.

    More than one worker are processes of their own, which read their settings from the environment, as this one did.
    One that dies is replaced, SIGHUP replaces all of them one after the other; meanwhile the others answer.
    """
    import uvicorn

    from serving.slow_clients import ImpatientProtocol

    check_start(settings)
    limits = Limits()
    options: dict[str, Any] = {
        "host": settings.api_host,
        "port": settings.api_port,
        "access_log": False,  # the application logs every request with its id
        "log_config": logs.of_libraries(),
        "limit_concurrency": CONNECTIONS,
        "http": ImpatientProtocol,
        "timeout_graceful_shutdown": GRACE_SECONDS,
        "timeout_worker_healthcheck": START_SECONDS,
        "server_header": False,
        "ws": "none",  # there are no websockets to keep ready for
    }
    if workers == 1:
        uvicorn.run(_application(settings, reader, limits), **options)
        return
    folder = share_metrics()
    try:
        uvicorn.run("serving.run:worker", factory=True, workers=workers, **options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def worker() -> FastAPI:
    """The application of one of several processes."""
    return _application(load_settings(), None, Limits())


def _application(settings: Settings, reader: FeatureReader | None, limits: Limits) -> FastAPI:
    # imported late: the metrics decide at import whether they are shared, and the parent of workers needs none
    from serving.app import create_app

    sys.setswitchinterval(TURN_SECONDS)
    share_one_arena()
    logs.configure()
    application = create_app(settings, reader=reader, limits=limits)
    collect_seldom()
    return application
