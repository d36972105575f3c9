"""The race: the challenger against every baseline and the champion on the same cells, with what they could show."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from poplift.statistics import Interval, poisson_deviance
from training.gate.finding import Finding, Outcome, bounds, percent
from training.gate.resampling import Resampling, changes, detectable

CHECK = "accuracy"


def race(
    cells: pd.DataFrame, *, challenger: np.ndarray, rivals: Mapping[str, np.ndarray], resampling: Resampling
) -> list[Finding]:
    """Relative change of the mean Poisson deviance against every rival, paired; below zero is better.

    It must be surely better than all of them, each at 95 %: a union of alternatives, where asking for all is stricter
    than asking for one and needs no correction (Berger 1982, Technometrics 24). An interval around zero is no
    evidence, and the finding says which gain the cells could have shown.
    """
    actual = cells["transactions"].to_numpy("float64")
    own = poisson_deviance(actual, challenger)
    columns = np.column_stack([c for rival in rivals.values() for c in (own, poisson_deviance(actual, rival))])
    return [
        _finding(name, interval)
        for name, interval in zip(rivals, resampling.each(cells, columns, changes), strict=True)
    ]


def closest(cells: pd.DataFrame, forecasts: Mapping[str, np.ndarray]) -> str:
    """The name of the best of some forecasts."""
    actual = cells["transactions"].to_numpy("float64")
    return min(forecasts, key=lambda name: float(poisson_deviance(actual, forecasts[name]).mean()))


def _finding(name: str, interval: Interval) -> Finding:
    outcome: Outcome = "pass" if interval.below(0.0) else "refuse" if interval.above(0.0) else "not enough evidence"
    least = detectable(interval)
    said = f"deviance {percent(interval)} against {name}"
    if outcome == "not enough evidence":
        said += f"; these cells show a gain of {least:.1%} or more"
    figures = bounds(f"deviance_vs_{name}", interval) | {f"detectable_vs_{name}": least}
    return Finding(CHECK, outcome, said, figures)
