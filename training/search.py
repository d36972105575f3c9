"""A small hyper-parameter search on expanding folds that end before the held-out weeks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.catalog import MODEL_FEATURES
from poplift.statistics import poisson_deviance
from training.demand import Recipe, binned, fit_head, mean_objective
from training.folds import Fold


@dataclass(frozen=True)
class Trial:
    """One recipe and its mean Poisson deviance on every fold."""

    recipe: Recipe
    fold_deviances: tuple[float, ...]

    @property
    def deviance(self) -> float:
        """Mean over the folds."""
        return float(np.mean(self.fold_deviances))


@dataclass(frozen=True)
class Search:
    """All trials in the order they ran; the first one is the default recipe."""

    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The trial with the lowest deviance."""
        return min(self.trials, key=lambda trial: trial.deviance)


@dataclass(frozen=True)
class Bench:
    """One fold made ready once: binned training rows and label, validation rows and what was sold."""

    train: Any
    label: np.ndarray
    rows: np.ndarray
    actual: np.ndarray


def benches(
    frame: pd.DataFrame, folds: Sequence[Fold], features: tuple[str, ...] = MODEL_FEATURES
) -> tuple[Bench, ...]:
    """Make every fold ready; binning is a third of a small fit."""
    made = []
    for fold in folds:
        train, validate = fold.train(frame), fold.validate(frame)
        made.append(
            Bench(
                train=binned(train, features),
                label=train["transactions"].to_numpy(dtype="float64"),
                rows=validate[list(features)].to_numpy(dtype="float64"),
                actual=validate["transactions"].to_numpy(dtype="float64"),
            )
        )
    return tuple(made)


def search(
    frame: pd.DataFrame,
    *,
    folds: Sequence[Fold],
    trials: int,
    seed: int,
    threads: int,
    progress: Callable[[str], None] = lambda _: None,
    features: tuple[str, ...] = MODEL_FEATURES,
) -> Search:
    """Try `trials` recipes with a seeded TPE sampler, the default recipe first; `progress` gets a line per trial.

    The number of rounds is not searched blindly: every trial is scored at several, and the best one is its own.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(2, trials // 2)))
    study.enqueue_trial({k: getattr(Recipe(), k) for k in _SPACE})
    bench = benches(frame, folds, features)
    done: list[Trial] = []
    for number in range(1, trials + 1):
        asked = study.ask(_distributions())
        scored = score(Recipe(**asked.params), bench, seed=seed, threads=threads)
        study.tell(asked, scored.deviance)
        done.append(scored)
        best = min(t.deviance for t in done)
        progress(f"trial {number} of {trials}: deviance {scored.deviance:.4f}, best {best:.4f}")
    return Search(tuple(done))


def score(recipe: Recipe, bench: Sequence[Bench], *, seed: int, threads: int) -> Trial:
    """Fit the transactions head on every fold, and keep the number of rounds that is best over all of them."""
    stops = [round(recipe.rounds * share) for share in (0.6, 0.8, 1.0)]
    deviances = np.empty((len(stops), len(bench)))
    for column, fold in enumerate(bench):
        booster = fit_head(
            fold.train, fold.label, objective=mean_objective(recipe), recipe=recipe, seed=seed, threads=threads
        )
        for row, stop in enumerate(stops):
            mean = booster.predict(fold.rows, num_iteration=stop)
            deviances[row, column] = poisson_deviance(fold.actual, mean).mean()
    best = int(deviances.mean(axis=1).argmin())
    chosen = Recipe(**{**recipe.__dict__, "rounds": stops[best]})
    return Trial(chosen, tuple(float(d) for d in deviances[best]))


_SPACE = ("learning_rate", "num_leaves", "min_child_samples", "feature_fraction", "lambda_l2", "tweedie_power")


def _distributions() -> dict[str, object]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    return {
        "learning_rate": FloatDistribution(0.04, 0.09, log=True),
        "num_leaves": IntDistribution(16, 40, log=True),
        "min_child_samples": IntDistribution(150, 600, log=True),
        "feature_fraction": FloatDistribution(0.15, 0.45),
        "lambda_l2": FloatDistribution(0.5, 20.0, log=True),
        "tweedie_power": CategoricalDistribution([1.0, 1.1]),
    }
