"""No harm to a part: the challenger's deviance within every slice against the champion's, or the best baseline's."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from poplift.statistics import Interval, poisson_deviance
from training.gate.finding import Finding, Outcome, bounds, percent
from training.gate.resampling import Resampling, changes, masked_pairs

CHECK = "slices"
SLICES = ("promoted", "activation", "price", "outlet_size", "outlet_age", "outlet_format", "ppg_size")
MOST_HARM = 0.02  # rise of deviance within a slice
LEAST_WEEKS, LEAST_OUTLETS, LEAST_TRANSACTIONS = 6, 5, 200  # below that a slice is named and not judged


def check_slices(
    cells: pd.DataFrame, *, challenger: np.ndarray, reference: np.ndarray, name: str, resampling: Resampling
) -> list[Finding]:
    """One finding for every slice, and one that sums them up; `name` is the reference's.

    Their intervals hold together at 95 % (sup-t), since with many slices one would look harmed by chance. Surely more
    than MOST_HARM refuses; an estimate above it that may be chance leaves the verdict open.
    """
    actual = cells["transactions"].to_numpy("float64")
    large, thin = _slices(cells)
    if not large:
        return [Finding(CHECK, "not enough evidence", "no slice is large enough to be judged")]
    columns = masked_pairs(
        poisson_deviance(actual, challenger), poisson_deviance(actual, reference), [mask for _, mask in large]
    )
    intervals = resampling.together(cells, columns, changes)
    found = [_finding(said, interval) for (said, _), interval in zip(large, intervals, strict=True)]
    worst = max(zip(large, intervals, strict=True), key=lambda pair: pair[1].estimate)
    said = f"no harm against {name} in {len(large)} slices; least gain {percent(worst[1])} where {worst[0][0]}"
    if thin:
        said += f"; too thin to judge: {', '.join(thin)}"
    absent = [column for column in SLICES if column not in cells]
    if absent:
        said += f"; not in the data: {', '.join(absent)}"
    clean = all(finding.outcome == "pass" for finding in found)
    return [*found, Finding(CHECK, "pass", said, {"slices": float(len(large))}, is_told=clean)]


def _slices(cells: pd.DataFrame) -> tuple[list[tuple[str, np.ndarray]], list[str]]:
    """Slices large enough to judge with their masks, and the names of those that are too thin."""
    large, thin = [], []
    for said, mask in masks(cells, SLICES):
        part = cells[mask]
        enough = (
            part["week"].nunique() >= LEAST_WEEKS
            and part["outlet_id"].nunique() >= LEAST_OUTLETS
            and part["transactions"].sum() >= LEAST_TRANSACTIONS
        )
        if enough:
            large.append((said, mask))
        else:
            thin.append(said)
    return large, thin


def masks(cells: pd.DataFrame, columns: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """Every value of every column that the cells have, with its rows; a name of its own where the value is none."""
    for column in columns:
        if column in cells:
            values = cells[column].astype(str)
            for value in sorted(values.unique()):
                said = value if column == "promoted" else f"{column.replace('_', ' ')} is {value}"
                yield said, (values == value).to_numpy()


def _finding(said: str, interval: Interval) -> Finding:
    outcome: Outcome = "pass"
    told = f"deviance {percent(interval)} where {said}"
    if interval.above(MOST_HARM):
        outcome, told = "refuse", f"{told}, more than {MOST_HARM:.0%} harm"
    elif interval.estimate > MOST_HARM:
        outcome, told = "not enough evidence", f"{told}, harm not ruled out"
    return Finding(CHECK, outcome, told, bounds(f"slice_{key(said)}", interval), is_told=False)


def key(said: str) -> str:
    """A name that a tracker takes as part of a metric's."""
    return "".join(c if c.isalnum() else "_" for c in said)
