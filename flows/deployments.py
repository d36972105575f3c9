"""The Prefect flows: each wraps one step with retries and leaves artifacts in the UI."""

import json
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.events import emit_event

from flows.console import SCORE_COLUMNS, score_rows
from flows.steps import challenger
from flows.steps.backfill import backfill_view
from flows.steps.decisions import land_logged
from flows.steps.effects import refresh_effects
from flows.steps.evidence import broken_kinds
from flows.steps.features import refresh_features
from flows.steps.ingest import ingest_events
from flows.steps.ledger import LedgerState, read_ledger
from flows.steps.monitor import monitor
from flows.steps.plan import plan_coming_week
from flows.steps.promote import SEEN, NoChampionError, promote, promote_if_new
from flows.steps.release import refresh_release
from flows.steps.retrain import retrain
from flows.steps.score import score_coming_week
from flows.steps.train import Trained, train_if_changed
from monitoring.verdict import Verdict
from poplift.lake import LakeError
from poplift.registry import DEMAND
from poplift.settings import Settings, load_settings
from serving.planner.effects import NoEffectTableError
from serving.planner.rules import PlanRules
from training.effects.estimate import EstimateError
from training.effects.observations import ObservationError

BREACH_EVENT = "poplift.monitoring.breach"
STOPPED_EVENT = "poplift.challenger.stopped"
UNANSWERED_EVENT = "poplift.ledger.unanswered"
RESOURCE = {"prefect.resource.id": f"poplift.model.{DEMAND}", "prefect.resource.name": DEMAND}
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


@flow(name="retrain", **RETRIES)
def retrain_flow(cause: str = "schedule") -> str:
    """Train if the evidence says so, and let the gate judge; returns what came of it."""
    done = retrain(load_settings(), get_run_logger().info, cause=cause)
    create_markdown_artifact(
        key="retrain",
        markdown="\n".join(
            [f"## {done.result}", "", f"because of: {cause}", "", *(f"* {r}" for r in done.decision.reasons)]
        ),
        description="Was a new training worth it?",
    )
    if done.trained is not None:
        _training_artifacts(done.trained)
    return done.result


@flow(name="promote")
def promote_flow(who: str = "prefect", why: str = "the gate passed", expected: str = SEEN) -> str:
    """Make the challenger the champion; fails without a passing verdict, or when another is champion than expected."""
    return promote(load_settings(), who=who, why=why, expected=expected).version


@flow(name="release", **RETRIES)
def release_flow() -> str | None:
    """Turn the champion, whoever made it that, into the served release; the watcher of the alias."""
    settings = load_settings()
    try:
        release = refresh_release(settings, get_run_logger().info)
    except NoChampionError as error:
        get_run_logger().info(f"nothing to release yet: {error}")
        return None
    create_markdown_artifact(
        key="release",
        markdown=f"**{release.id}** of model version {release.versions.get('model_version')}\n\n`{release.folder}`",
        description="The release that serving loads.",
    )
    tell_unanswered(read_ledger(settings))
    if ended := challenger.settle(settings, get_run_logger().info):
        tell_stopped(ended)
    return release.id


@flow(name="challenger", **RETRIES)
def challenger_flow() -> str | None:
    """Judge the challenger beside the champion; one that does harm is stopped and demoted. Returns the verdict."""
    settings = load_settings()
    challenger.place_if_wanted(settings, get_run_logger().info, who="challenger flow")
    try:
        ended = challenger.judge(settings, get_run_logger().info, who="challenger flow")
    except challenger.NoChallengerError as error:
        get_run_logger().info(f"nothing to judge: {error}")
        return None
    reasons = list(ended.signed.reasons)
    create_markdown_artifact(
        key="challenger",
        markdown="\n".join([f"## {ended.beside.stage}: {ended.signed.outcome}", *(f"* {r}" for r in reasons)]),
        description="Does the challenger do harm?",
    )
    if ended.is_demoted:
        tell_stopped(ended)
    return ended.signed.outcome


@flow(name="decisions", **RETRIES)
def decisions_flow() -> int:
    """Bring what the API decided since the last run into the lake, each decision once; returns how many."""
    landed = land_logged(load_settings(), get_run_logger().info)
    create_table_artifact(key="decisions", table=[vars(landed)], description="What the decision log brought.")
    return landed.added


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
    tell_breach(verdict)
    return verdict.status


def tell_unanswered(state: LedgerState) -> None:
    """Warn, and emit an event that a team may hang a notification on, when the ledger has a reason for alarm."""
    for reason in state.reasons:
        get_run_logger().warning(reason)
    if state.reasons:
        emit_event(event=UNANSWERED_EVENT, resource=RESOURCE, payload={"reasons": list(state.reasons)})


def tell_stopped(ended: challenger.Ended) -> None:
    """Warn, and emit an event, that a challenger was stopped and demoted."""
    reasons = list(ended.signed.reasons)
    get_run_logger().warning(f"challenger version {ended.beside.version} was stopped: {'; '.join(reasons)}")
    emit_event(event=STOPPED_EVENT, resource=RESOURCE, payload={"version": ended.beside.version, "reasons": reasons})


def tell_breach(verdict: Verdict) -> None:
    """Emit an event for what a new model could answer; the deployment `retrain` is triggered by it."""
    broken = broken_kinds(verdict)
    if broken:
        emit_event(
            event=BREACH_EVENT,
            resource=RESOURCE,
            payload={"broken": ", ".join(broken), "reasons": list(verdict.reasons)},
        )


@flow(name="effects", **RETRIES)
def effects_flow() -> str:
    """Estimate what activations add and serve the effect table; returns the version. Nothing new fits nothing."""
    return _estimate(load_settings())


def _estimate(settings: Settings) -> str:
    fitted = refresh_effects(settings, get_run_logger().info)
    if fitted.averages is not None:
        create_table_artifact(
            key="effects",
            table=json.loads(fitted.averages.round(4).to_json(orient="records")),
            description="What every activation adds per outlet, ppg and week, on average.",
        )
    return fitted.version


@flow(name="plan", **RETRIES)
def plan_flow(budget_usd: float | None = None, rules: dict[str, Any] | None = None) -> Path | None:
    """Estimate effects anew, then choose the coming week's activations; without a budget nothing is spent.

    Where they cannot be estimated, the plan stands on those there are, as long as they are not too old. Returns the
    table's path.
    """
    settings = load_settings()
    try:
        _estimate(settings)
    except (LakeError, ObservationError, EstimateError) as error:
        get_run_logger().warning(f"effects were not estimated anew: {error}")
    given = {} if budget_usd is None else {"budget_usd": budget_usd}
    asked = PlanRules.model_validate_json(json.dumps((rules or {}) | given))
    try:
        planned = plan_coming_week(settings, get_run_logger().info, rules=asked)
    except NoEffectTableError as error:
        get_run_logger().info(f"nothing to plan yet: {error}")
        return None
    create_table_artifact(
        key="plan",
        table=[vars(line) for line in planned.top],
        description="\n".join([planned.headline, *(f"* {note}" for note in planned.notes)]),
    )
    create_link_artifact(
        key="plan-page",
        link=f"http://127.0.0.1:{settings.reports_port}/{planned.page.name}",
        link_text="plan of the week",
        description="Which outlet, which activation, why, what it should bring and what it costs.",
    )
    return planned.table


@flow(name="weekly")
def weekly_flow() -> str:
    """Everything a week needs, in order; returns the monitoring verdict."""
    ingest_flow()
    features_flow()
    retrain_flow(cause="weekly")
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
