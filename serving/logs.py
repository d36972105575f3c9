"""The lines of the server: one JSON object an event, of the application and of its libraries alike.

JSON escapes line breaks and control characters, so that nothing a client sends can begin a line of its own.
"""

from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers

_EVERY_LINE: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def configure() -> None:
    """Let the application's lines be JSON on standard output."""
    structlog.configure(
        processors=[*_EVERY_LINE, structlog.processors.JSONRenderer()],
        # line and line break in one write: workers and threads share the output
        logger_factory=structlog.WriteLoggerFactory(),
    )


def of_libraries() -> dict[str, Any]:
    """The configuration under which uvicorn and other libraries write lines of the same form."""
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [structlog.stdlib.add_logger_name, *_EVERY_LINE],
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": formatter},
        "handlers": {"output": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}},
        "root": {"handlers": ["output"], "level": "INFO"},
    }


def trace_id(headers: Headers) -> str | None:
    """The trace a request belongs to: that of its span, else the one its caller names (W3C traceparent)."""
    span = trace.get_current_span()
    if "traceparent" in headers and not span.get_span_context().is_valid:
        span = trace.get_current_span(_CALLER.extract(headers))
    context = span.get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


_CALLER = TraceContextTextMapPropagator()
