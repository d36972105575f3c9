"""The parts an answer is made in: each is timed for /metrics, and a span where the request is traced."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from opentelemetry import trace
from prometheus_client import Histogram

Stage = Literal["feature_read", "model", "policy", "explain", "answer"]

_tracer = trace.get_tracer("poplift.serving")


@contextmanager
def timed(stage: Stage, seconds: Histogram) -> Iterator[None]:
    """Observe how long the block took, also where it raised; without a traced request no span is begun."""
    began = time.perf_counter()
    try:
        if trace.get_current_span().is_recording():
            with _tracer.start_as_current_span(stage):
                yield
        else:
            yield
    finally:
        seconds.labels(stage).observe(time.perf_counter() - began)
