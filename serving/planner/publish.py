"""A plan as files: a table for programs and a page for people, whole or not at all, the same for the same inputs."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import date, datetime
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from poplift.atomic import write_whole
from poplift.page import render_page
from serving.planner.effects import age_note
from serving.planner.explain import Explained, Line, worth
from serving.planner.published import LATEST, SUMMARY_KEY
from serving.planner.rules import TABLE_CONFIDENCE
from serving.planner.summary import CAUTION, Summary
from serving.planner.week import WeekPlan

PAGE = "plan.html"
MOST_SHOWN = 300
MOST_PASSED_OVER = 25
REASONS = {
    "holdout": "the outlet is in the permanent holdout",
    "no_budget": "no budget was given",
    "budget": "the budget brings more elsewhere",
    "slots": "slots of the outlet are full",
    "exclusivity": "a ppg that excludes it runs",
    "combination": "another combination is worth more",
    "never_run": "a never-run rule",
    "gap": "too soon after the last activation",
    "thin_evidence": "thin evidence",
    "interval_crosses_zero": "interval crosses zero",
    "no_gain": "costs more than it brings",
    "minimum_margin": "below the minimum margin",
}


def write_table(plan: WeekPlan, explained: Explained, summary: Summary, *, week_start: date, into: Path) -> Path:
    """Write one row per outlet and ppg to `into`/week=…/plan-….parquet and return the path.

    The file's metadata carries the summary under `poplift_plan`; `into`/latest.json names the last plan made. The same
    plan has the same name and bytes, so that a retry writes nothing new.
    """
    lines = explained.lines(np.arange(len(plan.first)))
    columns = {f.name: [getattr(line, f.name) for line in lines] for f in fields(Line)}
    schema = pa.schema([(f.name, _kind(f.name)) for f in fields(Line)])
    table = pa.table(columns, schema=schema)
    week = pa.array([week_start] * len(lines), pa.date32())
    said = json.dumps(summary.as_json(), sort_keys=True).encode()
    table = table.add_column(0, "week_start", week).replace_schema_metadata({SUMMARY_KEY: said})
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    content = buffer.getvalue().to_pybytes()
    path = into / f"week={week_start}" / f"plan-{hashlib.sha256(content).hexdigest()[:12]}.parquet"
    if not path.exists():
        write_whole(path, content)
    latest = {"week_start": str(week_start), "file": str(path.relative_to(into)), "plan": summary.as_json()}
    write_whole(into / LATEST, json.dumps(latest, indent=1, sort_keys=True))
    return path


def _kind(name: str) -> pa.DataType:
    if name in {"outlet_id", "ppg_id", "activation", "reason", "why"}:
        return pa.string()
    return pa.bool_() if name == "runs" else pa.float64()


def write_page(
    plan: WeekPlan, explained: Explained, summary: Summary, *, week_start: date, now: datetime, into: Path
) -> Path:
    """Write the page for a sales manager, one file without outside references, and return its path."""
    running = explained.running()
    outlets = _shown(_by_outlet(explained.lines(running)))
    page = render_page(
        Path(__file__).with_name("plan_page.html"),
        summary=summary,
        worth=worth,
        week_start=week_start,
        outlets=outlets,
        more=len(running) - sum(len(lines) for _, _, _, lines in outlets),
        passed_over=explained.lines(explained.not_running()[:MOST_PASSED_OVER]),
        not_run=[(REASONS[name], count) for name, count in summary.not_run.items()],
        rules=_rules(summary),
        assumptions=[
            (field.description, getattr(summary.assumptions, name))
            for name, field in type(plan.assumptions).model_fields.items()
        ],
        confidence=f"{summary.policy.confidence:.0%}",
        table_confidence=f"{TABLE_CONFIDENCE:.0%}",
        caution=CAUTION,
        age_note=age_note(summary.effects_fitted_at, now=now),
    )
    path = into / PAGE
    write_whole(path, page)
    return path


def _by_outlet(lines: Sequence[Line]) -> list[tuple[str, float, float, list[Line]]]:
    """Outlet, its net value and cost, and its lines; the outlet that gains most first."""
    ordered = sorted(lines, key=lambda line: line.outlet_id)
    groups = [(outlet, list(some)) for outlet, some in groupby(ordered, key=lambda line: line.outlet_id)]
    rows = [
        (outlet, sum(x.net_value_usd for x in some), sum(x.cost_usd for x in some), some) for outlet, some in groups
    ]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def _shown(outlets: list[tuple[str, float, float, list[Line]]]) -> list[tuple[str, float, float, list[Line]]]:
    """The first outlets, whole, as long as a page of MOST_SHOWN lines has room; at least one."""
    room = np.cumsum([len(lines) for _, _, _, lines in outlets]) <= MOST_SHOWN
    return outlets[: max(1, int(room.sum()))]


def _rules(summary: Summary) -> list[str]:
    rules = summary.rules
    said = [
        (rules.max_displays, f"at most {rules.max_displays} display(s) per outlet"),
        (rules.max_mailers, f"at most {rules.max_mailers} mailer place(s) per outlet"),
        (rules.max_activated_ppgs, f"at most {rules.max_activated_ppgs} ppg(s) activated per outlet"),
        (rules.minimum_gap_weeks or None, f"at least {rules.minimum_gap_weeks} week(s) between activations of a ppg"),
        (rules.minimum_net_margin_usd, f"at least {rules.minimum_net_margin_usd} USD net a line"),
        (len(rules.must_run) or None, f"{len(rules.must_run)} line(s) promised"),
        (len(rules.never_run) or None, f"{len(rules.never_run)} never-run rule(s)"),
    ]
    sets = [f"only one of {', '.join(ppgs)}" for ppgs in rules.exclusive_ppgs]
    return [text for value, text in said if value is not None] + sets
