"""Step: train a challenger, let the gate judge it against baselines and champion, register it if it passes."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from feature_repo.catalog import MODEL_FEATURES
from flows.steps.progress import Progress, silent
from poplift import registry
from poplift.code_version import commit, source_digest
from poplift.feature_store import historical_features
from poplift.lake import Lake
from poplift.registry import Version
from poplift.settings import Settings
from training.dataset import TrainingSet
from training.gate import Verdict
from training.train import Candidate

MODEL = "demand"
GOLDEN = "golden_rows.json"
REPORT = "report.html"
GOLDEN_ROWS = 20
MODEL_CODE = ("poplift", "feature_repo", "training")
BASELINES = ("all_zero", "mean_4w", "mean_13w", "mean_all", "seasonal_naive", "poisson_glm")


@dataclass(frozen=True)
class Trained:
    """What a training ended in: `version` is the registered one, None when the gate refused."""

    verdict: Verdict
    version: str | None
    run_id: str
    metrics: Mapping[str, float]
    candidate: Candidate


def training_set(settings: Settings, progress: Progress = silent) -> TrainingSet:
    """The point-in-time training set as known at business time."""
    from feature_repo.build import sources
    from training import dataset

    progress("point-in-time join")
    as_of = settings.now()
    tables = sources(Lake(settings.lake_dir, threads=settings.threads), as_of=as_of)
    join = partial(historical_features, settings)
    return dataset.build(tables, join=join, as_of=as_of)


def already_made(settings: Settings, progress: Progress = silent, *, data: TrainingSet) -> Version | None:
    """The champion or challenger when this data, code, seed and search would only make it again."""
    progress("opening MLflow")
    wanted = _recipe_tags(settings, data)
    for alias in (registry.CHAMPION, registry.CHALLENGER):
        version = registry.by_alias(settings, name=MODEL, alias=alias)
        if version is not None and all(version.tags.get(key) == value for key, value in wanted.items()):
            return version
    return None


def train_if_changed(settings: Settings, progress: Progress = silent) -> Trained | None:
    """Train a challenger, or None when one was made of exactly this data, code, seed and search before."""
    data = training_set(settings, progress)
    return None if already_made(settings, progress, data=data) else train_challenger(settings, progress, data=data)


def train_challenger(settings: Settings, progress: Progress = silent, *, data: TrainingSet) -> Trained:
    """Train, judge on the held-out weeks, log everything, and register the model as challenger if it passes."""
    from training.train import train

    candidate = train(data, settings=settings, progress=progress)
    progress("gate")
    verdict = judge_candidate(settings, candidate)
    progress("logging to MLflow")
    with tempfile.TemporaryDirectory(prefix="poplift-run-") as folder:
        write_artifacts(candidate, verdict, Path(folder), seed=settings.seed)
        logged = registry.log_run(
            settings,
            run_name=f"lightgbm through week {candidate.model.plan['trained_through_week']}",
            params=candidate.params(),
            metrics={**candidate.metrics(), **_gate_metrics(verdict)},
            tags={**candidate.tags(), **_recipe_tags(settings, data), **_verdict_tags(verdict), "commit": commit()},
            artifacts=Path(folder),
            model=candidate.model.boosters["transactions"],
            input_example=data.frame[list(MODEL_FEATURES)].head(5),
            register_as=MODEL if verdict.is_pass else None,
        )
    if logged.version is not None:
        registry.set_alias(settings, name=MODEL, alias=registry.CHALLENGER, version=logged.version)
    return Trained(verdict, logged.version, logged.run_id, candidate.metrics(), candidate)


def judge_candidate(settings: Settings, candidate: Candidate) -> Verdict:
    """The gate on the held-out weeks, the champion forecasting the same cells if there is one."""
    from training import gate
    from training.demand import load

    cells = candidate.evaluation.cells
    held_out = candidate.training_set.frame.loc[cells.index]
    champion = registry.by_alias(settings, name=MODEL, alias=registry.CHAMPION)
    forecast = None
    if champion is not None:
        with registry.model_files(settings, champion) as folder:
            forecast = load(folder).predict_heads(held_out)["transactions"]
    return gate.judge(
        cells,
        challenger=cells["demand"].to_numpy("float64"),
        baselines=_baselines(cells),
        champion=forecast,
        seed=settings.seed,
    )


def propose_simpler_model(settings: Settings, progress: Progress = silent, *, trained: Trained) -> Verdict:
    """Put the Poisson GLM forward as challenger of the model just trained; its run keeps the gate's answer.

    A simpler model that is as good should win; one that is worse must be seen to be refused.
    """
    from training import gate

    progress("gate")
    cells = trained.candidate.evaluation.cells
    baselines = {name: values for name, values in _baselines(cells).items() if name != "poisson_glm"}
    verdict = gate.judge(
        cells,
        challenger=cells["poisson_glm"].to_numpy("float64"),
        baselines=baselines,
        champion=cells["demand"].to_numpy("float64"),
        seed=settings.seed,
    )
    with tempfile.TemporaryDirectory(prefix="poplift-run-") as folder:
        (Path(folder) / "verdict.json").write_text(_verdict_json(verdict))
        registry.log_run(
            settings,
            run_name="poisson glm",
            params={"recipe": "poisson_glm"},
            metrics=_gate_metrics(verdict),
            tags=_verdict_tags(verdict),
            artifacts=Path(folder),
        )
    return verdict


def write_artifacts(candidate: Candidate, verdict: Verdict, folder: Path, *, seed: int) -> None:
    """The candidate's report, tables and model files, the verdict, and the rows a release is checked with."""
    candidate.write_artifacts(folder)
    (folder / "verdict.json").write_text(_verdict_json(verdict))
    rows = candidate.training_set.frame.sample(GOLDEN_ROWS, random_state=seed)[list(MODEL_FEATURES)]
    rows.to_json(folder / registry.FILES / GOLDEN, orient="records", double_precision=15)


def _baselines(cells: pd.DataFrame) -> dict[str, np.ndarray]:
    return {name: cells[name].to_numpy("float64") for name in BASELINES if name in cells}


def _recipe_tags(settings: Settings, data: TrainingSet) -> dict[str, str]:
    return {
        "data_digest": str(data.pins["data_digest"]),
        "code_digest": source_digest(MODEL_CODE),
        "seed": str(settings.seed),
        "search_trials": str(settings.search_trials),
        "threads": str(settings.threads),
    }


def _verdict_tags(verdict: Verdict) -> dict[str, str]:
    return {"gate": verdict.outcome, "gate_reasons": "; ".join(verdict.reasons)[:4000]}


def _gate_metrics(verdict: Verdict) -> dict[str, float]:
    return {f"gate_{name}": value for name, value in verdict.figures.items()}


def _verdict_json(verdict: Verdict) -> str:
    return json.dumps({"outcome": verdict.outcome, "reasons": verdict.reasons, "figures": verdict.figures}, indent=1)
