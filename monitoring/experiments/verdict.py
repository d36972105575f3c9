"""One word that a brand manager can act on, and the sentence that says why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from monitoring.experiments.execution import Execution
from monitoring.experiments.guardrails import Guardrail
from monitoring.experiments.sample_ratio import SampleRatio
from poplift.statistics import Interval

Word = Literal["ship", "do_not_ship", "keep_running", "not_enough_evidence", "invalid"]
WORDS: dict[Word, str] = {
    "ship": "ship",
    "do_not_ship": "do not ship",
    "keep_running": "keep running",
    "not_enough_evidence": "not enough evidence",
    "invalid": "no verdict",
}


@dataclass(frozen=True)
class Verdict:
    """The word, one sentence with the figure, and what else the reader must know, gravest first."""

    word: Word
    sentence: str
    reasons: tuple[str, ...]


def decide(
    *,
    ratio: SampleRatio,
    effect: Interval | None,
    guardrails: Sequence[Guardrail],
    execution: Execution | None,
    weeks_left: int,
) -> Verdict:
    """Weigh effect and guardrails; `weeks_left` counts the weeks afterwards too.

    Arms that are not comparable show no effect at all. Harm ends an experiment early, success does not: what was
    gained is only known when the dip afterwards is in.
    """
    if ratio.is_broken:
        said = f"No verdict: the arms are not comparable any more. {ratio.said}."
        return Verdict("invalid", said, ("Find out why before anything else: docs/runbooks/sample-ratio-mismatch.md.",))
    if effect is None:
        said = f"Keep running: this experiment is looked at once, at the end; {_weeks(weeks_left)} to go."
        return Verdict("keep_running", said, ())
    harmed = [g for g in guardrails if g.state == "harmed"]
    word = _word(effect, bool(harmed), weeks_left)
    reasons = [f"Guardrail broken: {g.label}{f' ({g.note})' if g.note else ''}." for g in harmed]
    reasons += _of_execution(execution)
    if weeks_left:
        reasons.append(f"{_weeks(weeks_left)} to go, those afterwards included: the dip is not all in yet.")
    unmeasured = [g.label for g in guardrails if g.state == "not_measured"]
    if unmeasured:
        reasons.append(f"Not measured: {'; '.join(unmeasured)}.")
    return Verdict(word, f"{_figure(effect)}: {WORDS[word]}.", tuple(reasons))


def _word(effect: Interval, is_harmed: bool, weeks_left: int) -> Word:
    if effect.below(0.0) or (is_harmed and not weeks_left):
        return "do_not_ship"
    if weeks_left:
        return "keep_running"
    return "ship" if effect.above(0.0) else "not_enough_evidence"


def _of_execution(execution: Execution | None) -> list[str]:
    if execution is None:
        return ["Nobody reported what was run: the effect is that of planning it."]
    ran = f"{execution.in_treatment:,} of {execution.planned:,} planned outlet-weeks were run"
    said = [f"{ran} ({execution.done_share:.0%}); the effect is that of planning it, over all of them."]
    if execution.contaminated:
        named = ", ".join(execution.contaminated[:5]) + (", …" if len(execution.contaminated) > 5 else "")
        flag = "Contaminated control arm" if execution.is_contaminated else "Control outlets that ran it"
        share = f"{execution.in_control:,} of {execution.control_outlet_weeks:,} outlet-weeks"
        said.insert(0, f"{flag}: {named}; {share}. The effect is understated by about that share.")
    return said


def _figure(effect: Interval) -> str:
    numbers = f"{effect.estimate:+.2f} transactions per outlet and week"
    return f"{numbers} ({effect.level:.0%} {effect.low:+.2f} to {effect.high:+.2f})"


def _weeks(count: int) -> str:
    return f"{count} week{'s' if count != 1 else ''}"
