"""The server process: one uvicorn worker that drains requests and decision log when told to stop."""

import structlog

from poplift.settings import Settings
from serving.app import create_app
from serving.online import FeatureReader
from serving.service import Limits

SPARE_CONNECTIONS = 64  # for health checks and metrics while the API is full
GRACE_SECONDS = 10


def run(settings: Settings, *, reader: FeatureReader | None = None) -> None:
    """Serve the API at the settings' host and port until SIGTERM or Ctrl-C; `reader` defaults to Feast's store."""
    import uvicorn

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )
    limits = Limits()
    uvicorn.run(
        create_app(settings, reader=reader, limits=limits),
        host=settings.api_host,
        port=settings.api_port,
        access_log=False,  # the application logs every request with its id
        limit_concurrency=limits.in_flight + SPARE_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
        ws="none",  # there are no websockets to keep ready for
    )
