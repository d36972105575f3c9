"""Spends what a plan within the budget has left: single changes that add value, the least wasteful first."""

from collections.abc import Sequence

import numpy as np

from serving.planner.price import Dual, options_of, totals, unit_costs
from serving.planner.problem import Floats, Ints
from serving.planner.structure import NEVER, Block

MOST_ROUNDS = 100


def filled(blocks: Sequence[Block], dual: Dual, budget: float) -> list[Ints]:
    """Picks within the budget to which no single change can add value, from those that the dual problem left."""
    picks = [picked.copy() for picked in dual.within]
    if dual.above is not None:
        _mix(blocks, picks, dual.above, _left(blocks, picks, budget))
    return topped_up(blocks, picks, dual.price, budget)


def topped_up(blocks: Sequence[Block], picks: list[Ints], price: float, budget: float) -> list[Ints]:
    """The picks, changed in place as long as one more change fits into the budget and adds value."""
    slack = _left(blocks, picks, budget)
    for _ in range(MOST_ROUNDS):
        changes = [_changes(block, picked, price, slack) for block, picked in zip(blocks, picks, strict=True)]
        score = np.concatenate([c[0] for c in changes]) if changes else np.zeros(0)
        extra = np.concatenate([c[1] for c in changes]) if changes else np.zeros(0)
        order = np.argsort(-score, kind="stable")
        order = order[: np.isfinite(score).sum()]
        take = order[np.cumsum(extra[order]) <= slack]
        if not len(take):
            break
        taken = np.zeros(len(score), np.bool_)
        taken[take] = True
        start = 0
        for picked, (s, _, group, pick) in zip(picks, changes, strict=True):
            units = np.flatnonzero(taken[start : start + len(s)])
            picked[group[units], units] = pick[units]
            start += len(s)
        slack -= float(extra[take].sum())
    return picks


def chosen_of(blocks: Sequence[Block], picks: Sequence[Ints]) -> Ints:
    """Options of the problem in all picks."""
    found = [options_of(block, picked) for block, picked in zip(blocks, picks, strict=True)]
    return np.sort(np.concatenate(found)) if found else np.zeros(0, np.intp)


def _left(blocks: Sequence[Block], picks: Sequence[Ints], budget: float) -> float:
    return budget - sum(totals(block, picked)[1] for block, picked in zip(blocks, picks, strict=True))


def _mix(blocks: Sequence[Block], picks: list[Ints], above: Sequence[Ints], slack: float) -> None:
    """Take the dearer picks of as many units as the budget allows: where prices tie, many units are worth the same."""
    for block, picked, dearer in zip(blocks, picks, above, strict=True):
        extra = unit_costs(block, dearer) - unit_costs(block, picked)
        more = np.flatnonzero(extra > 0)
        take = more[np.cumsum(extra[more]) <= slack]
        picked[:, take] = dearer[:, take]
        slack -= float(extra[take].sum())


def _changes(block: Block, picked: Ints, price: float, slack: float) -> tuple[Floats, Floats, Ints, Ints]:
    """Per unit the affordable change with the highest reduced gain: that gain (-inf: none), cost, group and pick."""
    groups, classes, places, units = block.value.shape
    column = np.arange(units)
    kind = picked // places
    used = block.offset[kind].sum(axis=0)
    best = np.full(units, NEVER)
    extra, group, pick = np.zeros(units), np.zeros(units, np.intp), np.zeros(units, np.intp)
    for j in range(groups):
        rest = used - block.offset[kind[j]]
        value = block.value[j].reshape(-1, units)
        cost = block.cost[j].reshape(-1, units)
        value_now, cost_now = value[picked[j], column], cost[picked[j], column]
        for p in range(classes * places):
            gain, more = value[p] - value_now, cost[p] - cost_now
            score = gain - price * more
            better = (gain > 1e-9) & (more <= slack) & (score > best) & (block.follows[p // places, rest] >= 0)
            best[better], extra[better], group[better], pick[better] = score[better], more[better], j, p
    return best, extra, group, pick
