"""The whole loop on real data in one go, and a summary whose every figure comes from this very run."""

import contextlib
import importlib
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from flows.api_process import free_port, running_api
from flows.console import Console
from flows.steps.features import refresh_features
from flows.steps.ingest import ingest_events
from flows.steps.monitor import monitor
from flows.steps.promote import promote
from flows.steps.release import refresh_release
from flows.steps.score import score_coming_week
from flows.steps.train import (
    Trained,
    propose_simpler_model,
    train_challenger,
    training_set,
    unchanged_champion,
)
from poplift.settings import Settings

if TYPE_CHECKING:
    from training.dataset import TrainingSet

OUTLETS_ASKED = 3
SHOWN_PER_OUTLET = 2


def run_demo(settings: Settings) -> None:
    """Raw lines to a served, monitored recommendation; a second run finds everything done and is quick."""
    console, started = Console(), time.perf_counter()
    warm = threading.Thread(target=_import_libraries, daemon=True)
    warm.start()
    console.ingest(console.step("Ingest and validate", ingest_events, settings))
    warm.join()
    console.features(console.step("Features, feast apply, materialise", refresh_features, settings))
    data: TrainingSet = console.step("Point-in-time training set", training_set, settings)
    console.say(f"  {data.pins['rows']:,} rows, weeks {data.pins['first_week']} to {data.pins['last_week']}")
    _train_and_promote(settings, console, data)
    release = console.step("Build and verify the release", refresh_release, settings)
    scores: Path = console.step("Score the coming week in batch", score_coming_week, settings)
    verdict = console.step("Drift and performance reports", monitor, settings, data=data)
    answers, seconds = console.step("Serve over HTTP and ask for recommendations", _ask, settings)
    _recommendations(console, answers)
    console.verdict(verdict, settings.reports_dir)
    console.say(f"\n[bold]Done in {time.perf_counter() - started:.0f} s.[/]")
    for label, value in (
        ("release", release.folder),
        ("coming week, every candidate", scores),
        ("answers took", ", ".join(f"{1000 * s:.0f} ms" for s in seconds) + " over HTTP, features read online"),
        ("next", "make up    # API, MLflow, Prefect and Feast UIs and the reports"),
    ):
        console.terminal.print(f"  {label:<30} {value}", markup=False, soft_wrap=True)


def _import_libraries() -> None:
    """The imports of later steps, half a minute of one core, while DuckDB works without the interpreter."""
    for library in ("feast", "mlflow.lightgbm", "sklearn.linear_model", "optuna", "matplotlib.pyplot", "evidently"):
        importlib.import_module(library)


def _train_and_promote(settings: Settings, console: Console, data: "TrainingSet") -> None:
    if unchanged_champion(settings, data) is not None:
        console.trained(None)
        return
    trained: Trained = console.step(
        "Train, cross-validate, judge, log to MLflow", train_challenger, settings, data=data
    )
    console.trained(trained)
    if trained.version is None:
        console.say("  the champion stays")
        return
    refused = console.step("A simpler challenger at the gate", propose_simpler_model, settings, trained=trained)
    console.gate("Gate on the Poisson GLM", refused)
    promote(settings, who="demo", why="the gate passed")
    console.say(f"  promoted: demand version {trained.version} is champion")


def _ask(settings: Settings, progress: Any) -> tuple[list[dict[str, Any]], list[float]]:
    """Recommendations for the first managed outlets that have one, asked of a real server over HTTP."""
    answers, seconds = [], []
    with contextlib.ExitStack() as stack:
        progress("starting the API")
        client = stack.enter_context(running_api(settings, port=free_port()))
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

    trend = pd.read_parquet(settings.features_dir / "outlet_trend" / "features.parquet")
    newest = trend[trend["event_timestamp"] == trend["event_timestamp"].max()]
    busiest = newest.nlargest(OUTLETS_ASKED, "outlet_baskets_13w")
    return [str(outlet) for outlet in busiest["outlet_id"]]


def _recommendations(console: Console, answers: list[dict[str, Any]]) -> None:
    rows = []
    for answer in answers:
        for item in answer["recommendations"]:
            chosen = item["recommended"]
            rows.append(
                [
                    f"{answer['outlet_id']} {item['ppg_id']}",
                    "none: " + item["abstained_because"] if item["abstained"] else chosen["activation_name"],
                    f"{chosen['transactions']:.2f}",
                    f"{chosen['predicted_gain']:+.2f}",
                    "; ".join(reason["text"] for reason in item["reasons"][:1]),
                ]
            )
    columns = ["outlet and ppg", "recommended", "transactions", "predicted gain", "first reason"]
    console.table("Recommendations for the coming week", columns, rows)
    if answers:
        console.terminal.print(f"  {answers[0]['basis_note']}", markup=False)
