"""What one check of the gate found, and the verdict that findings add up to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from poplift.statistics import Interval

Outcome = Literal["pass", "refuse", "not enough evidence"]


@dataclass(frozen=True)
class Finding:
    """The answer of one check in words, and the figures behind it.

    `is_told` says whether a passing one is worth a line of its own; one that does not pass always is.
    """

    check: str
    outcome: Outcome
    said: str
    figures: Mapping[str, float] = field(default_factory=dict)
    is_told: bool = True


@dataclass(frozen=True)
class Verdict:
    """What the gate decided, why in words, and the findings behind every reason."""

    outcome: Outcome
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def is_pass(self) -> bool:
        """Whether the challenger may be registered as such."""
        return self.outcome == "pass"

    @property
    def figures(self) -> dict[str, float]:
        """Every figure of every finding by its name."""
        return {name: value for finding in self.findings for name, value in finding.figures.items()}


def conclude(findings: Iterable[Finding], *, required: Iterable[str] = ()) -> Verdict:
    """One refusal refuses; failing that, one open question or one `required` check without a finding leaves it open."""
    found = tuple(findings)
    examined = {finding.check for finding in found}
    missing = [check for check in required if check not in examined]
    found += tuple(Finding(check, "not enough evidence", f"{check} was not examined") for check in missing)
    worst: Outcome = "pass"
    for outcome in ("not enough evidence", "refuse"):
        if any(finding.outcome == outcome for finding in found):
            worst = outcome
    reasons = tuple(f.said for f in found if f.outcome == worst and (worst != "pass" or f.is_told))
    return Verdict(worst, reasons, found)


def percent(interval: Interval) -> str:
    """An estimate and its interval for reading."""
    return f"{interval.estimate:+.1%} ({interval.low:+.1%} to {interval.high:+.1%})"


def bounds(name: str, interval: Interval) -> dict[str, float]:
    """The three figures of an interval."""
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
