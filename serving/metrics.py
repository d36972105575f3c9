"""Prometheus metrics of the API, in a registry of their own: requests, features, answers, release, log."""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from serving.online import OnlineRows

if TYPE_CHECKING:
    from serving.release import LoadedRelease

BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """All metrics of one application; a second application in the same process has its own."""

    def __init__(self) -> None:
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
        self.in_flight = Gauge("poplift_http_requests_in_flight", "Requests being answered.", registry=registry)
        self.feature_age = Gauge(
            "poplift_feature_age_seconds",
            "Age at business time of the oldest row of a view in the last answer.",
            ["view"],
            registry=registry,
        )
        self.feature_missing = Counter(
            "poplift_feature_missing_total", "Feature values read as missing.", ["view"], registry=registry
        )
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
        self.release = Info("poplift_release", "The release that answers.", registry=registry)
        self.release_refused = Counter(
            "poplift_release_refused_total", "Attempts to load a release that failed.", registry=registry
        )
        self.release_current = Gauge(
            "poplift_release_current",
            "1 when the release the pointer names is the one that answers.",
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

    def read(self, rows: OnlineRows) -> None:
        """Record ages and gaps of one online read."""
        for view, ages in rows.ages_hours.items():
            known = ages[ages == ages]  # noqa: PLR0124 - drops NaN: absent rows have no age
            if len(known):
                self.feature_age.labels(view).set(float(known.max()) * 3600.0)
            if rows.missing[view]:
                self.feature_missing.labels(view).inc(rows.missing[view])

    def swapped(self, release: "LoadedRelease") -> None:
        """Record which release answers now."""
        self.release.info({"id": release.id, "model": release.model_name, "version": release.model_version})

    def render(self) -> bytes:
        """Text exposition format."""
        return generate_latest(self.registry)
