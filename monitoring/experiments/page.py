"""The page of a readout that a brand manager can read, and the same as JSON."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from monitoring.experiments.guardrails import Guardrail
from monitoring.experiments.readout import Readout
from monitoring.experiments.verdict import WORDS, Word
from poplift.atomic import write_whole
from poplift.page import render_page
from poplift.statistics import Interval

TONES: dict[Word, tuple[str, str]] = {
    "ship": ("ok", "✓"),
    "do_not_ship": ("breach", "✕"),
    "keep_running": ("unknown", "…"),
    "not_enough_evidence": ("warn", "?"),
    "invalid": ("breach", "!"),
}
STATES = {"ok": ("ok", "no harm seen"), "harmed": ("breach", "harmed"), "not_measured": ("unknown", "not measured")}
WIDE = 640  # of the picture, in its own units


@dataclass(frozen=True)
class Tile:
    """One figure of the page."""

    label: str
    text: str
    compare: str


def write_readout(folder: Path, readout: Readout, *, as_of: datetime, written_at: datetime) -> Path:
    """Write `<name>.html` and `<name>.json` into `folder` and return the page's path; no outside references."""
    tone, icon = TONES[readout.verdict.word]
    page = render_page(
        Path(__file__).with_name("readout_page.html"),
        readout=readout,
        record=readout.record,
        tone=tone,
        icon=icon,
        headline=WORDS[readout.verdict.word].capitalize(),
        tiles=_tiles(readout),
        picture=_picture(readout.effect.interval, readout.record.detectable) if readout.effect else None,
        rails=[_rail(guardrail) for guardrail in readout.guardrails],
        as_of=f"{as_of:%Y-%m-%d %H:%M} UTC",
        written_at=f"{written_at:%Y-%m-%d %H:%M} UTC",
    )
    write_whole(folder / f"{readout.record.name}.json", json.dumps(as_json(readout), indent=1) + "\n")
    path = folder / f"{readout.record.name}.html"
    write_whole(path, page)
    return path


def as_json(readout: Readout) -> dict[str, Any]:
    """Everything of the page for programs; an effect that may not be shown is null."""
    effect, ran = readout.effect, readout.execution
    return {
        "experiment": readout.record.name,
        "activation": readout.record.activation,
        "ppg_ids": list(readout.record.ppg_ids),
        "verdict": readout.verdict.word,
        "sentence": readout.verdict.sentence,
        "reasons": list(readout.verdict.reasons),
        "weeks_with_activation": readout.weeks_with,
        "weeks_afterwards": readout.weeks_after,
        "is_final": readout.is_final,
        "effect": _bounds(effect.interval) if effect else None,
        "afterwards": _bounds(effect.afterwards) if effect else None,
        "standard_error": effect.estimate.standard_error if effect else None,
        "variance_removed": effect.variance_removed if effect else None,
        "control_mean": effect.control_mean if effect else None,
        "sample_ratio": {
            "assigned": dict(readout.ratio.assigned),
            "seen": dict(readout.ratio.seen),
            "moved": list(readout.ratio.moved),
            "p_value": readout.ratio.p_value,
            "p_missing": readout.ratio.p_missing,
        },
        "guardrails": [
            {"label": g.label, "unit": g.unit, "state": g.state, "interval": _bounds(g.interval), "note": g.note}
            for g in readout.guardrails
        ],
        "planned_outlet_weeks": ran.planned if ran else None,
        "executed_outlet_weeks": ran.in_treatment if ran else None,
        "contaminated_outlets": list(ran.contaminated) if ran else None,
        "outcomes_outside": readout.outside,
    }


def _tiles(readout: Readout) -> list[Tile]:
    record, effect, ran = readout.record, readout.effect, readout.execution
    weeks = f"{readout.weeks_with} of {record.weeks}"
    tiles = [
        Tile("Weeks with the activation", weeks, f"{readout.weeks_after} of {record.weeks_after} weeks afterwards")
    ]
    if effect is not None:
        change = effect.estimate.effect / effect.control_mean if effect.control_mean else 0.0
        tiles.insert(
            0,
            Tile(
                "Effect",
                f"{effect.estimate.effect:+.2f}",
                f"{change:+.1%} of the control arm's {effect.control_mean:.1f}",
            ),
        )
        dip = effect.afterwards
        after = (
            (f"{dip.estimate:+.2f}", f"{dip.low:+.2f} to {dip.high:+.2f}; it is in the effect")
            if dip
            else ("–", "none is in")
        )
        tiles.append(Tile("In each week afterwards", *after))
    run = f"{ran.done_share:.0%}" if ran else "not reported"
    planned = f"{ran.in_treatment:,} of {ran.planned:,} outlet-weeks" if ran else "planned is not done"
    return [*tiles, Tile("Of the plan was run", run, planned)]


def _rail(guardrail: Guardrail) -> dict[str, str]:
    css, state = STATES[guardrail.state]
    figure = _said(guardrail.interval) if guardrail.interval else "–"
    return {
        "label": guardrail.label,
        "css": css,
        "state": state,
        "figure": figure,
        "unit": guardrail.unit,
        "note": guardrail.note,
    }


def _picture(interval: Interval, detectable: float) -> dict[str, float]:
    """Places of zero, of the interval and of what was promised to be found, on a line."""
    edge = 1.15 * max(abs(interval.low), abs(interval.high), detectable)

    def place(value: float) -> float:
        return round(WIDE * (value + edge) / (2 * edge), 1)

    return {
        "wide": WIDE,
        "zero": place(0.0),
        "low": place(interval.low),
        "high": place(interval.high),
        "estimate": place(interval.estimate),
        "detectable": place(detectable),
    }


def _said(interval: Interval) -> str:
    return f"{interval.estimate:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})"


def _bounds(interval: Interval | None) -> dict[str, float] | None:
    if interval is None:
        return None
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high, "level": interval.level}
