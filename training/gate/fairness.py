"""Whether some outlets and their shoppers are forecast too high or low as a group, by fairlearn's MetricFrame."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from poplift.statistics import Interval, bias
from training.gate.finding import Finding, Outcome, bounds, percent
from training.gate.resampling import Resampling
from training.gate.slices import LEAST_OUTLETS, LEAST_TRANSACTIONS, key

CHECK = "fairness"
GROUPS = ("outlet_size", "outlet_traffic", "visits_per_shopper", "category_share", "outlet_area", "outlet_format")
MOST_SPREAD = 0.15  # between the bias of the group that is forecast highest and of the one forecast lowest


def check_fairness(cells: pd.DataFrame, *, challenger: np.ndarray, resampling: Resampling) -> list[Finding]:
    """The spread of the bias between the groups of every grouping of outlets that the cells have.

    An outlet that is always forecast too low gets fewer activations and less stock than it deserves. The spread is
    MetricFrame's `difference`; its interval is that of the two groups' difference of bias, together with all other
    pairs of all groupings at 95 % (sup-t). Surely above MOST_SPREAD refuses.
    """
    frames = {column: _frame(cells, challenger, column) for column in GROUPS if column in cells}
    judged = {column: frame for column, frame in frames.items() if len(frame) > 1}
    if not judged:
        return [Finding(CHECK, "not enough evidence", "no grouping of outlets has two groups large enough to compare")]
    pairs = [
        (column, first, second)
        for column, frame in judged.items()
        for first, second in combinations(map(str, frame.index), 2)
    ]
    columns = [c for column, *pair in pairs for group in pair for c in _sums(cells, challenger, column, group)]
    intervals = dict(zip(pairs, resampling.together(cells, np.column_stack(columns), _difference), strict=True))
    found = [_finding(column, frame, intervals) for column, frame in judged.items()]
    spreads = {column: float(frame.max() - frame.min()) for column, frame in judged.items()}
    widest = max(spreads, key=lambda column: spreads[column])
    absent = [column for column in GROUPS if column not in judged]
    said = f"bias differs by at most {spreads[widest]:.1%} between groups of outlets ({_named(widest)})"
    if absent:
        said += f"; not in the data: {', '.join(absent)}"
    clean = all(finding.outcome == "pass" for finding in found)
    return [*found, Finding(CHECK, "pass", said, {"fairness_widest_spread": spreads[widest]}, is_told=clean)]


def _frame(cells: pd.DataFrame, challenger: np.ndarray, column: str) -> pd.Series:
    """Bias of every group that is large enough."""
    from fairlearn.metrics import MetricFrame

    groups = cells[column].astype(str)
    frame = MetricFrame(
        metrics=bias,
        y_true=cells["transactions"].to_numpy("float64"),
        y_pred=challenger,
        sensitive_features=groups.to_numpy(),
    ).by_group
    sold, outlets = cells.groupby(groups)["transactions"].sum(), cells.groupby(groups)["outlet_id"].nunique()
    large = (sold >= LEAST_TRANSACTIONS) & (outlets >= LEAST_OUTLETS)
    by_group: pd.Series = frame[large.reindex(frame.index).to_numpy()].astype("float64")
    return by_group


def _sums(cells: pd.DataFrame, challenger: np.ndarray, column: str, group: str) -> tuple[np.ndarray, np.ndarray]:
    mask = (cells[column].astype(str) == group).to_numpy()
    return challenger * mask, cells["transactions"].to_numpy("float64") * mask


def _difference(sums: np.ndarray) -> np.ndarray:
    result: np.ndarray = sums[..., 0::4] / sums[..., 1::4] - sums[..., 2::4] / sums[..., 3::4]
    return result


def _finding(column: str, frame: pd.Series, intervals: Mapping[tuple[str, str, str], Interval]) -> Finding:
    low, high = str(frame.idxmin()), str(frame.idxmax())
    interval = intervals.get((column, high, low))
    if interval is None:
        other = intervals[column, low, high]
        interval = Interval(-other.estimate, -other.high, -other.low, other.level)
    said = f"bias {percent(interval)} apart between {_named(column)} {high} and {low}"
    outcome: Outcome = "pass"
    if interval.above(MOST_SPREAD):
        outcome, said = "refuse", f"{said}, more than {MOST_SPREAD:.0%}"
    elif interval.estimate > MOST_SPREAD:
        outcome, said = "not enough evidence", f"{said}, {MOST_SPREAD:.0%} not ruled out"
    figures = bounds(f"fairness_{column}", interval)
    figures |= {f"bias_{column}_{key(str(group))}": float(value) for group, value in frame.items()}
    return Finding(CHECK, outcome, said, figures, is_told=False)


def _named(column: str) -> str:
    return column.replace("_", " ")
