"""What a study is: a question, figures with intervals, a goal for each, and where the answers are kept."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isnan, nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta, t

from poplift.atomic import write_whole
from poplift.settings import REPOSITORY

RESULTS = REPOSITORY / "docs" / "science.json"


@dataclass(frozen=True)
class Figure:
    """One figure with its 95 % interval (NaN where it has none) and the goal it is judged by."""

    name: str
    value: float
    low: float = nan
    high: float = nan
    unit: str = ""
    goal: str = ""
    is_met: bool | None = None  # None: shown, not judged

    @property
    def lacks_interval(self) -> bool:
        """Whether it has a goal and nothing to judge it by: one run has no interval."""
        return bool(self.goal) and self.is_met is None and isnan(self.low)


@dataclass(frozen=True)
class Study:
    """The answer of one study; `note` says what is simulated and what the figures do not show."""

    id: str
    title: str
    question: str
    figures: tuple[Figure, ...]
    note: str = ""
    seed: int = 0
    runs: int = 0
    seconds: float = nan

    @property
    def state(self) -> str:
        """Whether every judged figure reached its goal; more runs are needed where one has no interval."""
        if any(figure.is_met is False for figure in self.figures):
            return "not reached"
        return "more runs needed" if any(figure.lacks_interval for figure in self.figures) else "reached"


def mean_figure(name: str, values: Sequence[float] | np.ndarray, **more: Any) -> Figure:
    """Mean over runs with its 95 % interval by Student's t; one run has none."""
    found = np.asarray(values, dtype=np.float64)
    half = nan
    if len(found) > 1:
        half = float(t.ppf(0.975, len(found) - 1)) * float(found.std(ddof=1)) / sqrt(len(found))
    centre = float(found.mean())
    return Figure(name, centre, centre - half, centre + half, **more)


def rate_figure(name: str, hits: int, trials: int, **more: Any) -> Figure:
    """Share of hits with its Clopper-Pearson 95 % interval (1934, Biometrika 26)."""
    low = float(beta.ppf(0.025, hits, trials - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, trials - hits)) if hits < trials else 1.0
    return Figure(name, hits / trials, low, high, **more)


def covers(figure: Figure, nominal: float) -> Figure:
    """Judge a coverage: met when its interval contains the nominal rate."""
    return replace(figure, goal=f"interval holds {nominal:.0%}", is_met=figure.low <= nominal <= figure.high)


def at_most_rate(figure: Figure, nominal: float) -> Figure:
    """Judge a false-positive rate: met when the lower end of its interval is at most the nominal one."""
    return replace(figure, goal=f"at most {nominal:.0%}", is_met=figure.low <= nominal)


def within(figure: Figure, bound: float) -> Figure:
    """Judge a bias: met when its absolute value is at most the bound."""
    return replace(figure, goal=f"within ±{bound:.0%}", is_met=abs(figure.value) <= bound)


def at_least(figure: Figure, bound: float, *, said: str) -> Figure:
    """Judge a figure that must be large: met when the lower end of its interval, if any, reaches the bound."""
    return replace(figure, goal=f"at least {said}", is_met=None if isnan(figure.low) else figure.low >= bound)


def at_most(figure: Figure, bound: float, *, said: str) -> Figure:
    """Judge a figure that must be small: met when the upper end of its interval, if any, stays below the bound."""
    return replace(figure, goal=f"at most {said}", is_met=None if isnan(figure.high) else figure.high <= bound)


@dataclass(frozen=True)
class Answers:
    """The answers of all studies that were run, kept in one file beside the page."""

    path: Path = field(default=RESULTS)

    def all(self) -> list[Study]:
        """Every answer kept, by id."""
        if not self.path.exists():
            return []
        kept = json.loads(self.path.read_text())
        return [
            Study(**{**kept[key], "figures": tuple(Figure(**_numbers(f)) for f in kept[key]["figures"])})
            for key in sorted(kept, key=_order)
        ]

    def keep(self, study: Study) -> None:
        """Put an answer in the place of the one before it."""
        kept = json.loads(self.path.read_text()) if self.path.exists() else {}
        kept[study.id] = asdict(replace(study, figures=()))
        kept[study.id]["figures"] = [_nulls(asdict(figure)) for figure in study.figures]
        ordered = dict(sorted(kept.items(), key=lambda item: _order(item[0])))
        write_whole(self.path, json.dumps(ordered, indent=1) + "\n")


def _order(key: str) -> int:
    return int(key.lstrip("SP"))


def _nulls(figure: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {name: None if isinstance(value, float) and value != value else value for name, value in figure.items()}  # noqa: PLR0124


def _numbers(figure: dict[str, Any]) -> dict[str, Any]:
    return {
        name: nan if value is None and name in {"value", "low", "high"} else value for name, value in figure.items()
    }
