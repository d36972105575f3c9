"""Prometheus metrics of the API, in a registry of their own: requests, features, answers, release, log, cost."""

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.values import ValueClass

from poplift.assumptions import CPU_HOUR_USD
from poplift.settings import shared_metrics
from serving.cost import Collected, ProcessorTime, WithCost
from serving.online import UNAVAILABLE, OnlineRows
from serving.stages import Stage, timed

if TYPE_CHECKING:
    from serving.release import LoadedRelease

FALLBACKS = frozenset({"missing", "expired", "future", UNAVAILABLE})  # flags of rows whose own features were not used
STAGE_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5)
BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """All metrics of one application; a second application in the same process has its own.

    Where several processes answer (`poplift serve --workers`), each counts into files that all of them see, and any
    one of them tells what all have counted, those that ended too.
    """

    def __init__(self, *, cpu_hour_usd: float = CPU_HOUR_USD) -> None:
        self._cpu_hour_usd = cpu_hour_usd
        self._shared = shared_metrics() if ValueClass.__name__ == "MmapedValue" else None
        self._answering: tuple[str, str, str] | None = None
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "poplift_http_requests_total",
            "Requests by method, route template and status.",
            ["method", "route", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "poplift_http_request_duration_seconds",
            "Time from the first byte in to the last byte out, by route template.",
            ["method", "route"],
            buckets=BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "poplift_http_requests_in_flight",
            "Requests being answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.feature_age = Gauge(
            "poplift_feature_age_seconds",
            "Age at business time of the oldest row of a view in the last answer.",
            ["view"],
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.feature_missing = Counter(
            "poplift_feature_missing_total", "Feature values read as missing.", ["view"], registry=registry
        )
        self.feature_fallbacks = Counter(
            "poplift_feature_fallbacks_total",
            "Rows answered with the defaults of a view, by why its own features could not be used.",
            ["view", "reason"],
            registry=registry,
        )
        self._count_answers_and_log(registry)
        self._time_the_work(registry)
        self._count_challenger(registry)

    def _count_answers_and_log(self, registry: CollectorRegistry) -> None:
        self.answers = Counter(
            "poplift_answers_total",
            "Answered rows by kind and whether degraded.",
            ["kind", "degraded"],
            registry=registry,
        )
        self.choices = Counter(
            "poplift_recommendations_total",
            "Recommendations by chosen activation.",
            ["activation"],
            registry=registry,
        )
        self.store_failures = Counter(
            "poplift_online_store_failures_total", "Reads that failed or came too late.", registry=registry
        )
        self.store_breaker_open = Gauge(
            "poplift_online_store_breaker_open",
            "1 while the online store is not asked because it keeps failing.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.release = Gauge(
            "poplift_release_info",
            "1 for the release that answers.",
            ["id", "model", "version"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.release_refused = Counter(
            "poplift_release_refused_total", "Attempts to load a release that failed.", registry=registry
        )
        self.release_current = Gauge(
            "poplift_release_current",
            "1 when the release the pointer names is the one that answers.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.access_refused = Counter(
            "poplift_access_refused_total",
            "Requests that were not answered because of who asked, by cause.",
            ["cause"],
            registry=registry,
        )
        self.decisions_written = Counter("poplift_decisions_written_total", "Decision rows on disk.", registry=registry)
        self.decisions_dropped = Counter(
            "poplift_decisions_dropped_total",
            "Decision rows lost because the queue was full.",
            registry=registry,
        )
        self.decision_errors = Counter(
            "poplift_decision_log_errors_total",
            "Failed writes of the decision log; they are tried again.",
            registry=registry,
        )

    def _time_the_work(self, registry: CollectorRegistry) -> None:
        self.stage_seconds = Histogram(
            "poplift_stage_duration_seconds",
            "Time of one part of an answer: feature_read, model, policy, explain, answer.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        cpu_seconds = Counter(
            "poplift_process_cpu_seconds_total",
            "Processor time of the processes that answer, those that ended too; at most seconds old.",
            registry=registry,
        )
        self.processor_time = ProcessorTime(cpu_seconds)

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        """Time a part of an answer, and trace it where the request is traced."""
        return timed(stage, self.stage_seconds)

    def _count_challenger(self, registry: CollectorRegistry) -> None:
        self.shadow_rows = Counter(
            "poplift_shadow_rows_total", "Decision rows of the release that did not answer.", registry=registry
        )
        self.shadow_dropped = Counter(
            "poplift_shadow_dropped_total",
            "Answered rows without such a row because too many waited.",
            registry=registry,
        )
        self.shadow_errors = Counter(
            "poplift_shadow_errors_total", "Questions that it failed to answer.", registry=registry
        )
        self.challenger_stopped = Counter(
            "poplift_challenger_stopped_total", "Challengers that serving stopped as they failed.", registry=registry
        )

    def store_failed(self) -> None:
        """Count a read that failed or came too late."""
        self.store_failures.inc()

    def read(self, rows: OnlineRows) -> None:
        """Record ages and gaps of one online read."""
        for view, _, hours in rows.oldest:
            if hours is not None:
                self.feature_age.labels(view).set(hours * 3600.0)
            if rows.missing[view]:
                self.feature_missing.labels(view).inc(rows.missing[view])
        if rows.degraded.any():  # a row of an entity nobody knows is no answer
            known_flags = (f for f, unknown in zip(rows.flags, rows.unknown, strict=True) if unknown is None)
            for flag in (flag for flags in known_flags for flag in flags):
                reason, _, view = flag.partition(":")
                if reason in FALLBACKS:
                    self.feature_fallbacks.labels(view, reason).inc()

    def swapped(self, release: "LoadedRelease") -> None:
        """Record which release answers now."""
        if self._answering is not None:
            self.release.labels(*self._answering).set(0)
        self._answering = (release.id, release.model_name, release.model_version)
        self.release.labels(*self._answering).set(1)

    def series(self) -> Collected:
        """All series as /metrics tells them: of all processes where several answer, and what it costs."""
        self.processor_time.count()
        counted = self.registry
        if self._shared is not None:
            _forget_the_dead(self._shared)
            counted = CollectorRegistry()
            MultiProcessCollector(counted, path=str(self._shared))  # type: ignore[no-untyped-call]
        return WithCost(counted, cpu_hour_usd=self._cpu_hour_usd)

    def render(self) -> bytes:
        """Text exposition format."""
        return generate_latest(self.series())


def _forget_the_dead(folder: Path) -> None:
    """Gauges of processes that were killed are no longer true; their counters stay counted."""
    for pid in {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*_*.db")}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, path=str(folder))  # type: ignore[no-untyped-call]
