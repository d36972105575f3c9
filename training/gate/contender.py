"""A model as the gate sees it: its forecasts of the held-out cells, and the last week it was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.demand import DemandModel

MEAN, LOW, HIGH = "transactions", "transactions_q10", "transactions_q90"


@dataclass(frozen=True)
class Contender:
    """Raw output of every head that it has, aligned to the cells; `trained_through` is None for what learns nothing."""

    heads: Mapping[str, np.ndarray]
    trained_through: int | None = None

    @property
    def mean(self) -> np.ndarray:
        """Forecast mean of transactions."""
        return self.heads[MEAN]

    def at(self, rows: np.ndarray) -> "Contender":
        """The same contender on some of the cells."""
        return Contender({head: values[rows] for head, values in self.heads.items()}, self.trained_through)


def of_model(model: DemandModel, held_out: pd.DataFrame) -> Contender:
    """A demand model's answer to the held-out rows."""
    return Contender(model.predict_heads(held_out), int(model.plan["trained_through_week"]))


def of_mean(mean: np.ndarray, trained_through: int | None = None) -> Contender:
    """A forecast that is only a mean."""
    return Contender({MEAN: mean}, trained_through)
