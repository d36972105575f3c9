"""The checks that ask the model itself: driver response, point in time, generalisation, cost."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.demand import DemandModel
from training.gate import cost, generalisation, knowledge, response
from training.gate.contender import MEAN
from training.gate.finding import Finding
from training.gate.resampling import Resampling


@dataclass(frozen=True)
class Subject:
    """A model and the size of its files in bytes."""

    model: DemandModel
    size: int

    def mean(self, rows: pd.DataFrame) -> np.ndarray:
        """Forecast transactions of rows with features."""
        only = DemandModel({MEAN: self.model.boosters[MEAN]}, self.model.plan)
        return only.predict_heads(rows)[MEAN]

    def answer(self, rows: pd.DataFrame) -> Callable[[], object]:
        """A call that answers these rows with every head, as serving would."""
        return lambda: self.model.predict_heads(rows)


def examine(
    challenger: Subject,
    champion: Subject | None,
    *,
    frame: pd.DataFrame,
    forecast: np.ndarray,
    known: Callable[[pd.Timestamp], pd.DataFrame],
    seed: int,
    clock: Callable[[], float],
) -> list[Finding]:
    """Findings about `challenger`; `frame` is its whole training set, held-out weeks included, and `forecast` its mean
    of the held-out rows.

    `known` gives the features as of a decision instant, recomputed from what the lake knew then; one held-out week,
    drawn with `seed`, is audited. `clock` counts seconds.
    """
    through = int(challenger.model.plan["trained_through_week"])
    held_out = frame[frame["week"] > through]
    weeks = held_out["week"].unique()
    learnt = frame[(frame["week"] <= through) & (frame["week"] > through - len(weeks))]
    audited = held_out[held_out["week"] == np.random.default_rng(seed).choice(weeks)]
    few = held_out.head(cost.ROWS)
    costs = [
        cost.measure(subject.answer(few), size=subject.size, clock=clock)
        for subject in (challenger, champion)
        if subject is not None
    ]
    return [
        generalisation.check_generalisation(
            learnt,
            held_out,
            on_learnt=challenger.mean(learnt),
            on_held_out=forecast,
            resampling=Resampling(seed),
        ),
        response.check_response(challenger.mean, held_out, seed=seed),
        knowledge.check_point_in_time(
            challenger.mean,
            audited,
            known(audited["event_timestamp"].iloc[0]),
            features=tuple(challenger.model.plan["features"]),
        ),
        cost.check_cost(costs[0], costs[1] if len(costs) > 1 else None),
    ]
