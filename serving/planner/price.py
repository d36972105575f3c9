"""The price of the budget: the dual problem of one number, by the exact best of every unit at a given price.

At a price p a unit takes the choice with the highest value less p times cost; the sum, plus p times the budget, is an
upper bound of every plan. The lowest such bound is found where the lines of a plan that costs too much and of one that
does not meet (Everett 1963, Operations Research 11(3); the search is that of Eisner and Severance 1976, JACM 23(4)).
For groups without limits it is the bound of the linear programme; limits only make it tighter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.planner.problem import Floats, InfeasibleError, Ints
from serving.planner.structure import NEVER, Block

MOST_STEPS = 200


@dataclass(frozen=True)
class Best:
    """The best of every unit of a block at a price: its reduced value (N,), and what was picked, u * K + k (J, N)."""

    reduced: Floats
    picked: Ints


@dataclass(frozen=True)
class Dual:
    """The lowest bound, its price, and the picks of every block: a plan within the budget, and one above it."""

    price: float
    bound: float
    within: list[Ints]
    above: list[Ints] | None


def reduced_values(block: Block, price: float) -> tuple[Floats, Ints]:
    """Best of every class at a price, (J, U, N), and its place k; the cheaper of two equals."""
    best = block.value[:, :, 0] - price * block.cost[:, :, 0]
    place = np.zeros(best.shape, np.intp)
    for k in range(1, block.value.shape[2]):
        other = block.value[:, :, k] - price * block.cost[:, :, k]
        better = other > best
        np.copyto(best, other, where=better)
        place[better] = k
    return best, place


def completions(block: Block, best: Floats) -> Floats:
    """(J + 1, S, N): the most that groups j, j + 1, … can add when the state is s."""
    groups, _, units = best.shape
    table = np.zeros((groups + 1, block.follows.shape[1], units))
    for j in range(groups - 1, -1, -1):
        table[j] = best[j, 0] + table[j + 1]
        for u, (before, after) in enumerate(block.moves):
            if u:
                table[j, before] = np.maximum(table[j, before], best[j, u] + table[j + 1, after])
    return table


def best_of(block: Block, price: float) -> Best:
    """The exact best of every unit at a price."""
    best, place = reduced_values(block, price)
    groups, classes, units = best.shape
    if classes == 1:
        return Best(best[:, 0].sum(axis=0), place[:, 0])
    table = completions(block, best)
    picked = np.empty((groups, units), np.intp)
    state, column = np.zeros(units, np.intp), np.arange(units)
    for j in range(groups):
        after = block.follows[:, state]
        gains = np.where(after >= 0, best[j] + table[j + 1, after, column], NEVER)
        kind = gains.argmax(axis=0)
        picked[j] = kind * block.value.shape[2] + place[j, kind, column]
        state = after[kind, column]
    return Best(table[0, 0], picked)


def totals(block: Block, picked: Ints) -> tuple[float, float]:
    """Value and cost of picks."""
    at = _flat(block, picked)
    return float(block.value.ravel()[at].sum()), float(block.cost.ravel()[at].sum())


def unit_costs(block: Block, picked: Ints) -> Floats:
    """Cost of every unit, (N,)."""
    costs: Floats = block.cost.ravel()[_flat(block, picked)].sum(axis=0)
    return costs


def options_of(block: Block, picked: Ints) -> Ints:
    """Options of the problem that were picked, NOTHING left out."""
    options = block.option.ravel()[_flat(block, picked)].ravel()
    return options[options >= 0]


def _flat(block: Block, picked: Ints) -> Ints:
    groups, classes, places, units = block.value.shape
    flat: Ints = (np.arange(groups)[:, None] * classes * places + picked) * units + np.arange(units)
    return flat


@dataclass(frozen=True)
class _Point:
    value: float
    cost: float
    reduced: float
    picks: list[Ints]


def _at(blocks: Sequence[Block], price: float) -> _Point:
    bests = [best_of(block, price) for block in blocks]
    sums = [totals(block, best.picked) for block, best in zip(blocks, bests, strict=True)]
    value, cost = (sum(s[i] for s in sums) for i in (0, 1))
    return _Point(value, cost, sum(float(best.reduced.sum()) for best in bests), [best.picked for best in bests])


def solve_dual(blocks: Sequence[Block], budget: float) -> Dual:
    """The price at which the bound is lowest; raises InfeasibleError when no plan keeps limits and budget."""
    above = _at(blocks, 0.0)
    if not np.isfinite(above.reduced):
        raise InfeasibleError("what is required breaks a limit; require less, or raise the limit")
    if above.cost <= budget:
        return Dual(0.0, above.value, above.picks, None)
    within = _affordable(blocks, budget)
    price, bound = 0.0, above.value
    for _ in range(MOST_STEPS):
        crossing = (above.value - within.value) / (above.cost - within.cost)
        point = _at(blocks, crossing)
        if point.reduced + crossing * budget < bound:
            price, bound = crossing, point.reduced + crossing * budget
        line = within.value - crossing * within.cost
        if point.reduced <= line + 1e-12 * max(1.0, abs(line)):
            break
        if point.cost > budget:
            above = point
        else:
            within = point
    return Dual(price, bound, within.picks, above.picks)


def _affordable(blocks: Sequence[Block], budget: float) -> _Point:
    """A plan that the budget pays for: where money is so dear that only what costs nothing is bought."""
    price = 1.0 + max((_dearest(block) for block in blocks), default=0.0)
    for _ in range(60):
        point = _at(blocks, price)
        if point.cost <= budget:
            return point
        price *= 4
    raise InfeasibleError(f"what is required costs at least {point.cost:.2f}, the budget is {budget:.2f}")


def _dearest(block: Block) -> float:
    paid = (block.cost > 0) & (block.value > 0)
    return float((block.value[paid] / block.cost[paid]).max(initial=0.0))
