"""The first page of the reports: the verdict in one glance, then reasons, figures, ages and links."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from monitoring.drift import DriftSummary
from monitoring.freshness import FreshnessRow
from monitoring.promise import Kept
from monitoring.verdict import Status, Verdict, readable_age
from poplift.atomic import write_whole
from poplift.page import render_page
from poplift.statistics import Interval

MOVED_ROWS = 8
HEADLINES: dict[Status, tuple[str, str, str]] = {
    "ok": ("✓", "All well", "Inputs, ages and accuracy are as promised. Nothing to do."),
    "warn": (
        "!",
        "Have a look",
        "Something is off but within limits. Look into it this week; serving goes on.",
    ),
    "breach": (
        "✕",
        "Act now",
        "A limit is broken. No new model is promoted; start with the first reason below.",
    ),
    "unknown": (
        "?",
        "Not known",
        "A check could not run. No new model is promoted until it has; this is not a pass.",
    ),
}
STATES: dict[str, tuple[str, str]] = {
    "ok": ("ok", "fresh"),
    "soft": ("warn", "ageing"),
    "hard": ("breach", "too old"),
    "empty": ("breach", "empty"),
    "future": ("breach", "in the future"),
}
KEPT: dict[str, tuple[str, str]] = {
    "ok": ("ok", "kept"),
    "warn": ("warn", "not yet sure"),
    "breach": ("breach", "broken"),
    "waiting": ("unknown", "waiting"),
}


@dataclass(frozen=True)
class Link:
    """A report or an address to list; a relative `href` is a file beside the page."""

    title: str
    href: str
    about: str


def write_index(
    reports_dir: Path,
    *,
    verdict: Verdict,
    freshness: Sequence[FreshnessRow] | None,
    links: Sequence[Link],
    drift: DriftSummary | None = None,
    kept: Sequence[Kept] = (),
    as_of: datetime | None = None,
    written_at: datetime | None = None,
) -> Path:
    """Write `index.html` into `reports_dir` and return its path; one file without outside references.

    A link to a file that is not there is shown as not written. `as_of` is business time, `written_at` wall time.
    """
    icon, headline, advice = HEADLINES[verdict.status]
    page = render_page(
        Path(__file__).with_name("index_page.html"),
        verdict=verdict,
        icon=icon,
        headline=headline,
        advice=advice,
        rows=[_freshness_cells(row) for row in freshness or ()],
        moved=(drift.moved if drift else ())[:MOVED_ROWS],
        moved_more=max(0, len(drift.moved) - MOVED_ROWS) if drift else 0,
        kept=[_kept_cells(one) for one in kept],
        links=[(link, _is_there(reports_dir, link)) for link in links],
        as_of=_moment(as_of),
        written_at=_moment(written_at),
    )
    path = reports_dir / "index.html"
    write_whole(path, page)
    return path


def list_report(reports_dir: Path, href: str) -> None:
    """Make a link of the card of a report written after the index; without an index do nothing."""
    index = reports_dir / "index.html"
    if not index.exists():
        return
    card = rf'<div class="report absent" data-report="{re.escape(href)}">(.*?)<span>Not written yet.</span> (.*?)</div>'
    page, listed = re.subn(card, rf'<a class="report" href="{href}">\1\2</a>', index.read_text())
    if listed:
        write_whole(index, page)


def _freshness_cells(row: FreshnessRow) -> dict[str, str]:
    css, label = STATES[row.state]
    return {
        "view": row.view,
        "store": row.store,
        "css": css,
        "label": label,
        "age": "–" if row.age is None else readable_age(row.age),
        "limits": f"{readable_age(row.soft_age)} / {readable_age(row.hard_age)}",
        "newest": _moment(row.newest),
    }


def _kept_cells(kept: Kept) -> dict[str, str]:
    css, label = KEPT[kept.state]
    weeks = f"{kept.weeks[0]} to {kept.weeks[-1]}" if kept.weeks else "–"
    left_out = ", ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in kept.not_judged.items())
    return {
        "release": kept.release_id,
        "css": css,
        "label": label,
        "judged": f"{kept.judged:,} of {kept.decisions:,}",
        "left_out": left_out or "–",
        "weeks": weeks,
        "deviance": "–" if kept.deviance is None else f"{kept.deviance:.3f}",
        "promised": "–" if kept.promised_deviance is None else f"{kept.promised_deviance:.3f}",
        "deviance_change": _change(kept.deviance_change),
        "bias_change": _change(kept.bias_change),
        "covered_change": _change(kept.covered_change),
        "why": " ".join(kept.reasons),
    }


def _change(change: Interval | None) -> str:
    return "–" if change is None else f"{change.estimate:+.1%} ({change.low:+.1%} to {change.high:+.1%})"


def _is_there(reports_dir: Path, link: Link) -> bool:
    return "://" in link.href or (reports_dir / link.href).exists()


def _moment(moment: datetime | None) -> str:
    return "–" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"
