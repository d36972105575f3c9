"""A second opinion by econml: doubly robust effects of single activations against none, on the ppg alone."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poplift.activation import CANDIDATES, Activation
from training.effects.estimate import Estimate
from training.effects.nuisances import BOOSTING, block_of_week, cell_level, controls
from training.effects.observations import Flags, Floats
from training.effects.response import treatments

FEWEST_CELLS = 300  # of an activation; with fewer a doubly robust mean is mostly its propensities
MOST_CELLS = 20_000
NEAR = 0.03  # depth that still counts as the candidate's


@dataclass(frozen=True)
class Opinion:
    """Gross gain of the ppg itself per cell: ours and econml's on the same cells, with econml's unclustered error."""

    activation: str
    cells: int
    ours: float
    econml: float
    econml_error: float


def second_opinion(
    estimate: Estimate, *, seed: int, threads: int, activations: tuple[Activation, ...] = CANDIDATES[1:4]
) -> tuple[Opinion, ...]:
    """The LinearDRLearner of econml with LightGBM nuisances cross-fitted by blocks of weeks, for what ran.

    Its outcome is transactions freed of what earlier weeks and other ppgs left behind. The two differ where the effect
    is not the same for cells alike, and econml's errors ignore that outlets and weeks hang together.
    """
    observations = estimate.response.observations
    lift, effect = estimate.response.effect(estimate.parameters)
    freed = np.where(observations.observed, estimate.demand * np.exp(-effect), 0.0)
    known = controls(observations, freed, cell_level(freed, estimate.usable))
    outcome = estimate.demand * np.exp(lift - effect)
    block = np.broadcast_to(block_of_week(observations.shape[0])[:, None, None], observations.shape)
    plain = estimate.usable & (np.abs(observations.treatment).max(axis=-1) < NEAR)
    random, made = np.random.default_rng([seed, 6]), []
    for activation, treatment in zip(activations, treatments(activations), strict=True):
        ran = estimate.usable & (np.abs(observations.treatment - treatment).max(axis=-1) < NEAR)
        if ran.sum() < FEWEST_CELLS or plain.sum() < FEWEST_CELLS:
            continue
        asked = np.flatnonzero(ran | plain)
        asked = np.sort(random.choice(asked, min(len(asked), MOST_CELLS), replace=False))
        is_run = ran.ravel()[asked]
        mean, error = _doubly_robust(
            outcome.ravel()[asked],
            is_run,
            known.reshape(-1, known.shape[-1])[asked],
            block=block.ravel()[asked],
            seed=seed,
            threads=threads,
        )
        each = estimate.response.candidate_lift(estimate.parameters, (activation,))[..., 0]
        ours = (estimate.base * np.expm1(each)).ravel()[asked].mean()
        made.append(Opinion(activation.name, int(is_run.sum()), float(ours), mean, error))
    return tuple(made)


def _doubly_robust(
    outcome: Floats, is_run: Flags, known: Floats, *, block: NDArray[np.int64], seed: int, threads: int
) -> tuple[float, float]:
    from econml.dr import LinearDRLearner
    from lightgbm import LGBMClassifier, LGBMRegressor

    shared = {name: value for name, value in BOOSTING.items() if name != "feature_pre_filter"}
    settings = {**shared, "n_estimators": 60, "min_child_samples": 50, "random_state": seed, "n_jobs": threads}
    folds = [(np.flatnonzero(block % 2 != k), np.flatnonzero(block % 2 == k)) for k in (0, 1)]
    learner = LinearDRLearner(
        model_propensity=LGBMClassifier(**settings),
        model_regression=LGBMRegressor(**settings),
        min_propensity=0.02,
        cv=folds,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's and statsmodels' notes to whoever calls them directly
        learner.fit(outcome, is_run.astype(int), X=None, W=known)
        found = learner.ate_inference()
    return float(np.ravel(found.mean_point)[0]), float(np.ravel(found.stderr_mean)[0])
