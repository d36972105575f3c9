"""Whether a challenger does harm, or would: beside the champion on the same questions, judged at any look."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitoring.promise import LEAST_OUTLETS, LEAST_ROWS, LEAST_WEEKS
from monitoring.verdict import Figure, Finding
from poplift.confidence import Estimate, sequence_multiplier
from poplift.statistics import Interval, bias, poisson_deviance

Outcome = Literal["pass", "stop", "not enough evidence"]
PLANNED_WEEKS = 8  # the interval is tightest there; it holds before and after
MOST_HARM = 0.02  # rise of the deviance that a pass must rule out, as within a slice of the gate
MOST_TIMES_SLOWER = 3.0
UNNOTICED = 20.0  # milliseconds: below that a comparison of two times is one of noise
MOST_DEGRADED = 0.01  # of the answers, more than the champion's on the same questions
LEAST_TIMED = 100

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Both releases on the same questions; figures are None where nothing is known yet."""

    pairs: int
    answered: int  # of the pairs, those that the challenger gave to the outlet
    champion_mean: float | None  # predicted transactions of what was served
    challenger_mean: float | None
    mean_apart: float | None  # mean absolute difference of the two
    changed_share: float | None  # of recommendations: the other release would have recommended something else
    champion_ms: float | None  # 95th percentile of processor time a request
    challenger_ms: float | None
    champion_degraded: float | None
    challenger_degraded: float | None
    judged: int
    outlets: int
    weeks: tuple[int, ...]
    champion_bias: float | None
    challenger_bias: float | None
    deviance_change: Interval | None  # of the challenger against the champion, at this look


@dataclass(frozen=True)
class Judgement:
    """What a look at a challenger says, and why."""

    outcome: Outcome
    reasons: tuple[str, ...]
    comparison: Comparison

    def figures(self) -> dict[str, Any]:
        """Every number behind it, as JSON knows them."""
        figures = asdict(self.comparison)
        return {**figures, "weeks": list(self.comparison.weeks)}


def compare(pairs: pd.DataFrame) -> Comparison:
    """The figures of `monitoring.pairs.answered_twice`."""
    cells = pairs[pairs["is_judged"]] if len(pairs) else pairs
    known = len(cells) > 0
    sold = cells["transactions"].to_numpy(dtype=np.float64) if known else np.empty(0)
    total = known and sold.sum() > 0
    return Comparison(
        pairs=len(pairs),
        answered=int(pairs["by_challenger"].sum()) if len(pairs) else 0,
        champion_mean=_mean(pairs, "champion_said"),
        challenger_mean=_mean(pairs, "challenger_said"),
        mean_apart=_mean(pairs.assign(apart=_apart), "apart") if len(pairs) else None,
        changed_share=_mean(pairs, "is_changed"),
        champion_ms=_slowest(pairs, "champion_ms"),
        challenger_ms=_slowest(pairs, "challenger_ms"),
        champion_degraded=_mean(pairs, "champion_degraded"),
        challenger_degraded=_mean(pairs, "challenger_degraded"),
        judged=len(cells),
        outlets=int(cells["outlet_id"].nunique()) if known else 0,
        weeks=tuple(int(week) for week in sorted(cells["week"].unique())) if known else (),
        champion_bias=bias(sold, cells["champion_predicted"].to_numpy()) if total else None,
        challenger_bias=bias(sold, cells["challenger_predicted"].to_numpy()) if total else None,
        deviance_change=_deviance_change(cells) if total else None,
    )


