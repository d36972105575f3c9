"""Driver response: a deeper price cut never lowers the forecast, whatever else is planned."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from feature_repo.transformations.planned_activation import INPUTS, REQUESTED, planned_columns
from training.gate.finding import Finding

CHECK = "response"
DEPTHS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
ROWS = 1500
ROUNDING = 1e-9

Predict = Callable[[pd.DataFrame], np.ndarray]


def check_response(predict: Predict, held_out: pd.DataFrame, *, seed: int) -> Finding:
    """Ask for the same rows at ever deeper cuts of their base price; one fall of a mean refuses.

    The plan's features are computed as serving computes them. A metamorphic test: nobody need know the right answer.
    """
    known = held_out[held_out["base_price_13w"] > 0]
    if known.empty:
        return Finding(CHECK, "not enough evidence", "no row has a base price, so no price cut could be asked about")
    rows = known.sample(min(ROWS, len(known)), random_state=seed)
    answers = np.stack([predict(planned_at(rows, depth)) for depth in DEPTHS])
    falls = int((np.diff(answers, axis=0) < -ROUNDING).any(axis=0).sum())
    lift = float(answers[-1].sum() / answers[0].sum() - 1.0)
    figures = {"response_rows": float(len(rows)), "response_falls": float(falls), "response_to_half_price": lift}
    if falls:
        said = f"a deeper price cut lowers the forecast in {falls:,} of {len(rows):,} rows"
        return Finding(CHECK, "refuse", said, figures)
    said = f"a deeper price cut lowers no forecast in {len(rows):,} rows; half the price gives {lift:+.0%}"
    return Finding(CHECK, "pass", said, figures)


def planned_at(rows: pd.DataFrame, depth: float) -> pd.DataFrame:
    """The rows as they would be with a price `depth` (share) below their base price planned."""
    asked = rows.assign(planned_price=rows["base_price_13w"] * (1.0 - depth))
    columns = planned_columns({name: asked[name].to_numpy() for name in (*REQUESTED, *INPUTS)})
    return asked.assign(**{name: values for name, values in columns.items() if name in rows})
