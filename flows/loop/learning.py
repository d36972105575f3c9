"""How the loop learns: the platform's own effects, from the panel as known on the day."""

from collections.abc import Callable

import pandas as pd

from poplift.assumptions import Assumptions
from training.effects.effect_table import effect_table
from training.effects.estimate import estimate
from training.effects.observations import observe

# panel, outlets, calendar → effect table, one row per outlet x ppg x activation
Learn = Callable[[pd.DataFrame, pd.DataFrame, pd.DataFrame], pd.DataFrame]


def learner(*, assumptions: Assumptions, seed: int, threads: int = 1) -> Learn:
    """The effects step of the platform as a function of what is known."""

    def learn(panel: pd.DataFrame, outlets: pd.DataFrame, calendar: pd.DataFrame) -> pd.DataFrame:
        found = estimate(observe(panel, outlets=outlets, calendar=calendar), seed=seed, threads=threads)
        return effect_table(found, assumptions=assumptions).cells

    return learn
