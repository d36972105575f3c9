"""What has to be known beside the effects: expected base demand and expected treatment, cross-fitted by week."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.effects.observations import Flags, Floats, Observations
from training.effects.response import earlier

FOLDS, BLOCK = 2, 6  # weeks are dealt to the folds in blocks, so that neighbours mostly stay together
HISTORY = 4  # weeks of own past that the controls look back on; the first ones are history only
SHRINKAGE = 3.0  # weeks of the expected level of outlet and ppg that a cell's own level is mixed with
ROUNDS = 40
LEAVES = (
    15  # a leaf holds at least this part of the rows, several weeks of all cells, so that no week is learned by heart
)
BOOSTING = {
    "num_leaves": 12,
    "learning_rate": 0.12,
    "max_bin": 63,
    "lambda_l2": 5.0,
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
    "feature_pre_filter": False,
}


@dataclass(frozen=True)
class Nuisances:
    """Expected transactions without activations, `base` (weeks, outlets, ppgs), and targets, `exposure` (..., k)."""

    base: Floats
    exposure: Floats


def block_of_week(weeks: int) -> NDArray[np.int64]:
    """The block of every week."""
    return np.arange(weeks) // BLOCK


def cross_fit(
    observations: Observations,
    *,
    demand: Floats,
    effect: Floats,
    targets: Floats,
    usable: Flags,
    seed: int,
    threads: int,
) -> Nuisances:
    """Nuisances of every cell from models that never saw its week.

    `demand` is sold or latent transactions, `effect` the log-effect it is freed of before it serves as history (a
    first estimate), `targets` (..., k) whose expectation given the controls is wanted. LightGBM, Poisson with the
    cell's level as offset for the base, least squares for the targets.
    """
    import lightgbm

    freed = np.where(observations.observed, demand * np.exp(-effect), 0.0)
    level = cell_level(freed, usable)
    found = controls(observations, freed, level)
    offset = np.log(level)
    base, exposure = np.zeros(observations.shape), np.zeros(targets.shape)
    settings = {**BOOSTING, "seed": seed, "num_threads": threads}
    fold = (block_of_week(observations.shape[0]) % FOLDS)[:, None, None]
    for k in range(FOLDS):
        learn, tell = usable & (fold != k), observations.observed & (fold == k)
        settings["min_data_in_leaf"] = int(learn.sum()) // LEAVES
        data = lightgbm.Dataset(found[learn], params=settings).construct()
        asked = found[tell]
        for target in range(targets.shape[-1]):
            exposure[tell, target] = _mean_model(lightgbm, data, targets[learn, target], settings).predict(asked)
        data.set_label(demand[learn]).set_init_score(offset[learn] + effect[learn])
        parameters = {**settings, "objective": "poisson", "boost_from_average": False}
        booster = lightgbm.train(parameters, data, num_boost_round=ROUNDS)
        base[tell] = np.exp(offset[tell] + booster.predict(asked, raw_score=True))
    drawn = expected_when_drawn(observations)
    if drawn is not None:
        exposure[observations.explored, : len(drawn)] = drawn
    return Nuisances(np.maximum(base, 1e-3), exposure)


def cell_level(freed: Floats, usable: Flags) -> Floats:
    """Mean base demand of every cell in all blocks of weeks but its own, shrunk to outlet times ppg; a cube.

    The own block is left out so that a week is not explained by itself. The others are all used, whatever their fold:
    an imprecise level passes for a reason to promote.
    """
    block = block_of_week(len(freed))
    sums = np.stack([np.where(usable, freed, 0.0)[block == b].sum(axis=0) for b in range(block[-1] + 1)])
    counts = np.stack([usable[block == b].sum(axis=0) for b in range(block[-1] + 1)]).astype(np.float64)
    total, counted = sums.sum(axis=0) - sums, counts.sum(axis=0) - counts
    overall = total.sum(axis=(1, 2)) / np.maximum(counted.sum(axis=(1, 2)), 1.0)
    of_outlet = total.sum(axis=2) / np.maximum(counted.sum(axis=2), 1.0) / np.maximum(overall, 1e-9)[:, None]
    of_ppg = total.sum(axis=1) / np.maximum(counted.sum(axis=1), 1.0)
    level = (total + SHRINKAGE * of_outlet[:, :, None] * of_ppg[:, None, :]) / (counted + SHRINKAGE)
    cube: Floats = np.maximum(level, 1e-3)[block]
    return cube


def controls(observations: Observations, freed: Floats, level: Floats) -> Floats:
    """Controls of every cell, (weeks, outlets, ppgs, c): nothing in them is of the cell's own week but what is given.

    Past sales, freed of activations, of the cell, the outlet and the chain against their level; the level, outlet
    attributes and ppg; coupon, competitors, season, holidays; whether the cell was drawn at random.
    """
    weeks, outlets, ppgs = observations.shape
    seen = np.where(observations.observed, freed, level)  # a week nobody saw says nothing
    lags = [earlier(seen, lag) for lag in range(1, HISTORY + 1)]
    recent = sum(lags[1:], start=lags[0]) / HISTORY
    smooth = sum((0.6**lag * cube for lag, cube in enumerate(lags[1:], start=1)), start=lags[0])
    usual = level + 1e-9
    by_week = [*observations.calendar.T, earlier(observations.calendar[:, 2:], 1)[:, 0]]
    columns = [
        *((lag + 0.5 * usual) / (1.5 * usual) for lag in lags),
        (recent + 0.3 * usual) / (1.3 * usual),
        smooth / usual,
        recent.sum(axis=2, keepdims=True) / usual.sum(axis=2, keepdims=True),
        recent.sum(axis=1, keepdims=True) / usual.sum(axis=1, keepdims=True),
        lags[0].sum(axis=1, keepdims=True) / usual.sum(axis=1, keepdims=True),
        np.log(usual),
        np.log(usual).mean(axis=1, keepdims=True),
        *(attribute[:, None] for attribute in observations.attributes.T),
        np.arange(ppgs, dtype=np.float64),
        observations.coupon,
        earlier(observations.coupon, 1),
        observations.competitor_depth,
        observations.explored.astype(np.float64),
        *(week[:, None, None] for week in by_week),
    ]
    return np.stack([np.broadcast_to(column, (weeks, outlets, ppgs)) for column in columns], axis=-1)


def expected_when_drawn(observations: Observations) -> Floats | None:
    """Expected treatment of a cell that was drawn at random, (COMPONENTS,), by the logged propensities.

    None when nothing was drawn, or the propensities that were logged are not one distribution over activations: then
    the models, which know what was drawn, have to learn it.
    """
    if not observations.explored.any():
        return None
    drawn = np.round(observations.treatment[observations.explored], 6)
    kinds, first, which = np.unique(drawn, axis=0, return_index=True, return_inverse=True)
    propensity = observations.propensity[observations.explored]
    of_kind = propensity[first]
    if not np.allclose(propensity, of_kind[which.ravel()]) or abs(float(of_kind.sum()) - 1) > 0.02:
        return None
    expected: Floats = of_kind @ kinds
    return expected


def _mean_model(lightgbm: Any, data: Any, label: Floats, settings: dict[str, Any]) -> Any:
    data.set_label(label).set_init_score(None)
    return lightgbm.train({**settings, "objective": "l2"}, data, num_boost_round=ROUNDS)
