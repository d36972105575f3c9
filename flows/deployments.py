"""The Prefect flows: each wraps one step with retries and leaves artifacts in the UI."""

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from flows.console import SCORE_COLUMNS, score_rows
from flows.steps.backfill import backfill_view
from flows.steps.features import refresh_features
from flows.steps.ingest import ingest_events
from flows.steps.monitor import monitor
from flows.steps.promote import NoChampionError, promote, promote_if_new
from flows.steps.release import refresh_release
from flows.steps.score import score_coming_week
from flows.steps.train import Trained, train_if_changed
from poplift.settings import load_settings

RETRIES: dict[str, Any] = {"retries": 2, "retry_delay_seconds": 30}


@flow(name="ingest", **RETRIES)
def ingest_flow() -> bool:
    """Take the source through its contracts into the lake; True when there was something new."""
    report = ingest_events(load_settings(), get_run_logger().info)
    create_table_artifact(
        key="ingest",
        table=[
            {
                "table": t.table,
                "rows in": t.rows_in,
                "good": t.rows_good,
                "quarantined": t.rows_quarantined,
                "why": ", ".join(f"{v.column} {v.rule} {v.rows}" for v in t.violations),
            }
            for t in report.tables
        ],
        description="What came in, what was refused and why.",
    )
    return report.is_new


@flow(name="features", **RETRIES)
def features_flow() -> dict[str, int]:
    """Build, register and materialise features; returns rows per view."""
    rows = refresh_features(load_settings(), get_run_logger().info)
    create_table_artifact(
        key="features",
        table=[{"view": view, "rows": count} for view, count in rows.items()],
        description="Rows of every feature table.",
    )
    return rows


@flow(name="backfill", **RETRIES)
def backfill_flow(view: str, first_week: int, last_week: int) -> int:
    """Fill one view over a range of weeks as of then; a retry goes on where the run died. Returns row versions."""
    filled = backfill_view(load_settings(), get_run_logger().info, view=view, first=first_week, last=last_week)
    create_table_artifact(key="backfill", table=[vars(filled)], description="What a backfill left.")
    return filled.rows


@flow(name="train", **RETRIES)
def train_flow() -> str | None:
    """Train a challenger and let the gate judge it; returns the registered version, if any."""
    trained = train_if_changed(load_settings(), get_run_logger().info)
    if trained is None:
        get_run_logger().info("nothing to train: data, code, seed and search are those of a model made before")
        return None
    _training_artifacts(trained)
    return trained.version


@flow(name="promote")
def promote_flow(who: str = "prefect", why: str = "the gate passed") -> str:
    """Make the challenger the champion; fails without a passing verdict."""
    return promote(load_settings(), who=who, why=why).version


@flow(name="release", **RETRIES)
def release_flow() -> str | None:
    """Turn the champion, whoever made it that, into the served release; the watcher of the alias."""
    try:
        release = refresh_release(load_settings(), get_run_logger().info)
    except NoChampionError as error:
        get_run_logger().info(f"nothing to release yet: {error}")
        return None
    create_markdown_artifact(
        key="release",
        markdown=f"**{release.id}** of model version {release.versions.get('model_version')}\n\n`{release.folder}`",
        description="The release that serving loads.",
    )
    return release.id


@flow(name="score", **RETRIES)
def score_flow() -> Path:
    """Score the coming week in batch, to Parquet."""
    path = score_coming_week(load_settings(), get_run_logger().info)
    create_link_artifact(key="scores", link=path.as_uri(), description="Every candidate of the coming week.")
    return path


@flow(name="monitor", **RETRIES)
def monitor_flow() -> str:
    """Drift, freshness and performance into HTML, and a verdict with reasons."""
    settings = load_settings()
    verdict = monitor(settings, get_run_logger().info)
    create_markdown_artifact(
        key="monitoring",
        markdown="\n".join([f"## {verdict.status}", *(f"* {reason}" for reason in verdict.reasons)]),
        description="Is it still right?",
    )
    create_link_artifact(
        key="reports",
        link=f"http://127.0.0.1:{settings.reports_port}/",
        link_text="reports",
        description="Drift, performance and model reports.",
    )
    return verdict.status


@flow(name="weekly")
def weekly_flow() -> str:
    """Everything a week needs, in order; returns the monitoring verdict."""
    ingest_flow()
    features_flow()
    train_flow()
    promote_if_new(load_settings(), who="weekly flow", why="the gate passed")
    release_flow()
    score_flow()
    return monitor_flow()


def _training_artifacts(trained: Trained) -> None:
    header = "| " + " | ".join(SCORE_COLUMNS) + " |"
    lines = ["| " + " | ".join(row) + " |" for row in score_rows(trained.metrics)]
    reasons = [f"* {reason}" for reason in trained.verdict.reasons]
    create_markdown_artifact(
        key="training",
        markdown="\n".join(
            [f"## Gate: {trained.verdict.outcome}", *reasons, "", header, "|---|---:|---:|---:|---:|---:|", *lines]
        ),
        description="Scores on held-out weeks and the gate's verdict.",
    )
