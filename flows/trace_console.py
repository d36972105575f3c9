"""A traced decision as a person reads it, as a tree, and as machines do."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flows.console import Console
from flows.steps.trace import Trace

if TYPE_CHECKING:
    from rich.tree import Tree

LISTED = 6  # values of a view that are written out; all of them are in --json


def show(trace: Trace) -> None:
    """Print the tree from the decision down to raw rows, and what is missing."""
    from rich.text import Text
    from rich.tree import Tree

    row = trace.decision
    tree = Tree(Text(f"decision {row['decision_id']} ({row['kind']})", style="bold"))

    def branch(parent: "Tree", text: str) -> "Tree":
        return parent.add(Text(text))

    _answer(branch, tree, trace)
    _model(branch, tree, trace)
    served = branch(tree, f"served vector: {len(row['features'])} inputs, business time {row['business_time']}")
    for view in trace.views:
        about = ", ".join(view.entity.values())
        times = f"about {_time(view.event_time)}, known {_time(view.created_time)}" if view.event_time else "no row"
        as_served = "" if view.differing or not view.event_time or view.note else ", as served"
        node = branch(served, f"{view.view} ({about}): {times}{as_served}{f', file {view.file}' if view.file else ''}")
        branch(node, _values(view.values))
        for name, value in view.differing.items():
            branch(node, f"{name}: served {view.values[name]}, the table says {value}")
    branch(served, f"computed at request time: {_values(trace.requested)}")
    lake = branch(tree, f"lake rows of outlet {row['outlet_id']}, ppg {row['ppg_id']}, known at that business time")
    for part in trace.lake:
        weeks = f"weeks {part.first_week} to {part.last_week}"
        branch(
            lake, f"{part.table}/{part.part}: {part.rows:,} rows, {weeks}, the newest known {_time(part.known_until)}"
        )
    if trace.gaps:
        gaps = branch(tree, "gaps")
        for gap in trace.gaps:
            branch(gaps, gap)
    Console().terminal.print(tree)


def as_json(trace: Trace) -> str:
    """All of it; times in ISO 8601."""
    return json.dumps(asdict(trace), indent=1, default=_plain)


def _answer(branch: Any, tree: "Tree", trace: Trace) -> None:
    row = trace.decision
    answer = branch(
        tree,
        f"answered {row['wall_time']} for outlet {row['outlet_id']}, ppg {row['ppg_id']}, week of {row['week_start']}",
    )
    chosen = row["activation"]
    for candidate in row["candidates"]:
        mark = "chosen: " if candidate["activation"] == chosen else "could have been: "
        said = (
            f"{candidate['transactions']:.3f} ({candidate['transactions_low']:g} to {candidate['transactions_high']:g})"
        )
        branch(answer, f"{mark}{_activation(candidate['activation'])}, predicted transactions {said}")
    drawn = f"arm {row.get('arm') or 'not on record'}, propensity {row['propensity']:.4g}"
    branch(answer, f"policy {row['policy']}, {drawn}, flags {', '.join(row['flags']) or 'none'}")
    branch(answer, f"line of {trace.file}")
    if trace.outcome is not None:
        known = trace.outcome
        ran = _activation(
            {"display": known["ran_display"], "mailer": known["ran_mailer"], "price_cut": known["ran_price_cut"]}
        )
        sold = f"{known['transactions']:g} transactions, {known['units']:g} units"
        branch(tree, f"outcome: {sold}; what ran: {ran} ({known['state']})")


def _model(branch: Any, tree: "Tree", trace: Trace) -> None:
    if trace.release is not None:
        node = branch(tree, f"release {trace.release.id}, {trace.release.standing}, built {trace.release.created_at}")
        for name, digest in trace.release.files.items():
            branch(node, f"{name}  sha256 {digest[:16]}…")
    if trace.model is not None:
        model = trace.model
        node = branch(tree, f"model {model.name} version {model.version}, MLflow run {model.run_id}")
        branch(node, f"code: {_pairs(model.made_by)}")
        branch(node, f"data: {_pairs(model.pins)}")
        branch(node, f"gate: {model.verdict} {(model.verdict_digest or '')[:16]}".rstrip())
    for move in trace.moves:
        answers = f", {move.override} answers for it" if move.override else ""
        moved = f"{move.who} moved it from {move.from_version or 'none'}, {move.why}{answers}"
        branch(tree, f"champion from {_time(move.at)}: {moved}")


def _activation(activation: Mapping[str, Any]) -> str:
    cut = f"price cut {activation['price_cut']:.0%}" if activation["price_cut"] else ""
    parts = ["display" if activation["display"] else "", "mailer" if activation["mailer"] else "", cut]
    return " + ".join(part for part in parts if part) or "none"


def _values(values: Mapping[str, float | None]) -> str:
    shown = [f"{name} {'–' if value is None else f'{value:g}'}" for name, value in list(values.items())[:LISTED]]
    more = len(values) - LISTED
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "not on record"


def _time(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def _plain(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
