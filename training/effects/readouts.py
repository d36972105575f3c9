"""What experiments found about an activation, taken together with the estimate: the more certain counts for more."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from training.effects.effect_table import MEASURES, Gains

MARGIN = MEASURES.index("margin_usd")


@dataclass(frozen=True)
class Combined:
    """An activation's average over some ppgs before and after their readouts: transactions per outlet, ppg and week."""

    activation: str
    ppg_ids: tuple[str, ...]
    estimated: float
    found: float
    found_error: float
    combined: float
    weight: float  # of the readouts, 0 to 1


def combine(gains: Gains, readouts: pd.DataFrame | None) -> tuple[Gains, tuple[Combined, ...]]:
    """Gains with averages moved to the inverse-variance mean of estimate and readout, over the ppgs of the readout.

    `readouts` has activation, ppg_ids (JSON list), and effect and standard_error per outlet and week of all these ppgs
    together; rows with an error of zero, or an activation or ppg that nothing was estimated of, are left out. Readouts
    of the same ppgs are first pooled the same way (fixed-effect meta-analysis, Hedges and Olkin 1985). Outlets and ppgs
    keep their proportions: an experiment says how much, not where. Other ppgs stay as estimated.
    """
    made: list[Combined] = []
    if readouts is None or readouts.empty:
        return gains, ()
    usable = readouts[(readouts["standard_error"] > 0) & readouts["activation"].isin(set(gains.activations) - {"none"})]
    for (activation, named), rows in usable.groupby(["activation", usable["ppg_ids"].map(_named)], sort=True):
        ids = tuple(json.loads(str(named)))
        moved = _moved(gains, str(activation), ids, rows) if ids and set(ids) <= set(gains.ppgs) else None
        if moved is not None:
            gains = moved[0]
            made.append(moved[1])
    return gains, tuple(made)


def _named(ppg_ids: str) -> str:
    """The list in one spelling, so that readouts of the same ppgs are found."""
    return json.dumps(sorted(set(json.loads(ppg_ids))))


def _moved(gains: Gains, activation: str, ids: tuple[str, ...], rows: pd.DataFrame) -> tuple[Gains, Combined] | None:
    """Gains and averages after readouts of the same ppgs; None where the estimate is zero, with no proportions to keep.

    Every cell moves by its share of the average's move. Its error then loses as much of the average's and takes in
    as much of the readout's: what is the cell's own stays.
    """
    here = (..., np.isin(gains.ppgs, ids), gains.activations.index(activation))
    effect, error = (rows[name].to_numpy("float64") / len(ids) for name in ("effect", "standard_error"))
    precision = float((error**-2).sum())
    found, found_error = float((effect * error**-2).sum() / precision), precision**-0.5
    estimated = float(gains.net[here][0].mean())
    if abs(estimated) < 1e-9:
        return None
    of_average = gains.errors[here][:, 0].mean(axis=(1, 2))
    own_variance = float(of_average @ of_average)
    weight = own_variance / (own_variance + found_error**2)
    part = gains.net[here].copy()
    part[MARGIN] += gains.given[here]  # a cut gives away what it gives away, however much more it sells
    part *= weight / estimated
    net, errors, new = gains.net.copy(), gains.errors.copy(), np.zeros_like(gains.net)
    net[here] += part * (found - estimated)
    errors[here] -= of_average[:, None, None, None] * part
    new[here] = part * found_error
    combined = Combined(
        activation, ids, estimated, found, found_error, weight * found + (1 - weight) * estimated, weight
    )
    return replace(gains, net=net, errors=np.concatenate([errors, new[None]])), combined
