"""Which rows of the effect table may be planned at all, and why the others may not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from poplift.assumptions import Assumptions
from poplift.margin import placement_costs_usd
from serving.planner.effects import EffectTable
from serving.planner.problem import Flags, Floats, Ints
from serving.planner.rules import MustRun, NeverRun, PlanPolicy, PlanRules

LineKey = tuple[str, str]


class Status(IntEnum):
    """Why a row is not eligible; the first that holds, in this order."""

    ELIGIBLE = 0
    HELD_OUT = 1
    NEVER_RUN = 2
    GAP = 3
    GAP_UNKNOWN = 4
    THIN_EVIDENCE = 5
    CROSSES_ZERO = 6
    NO_GAIN = 7
    BELOW_MARGIN = 8


@dataclass(frozen=True)
class Candidates:
    """m rows of the effect table in the scope of a plan, with what each costs and is worth.

    `row` (m,) are places in the table; `low` and `high` bound the incremental margin at the policy's confidence;
    `must` marks the promised lines. `weeks_since` is NaN where nobody knows.
    """

    row: Ints
    cost: Floats
    net: Floats
    low: Floats
    high: Floats
    status: Ints
    must: Flags
    weeks_since: Floats


def candidates_of(
    table: EffectTable,
    rules: PlanRules,
    policy: PlanPolicy,
    assumptions: Assumptions,
    *,
    outlet_ids: Sequence[str] | None = None,
    held_out: Sequence[str] = (),
    weeks_since: Mapping[LineKey, float] | None = None,
) -> Candidates:
    """Judge every row of the outlets named, or of all; `weeks_since` is 1 for a pair activated in the last week."""
    row = np.arange(len(table))
    if outlet_ids is not None:
        row = row[_in_outlets(table, row, outlet_ids)]
    give_away = table.give_away[row]
    placed = placement_costs_usd(table.activations, assumptions=assumptions)
    cost = placed[table.activation[row]] + give_away
    margin = table.margin.estimate[row]
    low = margin - policy.widening * (margin - table.margin.low[row])
    high = margin + policy.widening * (table.margin.high[row] - margin)
    must = _must(table, row, rules.must_run)
    since = _since(table, row, rules, weeks_since)
    net = margin - cost
    status = np.zeros(len(row), np.intp)
    thin = table.is_thin[row] & (not policy.accepts_thin_evidence)
    below = net < rules.minimum_net_margin_usd if rules.minimum_net_margin_usd is not None else np.zeros_like(thin)
    # A person's promise outweighs the evidence, never another rule.
    for why, holds in (
        (Status.BELOW_MARGIN, below),
        (Status.NO_GAIN, (net <= 0) & ~must),
        # a cut sells more at a lower margin: what must lie above zero is what is left of it
        (Status.CROSSES_ZERO, (low - give_away <= 0) & ~must),
        (Status.THIN_EVIDENCE, thin & ~must),
        (Status.GAP_UNKNOWN, np.isnan(since)),
        (Status.GAP, since <= rules.minimum_gap_weeks),
        (Status.NEVER_RUN, _never(table, row, rules.never_run)),
        (Status.HELD_OUT, _in_outlets(table, row, held_out)),
    ):
        status[holds] = why
    return Candidates(row, cost, net, low, high, status, must, since)


def _in_outlets(table: EffectTable, row: Ints, outlet_ids: Sequence[str]) -> Flags:
    places = [at for o in set(outlet_ids) if (at := table.place_of_outlet(o)) is not None]
    return np.asarray(np.isin(table.outlet[row], np.array(places, dtype=np.intp)))


def rows_of_line(table: EffectTable, row: Ints, line: MustRun) -> Ints:
    """Places in `row` of the outlet, ppg and activation of a line; none or one."""
    outlet, ppg = table.place_of_outlet(line.outlet_id), table.place_of_ppg(line.ppg_id)
    names = [a.name for a in table.activations]
    if outlet is None or ppg is None or line.activation not in names:
        return np.zeros(0, np.intp)
    here = (table.outlet[row] == outlet) & (table.ppg[row] == ppg)
    return np.flatnonzero(here & (table.activation[row] == names.index(line.activation)))


def _must(table: EffectTable, row: Ints, lines: Sequence[MustRun]) -> Flags:
    must = np.zeros(len(row), np.bool_)
    for line in lines:
        must[rows_of_line(table, row, line)] = True
    return must


def _never(table: EffectTable, row: Ints, rules: Sequence[NeverRun]) -> Flags:
    never = np.zeros(len(row), np.bool_)
    for rule in rules:
        acts = [
            rule.activation in (None, a.name) and (rule.mechanic is None or bool(getattr(a, rule.mechanic)))
            for a in table.activations
        ]
        holds = np.array(acts, dtype=np.bool_)[table.activation[row]]
        if rule.outlet_id is not None:
            holds &= table.outlet[row] == table.place_of_outlet(rule.outlet_id)
        if rule.ppg_id is not None:
            holds &= table.ppg[row] == table.place_of_ppg(rule.ppg_id)
        never |= holds
    return never


def _since(table: EffectTable, row: Ints, rules: PlanRules, weeks_since: Mapping[LineKey, float] | None) -> Floats:
    """Weeks since the last activation; without a rule on gaps nobody asks."""
    if not rules.minimum_gap_weeks:
        return np.full(len(row), np.inf)
    known = weeks_since or {}
    pairs, place = np.unique(table.outlet[row] * len(table.ppg_ids) + table.ppg[row], return_inverse=True)
    outlet, ppg = np.divmod(pairs, max(1, len(table.ppg_ids)))
    ids = ((table.outlet_ids[o], table.ppg_ids[p]) for o, p in zip(outlet.tolist(), ppg.tolist(), strict=True))
    return np.array([known.get(pair, np.nan) for pair in ids], dtype=np.float64)[place]
