"""What must hold while things fail: rules about what was asked, answered, broken and logged, and nothing else.

Times are seconds since the soak began.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from scipy import stats

RECOVERY_SECONDS = 5.0  # after a fault has ended, and for a new release to answer everywhere
LOST_BY_SIGKILL_SECONDS = 1.0  # what a killed worker may take with it
LONGEST_SECONDS = 5.0  # the deadline of a read is two
GROWTH_MB_A_MINUTE = 0.5
BLOCK_SECONDS, WARM_SECONDS, LEAST_BLOCKS = 10.0, 60.0, 6
SHOWN = 5
_FLAT = f"memory grows by less than {GROWTH_MB_A_MINUTE} MB a minute"

RIGHT, DEGRADED, UNKNOWN, REFUSED, BROKEN, OTHER = "right", "degraded", "unknown", "refused", "broken", "other"


@dataclass(frozen=True)
class Answer:
    """One question and what came back; `wrong` says how an answer differs from what it claims to be."""

    began: float
    ended: float
    question: str
    outcome: str
    wrong: str = ""
    release: str | None = None
    decisions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fault:
    """Something that was done to the service, from when to when, and which outcomes it explains."""

    name: str
    began: float
    ended: float
    explains: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Observed:
    """Everything a soak saw."""

    answers: Sequence[Answer]
    faults: Sequence[Fault]
    activated: Sequence[tuple[float, str]]  # when which release became the one to answer, the first before all answers
    kills: Sequence[float]
    logged: Collection[str]
    memory: Mapping[int, Sequence[tuple[float, float]]] = field(default_factory=dict)  # MB by process


@dataclass(frozen=True)
class Verdict:
    """Whether an invariant held, with its figure; `broken` shows the first cases."""

    invariant: str
    held: bool
    figure: str
    broken: tuple[str, ...] = ()


def judge(seen: Observed) -> list[Verdict]:
    """Every invariant."""
    rules: tuple[Callable[[Observed], Verdict], ...] = (
        no_wrong_answer,
        nothing_unexplained,
        the_release_is_the_activated_one,
        no_lost_decision,
        nobody_waits_long,
        memory_is_flat,
    )
    return [rule(seen) for rule in rules]


def no_wrong_answer(seen: Observed) -> Verdict:
    """An answer is that of its release, byte for byte, or says that it is degraded."""
    wrong = [a for a in seen.answers if a.wrong]
    return _verdict("no wrong answer", f"{len(seen.answers):,} answers", (f"{_of(a)}: {a.wrong}" for a in wrong))


def nothing_unexplained(seen: Observed) -> Verdict:
    """What is not right is so while a fault lasts that explains it, and begins at most seconds after its end."""
    odd = [a for a in seen.answers if a.outcome != RIGHT]
    unexplained = [a for a in odd if not any(explains(fault, a) for fault in seen.faults)]
    return _verdict(
        f"nothing unexplained, right again within {RECOVERY_SECONDS:g} s",
        f"{len(odd):,} explained, the last {max(map(_recovery(seen), seen.faults), default=0.0):.1f} s after its fault",
        (f"{_of(a)}: {a.outcome}" for a in unexplained),
    )


def explains(fault: Fault, answer: Answer) -> bool:
    """Whether this fault is the reason that the answer is not right."""
    in_time = answer.began <= fault.ended + RECOVERY_SECONDS and answer.ended >= fault.began
    return in_time and answer.outcome in fault.explains


def recovery(fault: Fault, answers: Iterable[Answer]) -> float:
    """Seconds from the end of a fault to the end of the last answer that it explains."""
    return max((a.ended - fault.ended for a in answers if explains(fault, a)), default=0.0)


def the_release_is_the_activated_one(seen: Observed) -> Verdict:
    """An answer comes from the active release, or shortly after a change from the one before."""
    changes = [*seen.activated, (math.inf, "")]
    wrong = []
    for answer in seen.answers:
        if answer.release is None:
            continue
        asked = answer.began - RECOVERY_SECONDS
        active = {r for (t, r), (until, _) in pairwise(changes) if t <= answer.ended and until >= asked}
        if answer.release not in active:
            wrong.append(f"{_of(answer)}: {answer.release}")
    return _verdict(
        f"the active release answers within {RECOVERY_SECONDS:g} s", f"{len(seen.activated) - 1} changes", wrong
    )


def no_lost_decision(seen: Observed) -> Verdict:
    """Every decision that was answered is logged, but those of the last second before a worker was killed."""
    logged = set(seen.logged)
    lost = [(d, a) for a in seen.answers for d in a.decisions if d not in logged]
    excused = {d for d, a in lost if any(k - LOST_BY_SIGKILL_SECONDS <= a.ended <= k + 0.1 for k in seen.kills)}
    answered = sum(len(a.decisions) for a in seen.answers)
    return _verdict(
        "no lost decision but of a killed worker's last second",
        f"{answered:,} answered, {len(excused)} lost by {len(seen.kills)} kills",
        (f"{decision} of {_of(a)}" for decision, a in lost if decision not in excused),
    )


def nobody_waits_long(seen: Observed) -> Verdict:
    """A store that hangs costs its deadline and no more."""
    seconds = [a.ended - a.began for a in seen.answers] or [0.0]
    p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1e3
    return _verdict(
        f"no answer takes longer than {LONGEST_SECONDS:g} s",
        f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {max(seconds):.2f} s",
        (f"{_of(a)}: {a.ended - a.began:.1f} s" for a in seen.answers if a.ended - a.began > LONGEST_SECONDS),
    )


def memory_is_flat(seen: Observed) -> Verdict:
    """Resident memory of the workers does not grow: its slope is not shown to be above the limit."""
    middle, low, high = growth(seen.memory)
    figure = f"{middle:+.2f} MB a minute ({low:+.2f} to {high:+.2f})"
    if math.isnan(middle):
        return Verdict(_FLAT, held=True, figure="too short to tell")
    broken = [f"grows by {figure}"] if low > GROWTH_MB_A_MINUTE else []
    return _verdict(_FLAT, f"{figure}, at most {_most(seen):.0f} MB", broken)


def growth(memory: Mapping[int, Sequence[tuple[float, float]]]) -> tuple[float, float, float]:
    """Slope in MB a minute over all processes, and its 95 % interval; NaN where they lived too shortly to tell.

    Means of ten seconds, since neighbours in time are alike; every process has its own level, and its first minute,
    in which it fills what it remembers, does not count.
    """
    minutes: list[float] = []
    megabytes: list[float] = []
    processes = 0
    for samples in memory.values():
        warm = [(t, mb) for t, mb in samples if t >= samples[0][0] + WARM_SECONDS]
        blocks: dict[int, list[tuple[float, float]]] = {}
        for t, mb in warm:
            blocks.setdefault(int(t // BLOCK_SECONDS), []).append((t / 60, mb))
        means = np.array([np.mean(block, axis=0) for block in blocks.values()])
        if len(means) >= LEAST_BLOCKS:
            processes += 1
            minutes.extend(means[:, 0] - means[:, 0].mean())
            megabytes.extend(means[:, 1] - means[:, 1].mean())
    x, y = np.array(minutes), np.array(megabytes)
    freedom = len(x) - processes - 1
    if not processes:
        return math.nan, math.nan, math.nan
    slope = float(x @ y / (x @ x))
    error = float(np.sqrt(((y - slope * x) ** 2).sum() / freedom / (x @ x)))
    half = float(stats.t.ppf(0.975, freedom)) * error
    return slope, slope - half, slope + half


def _most(seen: Observed) -> float:
    return max(megabytes for samples in seen.memory.values() for _, megabytes in samples)


def _recovery(seen: Observed) -> Callable[[Fault], float]:
    return lambda fault: recovery(fault, (a for a in seen.answers if a.outcome != RIGHT))


def _of(answer: Answer) -> str:
    return f"{answer.question} at {answer.began:.1f} s"


def _verdict(invariant: str, figure: str, broken: Iterable[str]) -> Verdict:
    cases = list(broken)
    if not cases:
        return Verdict(invariant, held=True, figure=figure)
    return Verdict(invariant, held=False, figure=f"{len(cases):,} times broken; {figure}", broken=tuple(cases[:SHOWN]))
