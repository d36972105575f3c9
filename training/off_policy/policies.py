"""The policies that another one has to beat, as probabilities over the candidates of every row."""

import numpy as np
from numpy.typing import NDArray

from poplift.confidence import Floats


def none(rows: int, *, candidates: int) -> Floats:
    """Nothing is ever run; candidate 0 is `none`."""
    return always(np.zeros(rows, dtype=np.intp), candidates=candidates)


def all_on(rows: int, *, candidates: int, on: int) -> Floats:
    """Candidate `on` is run everywhere."""
    return always(np.full(rows, on, dtype=np.intp), candidates=candidates)


def random_at_budget(rows: int, *, candidates: int, budget: float) -> Floats:
    """A share `budget` of the rows, drawn at random, runs one of the activations, each as likely."""
    return np.tile(np.array([1 - budget, *[budget / (candidates - 1)] * (candidates - 1)]), (rows, 1))


def volume_ranked(volume: Floats, week: NDArray[np.generic], *, candidates: int, budget: float, on: int) -> Floats:
    """In every week the share `budget` of the rows that sell most runs candidate `on`."""
    chosen = np.zeros(len(volume), dtype=np.intp)
    for of in np.unique(week):
        rows = np.flatnonzero(week == of)
        best = rows[np.argsort(-volume[rows], kind="stable")[: round(budget * len(rows))]]
        chosen[best] = on
    return always(chosen, candidates=candidates)


def always(chosen: NDArray[np.intp], *, candidates: int) -> Floats:
    """A plan: what it says, with certainty; last week's plan is one."""
    policy = np.zeros((len(chosen), candidates))
    policy[np.arange(len(chosen)), chosen] = 1.0
    return policy
