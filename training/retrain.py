"""When a new training is worth it: enough new labels, or one thing broken in two weeks running, within a budget."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

KINDS = (
    "quality",
    "drift",
    "performance",
)  # what a new model can answer; a stale feed or skew is repaired, not learned


@dataclass(frozen=True)
class RetrainPolicy:
    """How much evidence a training needs and how many there may be; times are wall time."""

    least_new_share: float = 0.05  # labelled rows since the last training, of those it had
    breach_windows: int = 2  # weeks running; one bad week is weather
    cooldown: timedelta = timedelta(days=7)
    budget: int = 4  # trainings started by the policy
    budget_period: timedelta = timedelta(days=30)


@dataclass(frozen=True)
class Window:
    """One decided week as monitoring saw it last: its first day, and which kinds were broken."""

    week: str
    broken: frozenset[str]


@dataclass(frozen=True)
class Evidence:
    """What is known since the newest training, whoever started it; `trained_rows` is 0 before the first one.

    `windows` are of weeks after what that training knew, oldest first. `started` and `finished` are wall times of
    the trainings that this policy started: one that died is in `started` alone.
    """

    trained_rows: int
    new_rows: int
    windows: tuple[Window, ...] = ()
    started: tuple[datetime, ...] = ()
    finished: tuple[datetime, ...] = ()


@dataclass(frozen=True)
class RetrainDecision:
    """Whether to train, and why: the grounds that were found, and what held them back."""

    is_due: bool
    grounds: tuple[str, ...]
    held_by: tuple[str, ...]
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Everything that speaks for and against, in words."""
        return (*self.grounds, *self.held_by)


def decide(evidence: Evidence, *, now: datetime, policy: RetrainPolicy | None = None) -> RetrainDecision:
    """Train when there is a ground and nothing holds it back.

    A skip takes nothing away: the evidence is counted since the newest training, so it waits for the cooldown to pass.
    A training that died counts for the budget and starts no cooldown, so that a retry can go on.
    """
    rule = policy or RetrainPolicy()
    share = evidence.new_rows / evidence.trained_rows if evidence.trained_rows else 0.0
    running = {kind: _running(evidence.windows, kind) for kind in KINDS}
    grounds = _grounds(evidence, rule, share, running)
    held = _held(evidence, rule, now) if grounds else (_too_little(evidence, rule, share, running),)
    figures = {
        "new_rows": float(evidence.new_rows),
        "new_share": share,
        "trainings_in_period": float(len(_recent(evidence.started, rule, now))),
        **{f"{kind}_weeks": float(weeks) for kind, weeks in running.items()},
    }
    return RetrainDecision(bool(grounds) and not held, grounds, held, figures)


def _grounds(evidence: Evidence, rule: RetrainPolicy, share: float, running: Mapping[str, int]) -> tuple[str, ...]:
    if not evidence.trained_rows:
        return ("there is no model yet",)
    found = []
    if share >= rule.least_new_share:
        found.append(
            f"{evidence.new_rows:,} new labelled rows, {share:.1%} of the {evidence.trained_rows:,} trained on"
        )
    found += [
        f"{kind} broken in {weeks} weeks running, up to the week of {evidence.windows[-1].week}"
        for kind, weeks in running.items()
        if weeks >= rule.breach_windows
    ]
    return tuple(found)


def _too_little(evidence: Evidence, rule: RetrainPolicy, share: float, running: Mapping[str, int]) -> str:
    weeks = ", ".join(f"{kind} in {count}" for kind, count in running.items())
    return (
        f"not enough evidence: {evidence.new_rows:,} new labelled rows are {share:.1%} of the "
        f"{evidence.trained_rows:,} trained on, {rule.least_new_share:.0%} are needed; of {rule.breach_windows} weeks "
        f"running that something must be broken, {weeks}"
    )


def _held(evidence: Evidence, rule: RetrainPolicy, now: datetime) -> tuple[str, ...]:
    held = []
    last = max(evidence.finished, default=None)
    if last is not None and now - last < rule.cooldown:
        held.append(
            f"cooldown: the last training ended {last:%F %R} UTC, the next may start {last + rule.cooldown:%F %R}"
        )
    recent = _recent(evidence.started, rule, now)
    if len(recent) >= rule.budget:
        free = sorted(recent)[-rule.budget] + rule.budget_period
        held.append(
            f"budget: {len(recent)} trainings in {rule.budget_period.days} days, {rule.budget} are allowed; "
            f"the next is free {free:%F %R} UTC"
        )
    return tuple(held)


def _recent(started: tuple[datetime, ...], rule: RetrainPolicy, now: datetime) -> list[datetime]:
    return [moment for moment in started if now - moment < rule.budget_period]


def _running(windows: tuple[Window, ...], kind: str) -> int:
    """Number of newest weeks in which a kind was broken without a good one between."""
    count = 0
    for window in reversed(windows):
        if kind not in window.broken:
            break
        count += 1
    return count
