"""The whole loop on real data in one go, and a summary whose every figure comes from this very run."""

import importlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from flows.api_process import free_port, starting_api
from flows.console import Console
from flows.readme_figures import write_figures
from flows.steps.features import refresh_features
from flows.steps.ingest import ingest_events
from flows.steps.monitor import monitor
from flows.steps.progress import Progress
from flows.steps.promote import promote_if_new
from flows.steps.release import refresh_release
from flows.steps.score import score_coming_week
from flows.steps.train import Trained, already_made, propose_simpler_model, train_challenger, training_set
from poplift import registry
from poplift.registry import DEMAND
from poplift.settings import Settings
from training.folds import HOLDOUT_WEEKS

if TYPE_CHECKING:
    from poplift.sources.ingest import IngestReport
    from training.dataset import TrainingSet
    from training.gate.finding import Verdict

OUTLETS_ASKED = 3
SHOWN_PER_OUTLET = 2
REASONS_SHOWN = 2


def run_demo(settings: Settings, *, readme: Path | None = None) -> None:
    """Raw lines to a served, monitored recommendation; a second run finds everything done and is quick.

    With `readme`, the figures of this run replace those between its markers.
    """
    console, started = Console(), time.perf_counter()
    warm = threading.Thread(target=_import_libraries, daemon=True)
    warm.start()
    ingested = console.step("Ingest and validate", ingest_events, settings)
    console.ingest(ingested)
    warm.join()
    console.features(console.step("Features, feast apply, materialise", refresh_features, settings))
    data: TrainingSet = console.step("Point-in-time training set", training_set, settings)
    console.say(f"  {data.pins['rows']:,} rows, weeks {data.pins['first_week']} to {data.pins['last_week']}")
    refused = _train_and_promote(settings, console, data)
    release = console.step("Build and verify the release", refresh_release, settings)
    with starting_api(settings, port=free_port()) as ready:  # it starts while the next steps work
        scores: Path = console.step("Score the coming week in batch", score_coming_week, settings)
        verdict = console.step("Drift and performance reports", monitor, settings, data=data)
        answers, seconds = console.step("Ask the API for recommendations over HTTP", _ask, settings, ready=ready)
    _recommendations(console, answers)
    console.verdict(verdict, settings.reports_dir)
    took = time.perf_counter() - started
    milliseconds = ", ".join(f"{1000 * s:.0f}" for s in seconds)
    console.say(f"\n[bold]Done in {took:.0f} s.[/]")
    for label, value in (
        ("release", release.folder),
        ("coming week, every candidate", scores),
        ("answers over HTTP", f"{milliseconds} ms, features read online"),
        ("next", "make up    # API, MLflow, Prefect and Feast UIs and the reports"),
        ("or", ".venv/bin/poplift effects && .venv/bin/poplift plan --budget 500    # what to run next week, and why"),
    ):
        console.where(f"{label:<30}", value)
    if readme is not None:
        champion = registry.by_alias(settings, name=DEMAND, alias=registry.CHAMPION)
        facts = [*_facts(ingested, champion.metrics if champion else {}, refused)]
        facts.append(
            f"The whole demo took {took:.0f} s after installation; recommendations took {milliseconds} ms over HTTP."
        )
        write_figures(readme, metrics=champion.metrics if champion else {}, facts=facts)


def _facts(ingested: "IngestReport", metrics: Mapping[str, float], refused: "Verdict | None") -> Iterator[str]:
    rows, bad = (sum(getattr(t, name) for t in ingested.tables) for name in ("rows_in", "rows_quarantined"))
    yield f"{rows:,} rows went through their contracts, {bad:,} were quarantined with a rule, column and count."
    yield (
        f"On the {HOLDOUT_WEEKS} held-out weeks the total is {metrics['bias']:+.1%} off, and the 80 % interval covers "
        f"{metrics['interval_coverage']:.1%} of the jittered counts."
    )
    if refused is not None:
        yield f"The gate's answer to a simpler challenger, the Poisson GLM: {refused.outcome} ({refused.reasons[0]})."


def _import_libraries() -> None:
    """The imports of later steps, half a minute of one core, while DuckDB works without the interpreter."""
    for library in ("feast", "mlflow.lightgbm", "sklearn.linear_model", "optuna", "matplotlib.pyplot", "evidently"):
        importlib.import_module(library)


def _train_and_promote(settings: Settings, console: Console, data: "TrainingSet") -> "Verdict | None":
    """Train, judge and promote; returns the gate's answer to a simpler challenger, None when nothing was trained."""
    if console.step("Look for a model of this data and code", already_made, settings, data=data) is not None:
        console.trained(None)
        promote_if_new(settings, who="demo", why="the gate passed")
        return None
    trained: Trained = console.step(
        "Train, cross-validate, judge, log to MLflow", train_challenger, settings, data=data
    )
    console.trained(trained)
    if trained.version is None:
        console.say("  the champion stays")
        return None
    refused: Verdict = console.step(
        "A simpler challenger at the gate", propose_simpler_model, settings, trained=trained
    )
    console.gate("Gate on the Poisson GLM", refused)
    if promote_if_new(settings, who="demo", why="the gate passed") is None:
        console.say("  not promoted: the last monitoring holds it; see the reports")
    else:
        console.say(f"  promoted: demand version {trained.version} is champion")
    return refused


def _ask(
    settings: Settings, progress: Progress, *, ready: Callable[[], httpx.Client]
) -> tuple[list[dict[str, Any]], list[float]]:
    """Recommendations for the busiest outlets, asked of a real server over HTTP, and how long each answer took."""
    answers, seconds = [], []
    progress("waiting for the API")
    client = ready()
    for outlet in _busiest_outlets(settings):
        progress(f"outlet {outlet}")
        began = time.perf_counter()
        answer = client.get(f"/v1/recommendations/{outlet}", params={"limit": SHOWN_PER_OUTLET})
        seconds.append(time.perf_counter() - began)
        if answer.status_code != httpx.codes.OK:
            raise RuntimeError(f"outlet {outlet}: {answer.status_code} {answer.text[:300]}")
        answers.append(answer.json())
    return answers, seconds


def _busiest_outlets(settings: Settings) -> list[str]:
    import pandas as pd

    trend = pd.read_parquet(settings.features_dir / "outlet_trend")
    newest = trend[trend["event_timestamp"] == trend["event_timestamp"].max()].sort_values("created_timestamp")
    busiest = newest.drop_duplicates("outlet_id", keep="last").nlargest(OUTLETS_ASKED, "outlet_baskets_13w")
    return [str(outlet) for outlet in busiest["outlet_id"]]


def _recommendations(console: Console, answers: list[dict[str, Any]]) -> None:
    console.say("\n[bold]Recommendations for the coming week[/]")
    for answer in answers:
        console.say(f"  outlet [bold]{answer['outlet_id']}[/], week of {answer['week_start']}")
        for item in answer["recommendations"]:
            chosen = item["recommended"]
            said = "none, " + item["abstained_because"] if item["abstained"] else chosen["activation_name"]
            console.say(
                f"    {item['rank']}. {item['ppg_id']}: [bold]{said}[/], {chosen['transactions']:.2f} transactions "
                f"expected, {chosen['predicted_gain']:+.2f} against none"
            )
            for reason in item["reasons"][:REASONS_SHOWN]:
                console.say(f"       [dim]{reason['text']}[/]")
    if answers:
        console.line(answers[0]["basis_note"])
