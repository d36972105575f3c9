"""What a person sees of a challenger: both releases side by side, and what the look says."""

from typing import Any

from flows.console import COLOURS, Console
from flows.steps.challenger import Beside

NOTHING = "–"


def show(beside: Beside) -> None:
    """The comparison as a table, then the verdict of this look with its reasons."""
    console, found = Console(), beside.judgement.comparison
    change = found.deviance_change
    rows = [
        ["predicted transactions of what was served", _number(found.champion_mean), _number(found.challenger_mean)],
        ["… mean absolute difference", "", _number(found.mean_apart)],
        ["recommendations that would be another activation", "", _share(found.changed_share)],
        ["processor time a request, 95th percentile, ms", _number(found.champion_ms), _number(found.challenger_ms)],
        ["degraded answers", _share(found.champion_degraded), _share(found.challenger_degraded)],
        ["bias on judged decisions", _share(found.champion_bias, "+"), _share(found.challenger_bias, "+")],
        [
            "Poisson deviance against the champion",
            "",
            f"{change.estimate:+.1%} ({change.low:+.1%} to {change.high:+.1%})" if change else NOTHING,
        ],
    ]
    how = f"canary of {beside.placed.share:.1%} of the outlets" if beside.placed.share else "shadow"
    columns = [
        f"{found.pairs:,} answers of both, {found.answered:,} given by the challenger",
        f"champion, version {beside.champion_version}",
        f"challenger, version {beside.version}",
    ]
    console.table(f"{beside.placed.release_id} as {how} beside {beside.champion_release}", columns, rows)
    outcome = beside.judgement.outcome
    console.say(f"  Live verdict: [{COLOURS.get(outcome, 'red')}]{outcome}[/]")
    for reason in beside.judgement.reasons:
        console.line(reason, indent=4)


def beside_as_json(beside: Beside) -> dict[str, Any]:
    """The same for machines."""
    return {
        "release": beside.placed.release_id,
        "version": beside.version,
        "stage": beside.stage,
        "share": beside.placed.share,
        "stopped": beside.placed.stopped,
        "champion_release": beside.champion_release,
        "champion_version": beside.champion_version,
        "outcome": beside.judgement.outcome,
        "reasons": list(beside.judgement.reasons),
        "figures": beside.judgement.figures(),
    }


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def _share(value: float | None, sign: str = "") -> str:
    return NOTHING if value is None else f"{value:{sign}.1%}"
