"""One word for whoever is on call, with its reasons: out of drift, freshness, performance and skew."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from monitoring.drift import DriftSummary
from monitoring.freshness import FreshnessRow
from monitoring.performance import Performance
from monitoring.skew import SkewSummary

Status = Literal["ok", "warn", "breach", "unknown"]
# What is broken matters more than what is not known, and what is not known more than what is a little off.
_ORDER: tuple[Status, ...] = ("ok", "warn", "unknown", "breach")
_OF_FRESHNESS: dict[str, Status] = {
    "ok": "ok",
    "soft": "warn",
    "hard": "breach",
    "empty": "breach",
    "future": "breach",
}


@dataclass(frozen=True)
class Figure:
    """One number of the verdict; `value` is None when it could not be measured."""

    key: str
    label: str
    value: float | None
    text: str
    compare: str
    status: Status


@dataclass(frozen=True)
class Finding:
    """What a further check found: its status, a sentence for each thing that is wrong, and its figure."""

    status: Status
    reasons: tuple[str, ...]
    figure: Figure


@dataclass(frozen=True)
class Verdict:
    """Status, the reasons for anything but "ok" with the gravest first, and the figures behind them."""

    status: Status
    reasons: tuple[str, ...]
    figures: tuple[Figure, ...]

    @property
    def holds(self) -> bool:
        """Whether the promotion of a model has to wait: something is broken, or nobody can say that nothing is."""
        return self.status in {"breach", "unknown"}


def judge(
    *,
    drift: DriftSummary | None,
    freshness: Sequence[FreshnessRow] | None,
    performance: Performance | None,
    skew: SkewSummary | None,
    failures: Mapping[str, str] | None = None,
    further: Sequence[Finding] = (),
) -> Verdict:
    """Weigh the measurements; None means not taken, and `failures` map what broke to the message.

    A missing measurement or a failure makes the verdict "unknown" at best: an outage never passes.
    """
    taken: dict[str, object] = {"Drift check": drift, "Freshness check": freshness, "Performance check": performance}
    taken |= {"Skew check": skew}
    broken = dict(failures or {})
    found: list[tuple[Status, str]] = [("unknown", f"{name} failed: {text}.") for name, text in broken.items()]
    found += [("unknown", f"{n} did not run.") for n, result in taken.items() if not result and n not in broken]
    found += [*_of_drift(drift), *_of_freshness(freshness), *_of_performance(performance)]
    found += [(skew.state, f"{reason}.") for reason in skew.reasons] if skew else []
    found += [(finding.status, reason) for finding in further for reason in finding.reasons]
    found.sort(key=lambda finding: -_ORDER.index(finding[0]))
    status = found[0][0] if found else "ok"
    figures = (*_figures(drift, freshness, performance, skew), *(finding.figure for finding in further))
    return Verdict(status, tuple(reason for _, reason in found), figures)


def readable_age(age: timedelta) -> str:
    """An age in the two units that people think in, such as "8.5 days" or "3 hours"."""
    hours = age / timedelta(hours=1)
    return f"{hours:.0f} hours" if abs(hours) < 48 else f"{round(hours / 24, 1):g} days"


def _of_drift(drift: DriftSummary | None) -> list[tuple[Status, str]]:
    return [(drift.state, f"{reason}.") for reason in drift.reasons] if drift else []


def _of_freshness(rows: Sequence[FreshnessRow] | None) -> list[tuple[Status, str]]:
    return [(_OF_FRESHNESS[row.state], _stale(row)) for row in rows or () if row.state != "ok"]


def _stale(row: FreshnessRow) -> str:
    where = f"{row.view} ({row.store})"
    if row.age is None:
        return f"{where} is empty: run the feature build and materialise."
    if row.state == "future":
        return f"{where} has a value from {readable_age(-row.age)} after business time: a wrong clock or date."
    limit, effect = (
        (row.hard_age, "values are not used any more") if row.state == "hard" else (row.soft_age, "answers are flagged")
    )
    return f"{where} is {readable_age(row.age)} old, over {readable_age(limit)}: {effect}."


def _of_performance(performance: Performance | None) -> list[tuple[Status, str]]:
    if performance is None:
        return []
    return [(performance.state, f"{reason[0].upper()}{reason[1:]}.") for reason in performance.reasons]


def _figures(
    drift: DriftSummary | None,
    freshness: Sequence[FreshnessRow] | None,
    performance: Performance | None,
    skew: SkewSummary | None,
) -> tuple[Figure, ...]:
    return (_moved_figure(drift), _age_figure(freshness), *_promise_figures(performance), _skew_figure(skew))


def _skew_figure(skew: SkewSummary | None) -> Figure:
    key, label = "served_otherwise", "Served otherwise than trained"
    if skew is None:
        return Figure(key, label, None, "?", "not measured", "unknown")
    if not skew.vectors:
        return Figure(key, label, None, "–", "nothing was served since the tables were made", "ok")
    apart = sum(skew.differing.values())
    compared = f"of {skew.compared:,} values in {skew.vectors:,} vectors"
    return Figure(key, label, apart, f"{apart:,}", compared, skew.state)


def _moved_figure(drift: DriftSummary | None) -> Figure:
    key, label = "inputs_moved_far", "Inputs moved far"
    if drift is None:
        return Figure(key, label, None, "?", "not measured", "unknown")
    watched = sum(not c.expected for c in drift.columns)
    states = Counter(c.state for c in drift.moved)
    text = f"{states['breach']} of {watched}"
    return Figure(key, label, states["breach"], text, f"{states['warn']} moved a little", drift.state)


def _age_figure(rows: Sequence[FreshnessRow] | None) -> Figure:
    key, label = "oldest_view_days", "Oldest view"
    dated = [(row.age, row) for row in rows or () if row.age is not None]
    if not rows or not dated:
        return Figure(key, label, None, "?", "no view has values" if rows else "not measured", "unknown")
    worst = max((_OF_FRESHNESS[row.state] for row in rows), key=_ORDER.index)
    age = max(age for age, _ in dated)
    fresh = sum(row.state == "ok" for row in rows)
    return Figure(key, label, age / timedelta(days=1), readable_age(age), f"{fresh} of {len(rows)} fresh", worst)


def _promise_figures(performance: Performance | None) -> tuple[Figure, ...]:
    names = (
        ("poisson_deviance", "Poisson deviance", ".3f"),
        ("wape_ppg_week", "WAPE, ppg × week", ".1%"),
        ("bias", "Bias of the total", "+.1%"),
    )
    if performance is None:
        return tuple(Figure(key, label, None, "?", "not measured", "unknown") for key, label, _ in names)
    figures = []
    for key, label, form in names:
        live, promised = getattr(performance.live, key), getattr(performance.promised, key)
        grade = performance.grades[key]
        figures.append(Figure(key, label, live, format(live, form), f"promised {format(promised, form)}", grade))
    return tuple(figures)
