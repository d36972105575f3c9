"""Step: train a challenger, let the gate judge it against baselines and champion, register it if it passes."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from feature_repo.catalog import MODEL_FEATURES
from flows.steps.gate import Judged, baselines_of, judge_candidate, seal
from flows.steps.progress import Progress, silent
from poplift import alias_moves, registry
from poplift.code_version import commit, source_digest
from poplift.feature_store import historical_features
from poplift.lake import Lake
from poplift.registry import DEMAND, GOLDEN, Version
from poplift.settings import Settings
from poplift.verdicts import VERDICT
from training.dataset import TrainingSet
from training.gate.finding import Verdict
from training.train import Candidate

GOLDEN_ROWS = 64  # reasons are learnt from them too: more bring no nearer to TreeSHAP
MODEL_CODE = ("poplift", "feature_repo", "training")


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
    lake = Lake(settings.lake_dir, threads=settings.threads)
    profiles = lake.read("outlet_profiles", as_of=as_of).to_pandas() if lake.parts("outlet_profiles") else None
    join = partial(historical_features, settings)
    return dataset.build(sources(lake, as_of=as_of), join=join, as_of=as_of, profiles=profiles)


def already_made(settings: Settings, progress: Progress = silent, *, data: TrainingSet) -> Version | None:
    """The champion or challenger when this data, code, seed and search would only make it again."""
    progress("opening MLflow")
    wanted = _recipe_tags(settings, data)
    for alias in (registry.CHAMPION, registry.CHALLENGER):
        version = registry.by_alias(settings, name=DEMAND, alias=alias)
        if version is not None and all(version.tags.get(key) == value for key, value in wanted.items()):
            return version
    return None


def train_if_changed(settings: Settings, progress: Progress = silent) -> Trained | None:
    """Train a challenger, or None when one was made of exactly this data, code, seed and search before."""
    data = training_set(settings, progress)
    return None if already_made(settings, progress, data=data) else train_challenger(settings, progress, data=data)


def train_challenger(settings: Settings, progress: Progress = silent, *, data: TrainingSet) -> Trained:
    """Train, judge on the held-out weeks, log everything, and register the model as challenger if it passes."""
    from training import model_card
    from training.train import train

    candidate = train(data, settings=settings, progress=progress)
    with tempfile.TemporaryDirectory(prefix="poplift-run-") as name:
        folder = Path(name)
        progress("drawing the model report")
        write_artifacts(candidate, folder, seed=settings.seed)
        progress("gate: every check, and a held-out week recomputed as it was known")
        judged = judge_candidate(settings, candidate, model=DEMAND, files=folder / registry.FILES)
        (folder / VERDICT).write_text(judged.signed.to_json())
        card = model_card.model_card(candidate, judged.signed)
        model_card.write(card, folder)
        progress("logging to MLflow")
        logged = registry.log_run(
            settings,
            run_name=f"lightgbm through week {candidate.model.plan['trained_through_week']}",
            params=candidate.params(),
            metrics={**candidate.metrics(), **_gate_metrics(judged.verdict)},
            tags={**candidate.tags(), **_recipe_tags(settings, data), **_verdict_tags(judged), "commit": commit()},
            artifacts=folder,
            model=candidate.model.boosters["transactions"],
            input_example=data.frame[list(MODEL_FEATURES)].head(5),
            register_as=DEMAND if judged.verdict.is_pass else None,
            description=model_card.description(card),
        )
    if logged.version is not None:
        alias_moves.point(
            settings,
            model=DEMAND,
            alias=registry.CHALLENGER,
            version=logged.version,
            who="train",
            why="the gate passed",
            judged=alias_moves.Judged(judged.signed.outcome, judged.signed.sha256),
        )
    return Trained(judged.verdict, logged.version, logged.run_id, candidate.metrics(), candidate)


def propose_simpler_model(settings: Settings, progress: Progress = silent, *, trained: Trained) -> Verdict:
    """Put the Poisson GLM forward as challenger of the model just trained; its run keeps the gate's answer.

    A simpler model that is as good should win; one that is worse must be seen to be refused.
    """
    from training.gate.contender import of_mean
    from training.gate.judge import judge

    progress("gate")
    cells = trained.candidate.evaluation.cells
    verdict = judge(
        cells,
        challenger=of_mean(cells["poisson_glm"].to_numpy("float64")),
        baselines={name: values for name, values in baselines_of(cells).items() if name != "poisson_glm"},
        champion=of_mean(cells["demand"].to_numpy("float64")),
        seed=settings.seed,
    )
    judged = seal(
        settings, verdict, model=DEMAND, champion=None, about={"files": {}, "rival": "the model just trained"}
    )
    with tempfile.TemporaryDirectory(prefix="poplift-run-") as folder:
        (Path(folder) / VERDICT).write_text(judged.signed.to_json())
        registry.log_run(
            settings,
            run_name="poisson glm",
            params={"recipe": "poisson_glm"},
            metrics=_gate_metrics(verdict),
            tags=_verdict_tags(judged),
            artifacts=Path(folder),
        )
    return verdict


def write_artifacts(candidate: Candidate, folder: Path, *, seed: int) -> None:
    """The candidate's report, tables and model files, and the rows a release is checked with."""
    candidate.write_artifacts(folder)
    rows = candidate.training_set.frame.sample(GOLDEN_ROWS, random_state=seed)[list(MODEL_FEATURES)]
    rows.to_json(folder / registry.FILES / GOLDEN, orient="records", double_precision=15)


def _recipe_tags(settings: Settings, data: TrainingSet) -> dict[str, str]:
    return {
        "data_digest": str(data.pins["data_digest"]),
        "code_digest": source_digest(MODEL_CODE),
        "seed": str(settings.seed),
        "search_trials": str(settings.search_trials),
        "threads": str(settings.threads),
    }


def _verdict_tags(judged: Judged) -> dict[str, str]:
    return {**judged.signed.tags(), "gate_reasons": "; ".join(judged.verdict.reasons)[:4000]}


def _gate_metrics(verdict: Verdict) -> dict[str, float]:
    return {f"gate_{name}": value for name, value in verdict.figures.items()}
