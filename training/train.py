"""The story of a training: search on early weeks, fit, judge on weeks nobody looked at, explain, hand over."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from poplift.settings import Settings
from training.baselines import fit_baselines
from training.dataset import TrainingSet
from training.demand import DemandModel, Recipe, fit, save
from training.drivers import Drivers, explain
from training.error_analysis import ErrorAnalysis, analyse
from training.evaluation import MODEL, Evaluation, evaluate
from training.folds import expanding_folds, holdout_fold
from training.report import render
from training.search import Search, search

FOLDS, FOLD_WEEKS = 2, 5  # as many as the demo's minute allows; the default recipe was found on four


@dataclass(frozen=True)
class Candidate:
    """A trained model with everything that was learned about it; nothing here knows where it will be registered."""

    model: DemandModel
    evaluation: Evaluation
    drivers: Drivers
    errors: ErrorAnalysis
    search: Search
    training_set: TrainingSet

    def metrics(self) -> dict[str, float]:
        """Scores of the model and of every baseline, flat, on the held-out weeks."""
        flat = {
            f"{name}_{score}" if name != MODEL else str(score): float(value)
            for name, row in self.evaluation.table.iterrows()
            for score, value in row.items()
        }
        for name, change in self.evaluation.versus.items():
            flat |= {
                f"deviance_vs_{name}": change.estimate,
                f"deviance_vs_{name}_low": change.low,
                f"deviance_vs_{name}_high": change.high,
            }
        promoted = self.evaluation.segments.query("segment == 'promoted' and forecast == @MODEL")
        flat |= {
            f"{score}_{row['value'].replace(' ', '_')}": float(row[score])
            for _, row in promoted.iterrows()
            for score in ("poisson_deviance", "bias")
        }
        interval = {f"interval_{name}": value for name, value in self.evaluation.interval.items()}
        return {**flat, **interval, "search_deviance": self.search.best.deviance}

    def params(self) -> dict[str, str]:
        """The recipe and what was held out."""
        return {key: str(value) for key, value in self.model.plan["recipe"].items()} | {
            "search_trials": str(len(self.search.trials)),
            "trained_through_week": str(self.model.plan["trained_through_week"]),
            "features": str(len(self.model.plan["features"])),
        }

    def tags(self) -> dict[str, str]:
        """The pins of the data, the feature service and the seed."""
        return {key: str(value) for key, value in self.training_set.pins.items()} | {
            "seed": str(self.model.plan["seed"]),
            "serving_feature_service": str(self.model.plan["feature_service"]),
        }

    def write_artifacts(self, folder: Path) -> None:
        """Write report.html, tables/*.csv and model/ (the files a release is built from) into `folder`."""
        save(self.model, folder / "model")
        tables = folder / "tables"
        tables.mkdir(parents=True, exist_ok=True)
        self.evaluation.table.to_csv(tables / "scores.csv", index_label="forecast")
        self.evaluation.segments.to_csv(tables / "segments.csv", index=False)
        self.drivers.features.to_csv(tables / "drivers.csv", index=False)
        self.errors.worst.to_csv(tables / "errors.csv", index=False)
        self.errors.surprises.to_csv(tables / "surprises.csv", index=False)
        (folder / "report.html").write_text(
            render(
                evaluation=self.evaluation,
                drivers=self.drivers,
                errors=self.errors,
                plan=self.model.plan,
                pins=self.training_set.pins,
            )
        )


def train(
    training_set: TrainingSet, *, settings: Settings, progress: Callable[[str], None] = lambda _: None
) -> Candidate:
    """Search, fit and judge; the held-out weeks are read once, after every choice was made.

    Raises ValueError when there are too few weeks to hold any out.
    """
    split = holdout_fold(training_set.frame)
    past, held_out = split.train(training_set.frame), split.validate(training_set.frame)
    folds = expanding_folds(first=int(past["week"].min()), last=split.train_through, count=FOLDS, horizon=FOLD_WEEKS)
    found = search(
        past,
        folds=folds,
        trials=settings.search_trials,
        seed=settings.seed,
        threads=settings.threads,
        progress=progress,
    )
    progress("fitting the four heads")
    model = _fit(past, found.best.recipe, training_set, settings)
    progress("judging on the held-out weeks")
    baselines = fit_baselines(past, target_weeks=(split.train_through + 1, split.validate_through))
    evaluation = evaluate(
        model,
        held_out=held_out,
        history=past,
        baselines=baselines.predict(held_out),
        unavailable=baselines.unavailable,
        seed=settings.seed,
    )
    progress("explaining")
    drivers = explain(model, held_out, seed=settings.seed)
    return Candidate(model, evaluation, drivers, analyse(evaluation.cells), found, training_set)


def _fit(past: pd.DataFrame, recipe: Recipe, training_set: TrainingSet, settings: Settings) -> DemandModel:
    return fit(
        past,
        recipe=recipe,
        seed=settings.seed,
        threads=settings.threads,
        data_digest=training_set.pins["data_digest"],
    )
