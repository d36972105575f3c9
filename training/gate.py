"""The rule that lets a challenger through: sane, better than every baseline and the champion, harmful to no segment."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from poplift.statistics import Interval, bias, poisson_deviance, relative_change

Outcome = Literal["pass", "refuse", "not enough evidence"]
LEAST_WEEKS = 6
LEAST_OUTLETS = 20
MOST_BIAS = 0.10  # of the total; more is a broken model, whatever its deviance
MOST_HARM = 0.02  # rise of deviance within promoted or not promoted cells against the reference


@dataclass(frozen=True)
class Verdict:
    """What the gate decided, why in words, and the figures behind every reason."""

    outcome: Outcome
    reasons: tuple[str, ...]
    figures: dict[str, float]

    @property
    def is_pass(self) -> bool:
        """Whether the challenger may be registered as such."""
        return self.outcome == "pass"


def judge(
    cells: pd.DataFrame,
    *,
    challenger: np.ndarray,
    baselines: dict[str, np.ndarray],
    champion: np.ndarray | None,
    seed: int,
    draws: int = 2000,
) -> Verdict:
    """Judge forecasts of transactions on the same held-out cells, weeks that no contender was trained on.

    `cells` has outlet_id, week, transactions and promoted. Every contest is the relative change of the mean Poisson
    deviance with its 95 % interval from the paired block bootstrap: below zero is better, around zero is not
    evidence, above is worse. Raises ValueError when no baseline is in the race.
    """
    if not baselines:
        raise ValueError("gate: no baseline is in the race; a challenger is never judged alone")
    insane = _insanity(cells, challenger)
    if insane:
        return Verdict("refuse", insane, {})
    weeks, outlets = cells["week"].nunique(), cells["outlet_id"].nunique()
    if weeks < LEAST_WEEKS or outlets < LEAST_OUTLETS:
        reason = f"{weeks} weeks and {outlets} outlets held out; at least {LEAST_WEEKS} and {LEAST_OUTLETS} are needed"
        return Verdict("not enough evidence", (reason,), {"weeks": float(weeks), "outlets": float(outlets)})
    rivals = dict(baselines) if champion is None else {**baselines, "champion": champion}
    contests = {name: _contest(cells, challenger, rival, seed=seed, draws=draws) for name, rival in rivals.items()}
    reference = (
        champion if champion is not None else baselines[min(baselines, key=lambda n: _loss(cells, baselines[n]))]
    )
    segments = {
        str(value): _contest(part, challenger[at], reference[at], seed=seed, draws=draws)
        for value, part, at in _segments(cells)
    }
    return _verdict(contests, segments, {"bias": bias(cells["transactions"].to_numpy("float64"), challenger)})


def _insanity(cells: pd.DataFrame, forecast: np.ndarray) -> tuple[str, ...]:
    if len(forecast) != len(cells):
        return (f"{len(forecast)} forecasts for {len(cells)} cells",)
    broken = int((~np.isfinite(forecast)).sum())
    if broken:
        return (f"{broken} forecasts are NaN or infinite",)
    negative = int((forecast < 0).sum())
    if negative:
        return (f"{negative} forecasts are negative",)
    if float(np.ptp(forecast)) < 1e-9:
        return (f"the forecast is the constant {forecast[0]:.4f}: the model learned nothing",)
    off = bias(cells["transactions"].to_numpy("float64"), forecast)
    if not abs(off) <= MOST_BIAS:
        return (f"the total is {off:+.1%} off, more than {MOST_BIAS:.0%}",)
    return ()


def _loss(cells: pd.DataFrame, forecast: np.ndarray) -> float:
    return float(poisson_deviance(cells["transactions"].to_numpy("float64"), forecast).mean())


def _contest(cells: pd.DataFrame, challenger: np.ndarray, rival: np.ndarray, *, seed: int, draws: int) -> Interval:
    actual = cells["transactions"].to_numpy("float64")
    return relative_change(
        poisson_deviance(actual, challenger),
        poisson_deviance(actual, rival),
        outlet=cells["outlet_id"].to_numpy(),
        week=cells["week"].to_numpy(),
        draws=draws,
        seed=seed,
    )


def _segments(cells: pd.DataFrame) -> list[tuple[str, pd.DataFrame, np.ndarray]]:
    """Promoted and not promoted, where there is enough of it to resample."""
    parts = []
    for value in ("promoted", "not promoted"):
        at = (cells["promoted"] == value).to_numpy()
        part = cells[at]
        if part["week"].nunique() >= 2 and part["outlet_id"].nunique() >= 2:
            parts.append((value, part, at))
    return parts


def _verdict(contests: dict[str, Interval], segments: dict[str, Interval], figures: dict[str, float]) -> Verdict:
    worse: list[str] = []
    unclear: list[str] = []
    better: list[str] = []
    for name, interval in contests.items():
        figures |= _figures(f"deviance_vs_{name}", interval)
        said = f"deviance {_said(interval)} against {name}"
        (better if interval.below(0.0) else worse if interval.estimate > 0.0 else unclear).append(said)
    for value, interval in segments.items():
        figures |= _figures(f"deviance_{value.replace(' ', '_')}", interval)
        said = f"deviance {_said(interval)} where {value}"
        if interval.above(MOST_HARM):
            worse.append(f"{said}, more than {MOST_HARM:.0%} harm")
        elif interval.estimate > MOST_HARM:
            unclear.append(f"{said}, harm not ruled out")
    if worse:
        return Verdict("refuse", tuple(worse), figures)
    if unclear:
        return Verdict("not enough evidence", tuple(unclear), figures)
    return Verdict("pass", tuple(better), figures)


def _said(interval: Interval) -> str:
    return f"{interval.estimate:+.1%} ({interval.low:+.1%} to {interval.high:+.1%})"


def _figures(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
