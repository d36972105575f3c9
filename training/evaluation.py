"""How good a model is on weeks it never saw: every score, every segment, and paired comparisons with intervals."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from poplift.statistics import Interval, block_bootstrap, poisson_deviance
from training.demand import QUANTILES, DemandModel
from training.metrics import coverage, jittered, naive_scale, pinball, scores
from training.outlet_groups import outlet_groups

MODEL = "demand"
SIZE_CLASSES = ("small", "middle", "large")
NEW = "new"  # an outlet or ppg without a training week


@dataclass(frozen=True)
class Evaluation:
    """The held-out cells with every forecast, and what was measured on them.

    `cells` has keys, week, plan, labels, slices, groups of outlets and one column per forecast (`forecasts` names
    them, the model first).
    `table` is forecast x score, `segments` segment x value x score, `versus` the relative change of deviance.
    """

    cells: pd.DataFrame
    forecasts: tuple[str, ...]
    table: pd.DataFrame
    segments: pd.DataFrame
    versus: dict[str, Interval]
    bias: Interval
    interval: dict[str, float]
    coverage: Interval
    unavailable: dict[str, str]


def evaluate(
    model: DemandModel,
    *,
    held_out: pd.DataFrame,
    history: pd.DataFrame,
    baselines: dict[str, np.ndarray],
    unavailable: dict[str, str],
    seed: int,
    draws: int = 2000,
) -> Evaluation:
    """Score the model and `baselines` (forecasts aligned to `held_out`) on the same cells.

    `history` holds the training weeks: it gives the scale of RMSSE and the size classes of outlets and ppgs.
    """
    heads = model.predict_heads(held_out)
    cells = _cells(held_out, history).assign(**{MODEL: heads["transactions"], **baselines})
    scale = naive_scale(history, cells)
    names = (MODEL, *baselines)
    actual = cells["transactions"].to_numpy("float64")
    settled = partial(
        block_bootstrap,
        outlet=cells["outlet_id"].to_numpy(),
        week=cells["week"].to_numpy(),
        draws=draws,
        seed=seed,
    )
    loss = {n: poisson_deviance(actual, cells[n].to_numpy("float64")) for n in names}
    covered = coverage(actual, heads["transactions_q10"], heads["transactions_q90"], seed=seed)
    return Evaluation(
        cells=cells,
        forecasts=names,
        table=pd.DataFrame({n: scores(cells, cells[n].to_numpy(), scale=scale) for n in names}).T,
        segments=by_segment(cells, names, scale=scale),
        versus={n: settled(np.column_stack([loss[MODEL], loss[n]]), statistic=_change) for n in baselines},
        bias=settled(np.column_stack([cells[MODEL], actual]), statistic=_change),
        interval=_interval_scores(actual, heads, covered, seed=seed),
        coverage=settled(np.column_stack([covered, np.ones(len(covered))]), statistic=_share),
        unavailable=unavailable,
    )


def _change(sums: np.ndarray) -> np.ndarray:
    """Relative change of the first sum against the second."""
    result: np.ndarray = sums[..., 0] / sums[..., 1] - 1.0
    return result


def _share(sums: np.ndarray) -> np.ndarray:
    result: np.ndarray = sums[..., 0] / sums[..., 1]
    return result


def by_segment(cells: pd.DataFrame, names: tuple[str, ...], *, scale: np.ndarray) -> pd.DataFrame:
    """Every score of every forecast within each value of each segment; rows carry the number of cells and baskets."""
    rows = []
    for segment in ("promoted", "activation", "price", "outlet_size", "ppg_size"):
        for value, part in cells.groupby(segment, sort=True):
            rows_of = cells.index.get_indexer(part.index)
            for name in names:
                point = scores(part, part[name].to_numpy("float64"), scale=scale[rows_of])
                head = {"segment": segment, "value": value, "forecast": name, "cells": len(part)}
                rows.append({**head, "transactions": float(part["transactions"].sum()), **point})
    return pd.DataFrame(rows)


def _cells(held_out: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    display, mailer = held_out["planned_display"] > 0, held_out["planned_mailer"] > 0
    columns = ["outlet_id", "ppg_id", "week", "planned_display", "planned_mailer", "transactions", "units"]
    groups = outlet_groups(history)
    cells = held_out[[*columns, "plan_depth"]].assign(
        promoted=np.where(display | mailer, "promoted", "not promoted"),
        activation=np.select([display & mailer, display, mailer], ["display and mailer", "display", "mailer"], "none"),
        price=np.where(held_out["plan_depth"] >= 0.1, "cut of 10 % or more", "no cut"),
        outlet_size=held_out["outlet_id"].map(_size_class(history, "outlet_id")).fillna(NEW),
        outlet_age=np.where(held_out["outlet_id"].isin(groups.index), "known", NEW),
        ppg_size=held_out["ppg_id"].map(_size_class(history, "ppg_id")).fillna(NEW),
    )
    return cells.join(groups, on="outlet_id").fillna(dict.fromkeys(groups.columns, NEW))


def _size_class(history: pd.DataFrame, key: str) -> pd.Series:
    """Thirds by rank of transactions: the same number of outlets (or ppgs) in each class."""
    rank = history.groupby(key)["transactions"].sum().rank(method="first", pct=True)
    return pd.cut(rank, [0, 1 / 3, 2 / 3, 1], labels=list(SIZE_CLASSES)).astype(str)


def _interval_scores(
    actual: np.ndarray, heads: dict[str, np.ndarray], covered: np.ndarray, *, seed: int
) -> dict[str, float]:
    noisy = jittered(actual, seed=seed)
    below = float((noisy < heads["transactions_q10"]).mean())
    return {
        "coverage": float(covered.mean()),
        "share_below": below,
        "share_above": float(1.0 - covered.mean() - below),
        **{f"pinball_{head[-3:]}": pinball(noisy, heads[head], level=lv) for head, lv in QUANTILES.items()},
    }