def judge(comparison: Comparison, *, stopped: str | None = None, is_canary: bool = False) -> Judgement:
    """The verdict of this look; a challenger that serving `stopped` does harm whatever else is known.

    A canary passes only when it answered enough itself.
    """
    harm = [f"serving stopped it: {stopped}"] if stopped else []
    harm += _operational(comparison)
    change = comparison.deviance_change
    enough = comparison.judged >= LEAST_ROWS and comparison.outlets >= LEAST_OUTLETS
    said = f"Poisson deviance {change.estimate:+.1%} ({change.low:+.1%} to {change.high:+.1%})" if change else ""
    seen = f"{comparison.judged:,} judged decisions of {comparison.outlets} outlets in {len(comparison.weeks)} weeks"
    if enough and change is not None and change.above(0.0):
        harm.append(f"{said} against the champion on {seen}: surely worse, however often it was looked at")
    if harm:
        return Judgement("stop", tuple(harm), comparison)
    if not enough or change is None or len(comparison.weeks) < LEAST_WEEKS:
        needed = f"at least {LEAST_ROWS}, {LEAST_OUTLETS} and {LEAST_WEEKS} are needed"
        return Judgement("not enough evidence", (f"{seen}; {needed}",), comparison)
    if is_canary and comparison.answered < LEAST_ROWS:
        few = f"the canary gave {comparison.answered} of the answers itself; at least {LEAST_ROWS} are needed"
        return Judgement("not enough evidence", (few,), comparison)
    if change.below(MOST_HARM):
        return Judgement("pass", (f"{said} against the champion on {seen}",), comparison)
    return Judgement("not enough evidence", (f"{said} on {seen}: {MOST_HARM:.0%} worse is not ruled out",), comparison)


def as_finding(judgement: Judgement) -> Finding:
    """What it means for monitoring: a challenger that does harm wants somebody to stop it."""
    change = judgement.comparison.deviance_change
    text = "–" if change is None else f"{change.estimate:+.1%} to champion"
    status: Literal["ok", "warn"] = "warn" if judgement.outcome == "stop" else "ok"
    reasons = (f"The challenger does harm: {'; '.join(judgement.reasons)} (run `poplift challenger judge`).",)
    value = None if change is None else change.estimate
    figure = Figure("challenger", "Deviance of the challenger", value, text, "; ".join(judgement.reasons), status)
    return Finding(status, reasons if status == "warn" else (), figure)


def _deviance_change(cells: pd.DataFrame) -> Interval | None:
    """Ratio of summed losses with outlets as clusters (Cochran 1977, chapter 6), bounded for every look together."""
    sold = cells["transactions"].to_numpy(dtype=np.float64)
    loss = {who: poisson_deviance(sold, cells[f"{who}_predicted"].to_numpy()) for who in ("champion", "challenger")}
    sums = cells[["outlet_id"]].assign(**loss).groupby("outlet_id").sum()
    champion, challenger = sums["champion"].to_numpy(), sums["challenger"].to_numpy()
    outlets, total = len(sums), float(champion.sum())
    if outlets < 2 or total <= 0:
        return None
    ratio = float(challenger.sum()) / total
    spread = float(((challenger - ratio * champion) ** 2).sum())
    error = np.sqrt(outlets / (outlets - 1) * spread) / total
    multiplier = sequence_multiplier(cells["week"].nunique(), planned=PLANNED_WEEKS)
    return Estimate(ratio - 1.0, float(error), outlets - 1).interval(multiplier=multiplier)


def _operational(comparison: Comparison) -> list[str]:
    found = []
    slow, own = comparison.champion_ms, comparison.challenger_ms
    if comparison.pairs >= LEAST_TIMED and slow is not None and own is not None:
        if own > max(UNNOTICED, MOST_TIMES_SLOWER * slow):
            found.append(f"{own:.0f} ms of processor time a request where the champion takes {slow:.0f} ms")
        more = (comparison.challenger_degraded or 0.0) - (comparison.champion_degraded or 0.0)
        if more > MOST_DEGRADED:
            found.append(f"{more:.1%} more degraded answers than the champion on the same questions")
    return found


def _apart(pairs: pd.DataFrame) -> pd.Series:
    return (pairs["challenger_said"] - pairs["champion_said"]).abs()


def _mean(pairs: pd.DataFrame, name: str) -> float | None:
    values = pairs[name].dropna() if len(pairs) else pd.Series(dtype="float64")
    return float(values.astype("float64").mean()) if len(values) else None


def _slowest(pairs: pd.DataFrame, name: str) -> float | None:
    return float(pairs[name].quantile(0.95)) if len(pairs) else None
