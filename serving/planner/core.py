"""The exact search: which deviations from the best at the price of the budget make the best plan within the budget.

Every plan falls short of the bound by what its units lose against their best at that price, and by the price of the
budget it leaves. Only units that can lose less than the best plan so far are looked at, the closest first, and among
partial plans only those that no other beats in cost and value (the core idea of Pisinger 1995, EJOR 83(2), with the
limits of an outlet carried as a state).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from serving.planner.price import Dual, best_of, completions, reduced_values, totals
from serving.planner.problem import Flags, Floats, Ints
from serving.planner.structure import NEVER, Block

MOST_PARTIAL_PLANS = 4000
MOST_UNITS = 1500
ENOUGH = 1e-9  # of the bound: what is left to find is less than the arithmetic is exact


@dataclass
class _Partial:
    """Partial plans: what each loses for certain, costs more than the base, and its state inside the present unit."""

    lost: Floats
    extra: Floats
    state: Ints


@dataclass
class _Trail:
    """How every partial plan came about, to follow the best one back."""

    steps: list[tuple[int, int, int, Ints, Ints]] = field(default_factory=list)

    def follow(self, picks: list[Ints], step: int, at: int) -> None:
        """Write the picks of the plan that stood at place `at` after a step into `picks`."""
        for block, group, unit, parent, pick in reversed(self.steps[: step + 1]):
            picks[block][group, unit] = pick[at]
            at = int(parent[at])


def improved(blocks: Sequence[Block], dual: Dual, picks: list[Ints], budget: float) -> tuple[list[Ints], bool]:
    """The best picks found, at least as good as those given, and whether they are proven to be the best there are."""
    value = sum(totals(block, picked)[0] for block, picked in zip(blocks, picks, strict=True))
    enough = ENOUGH * max(1.0, abs(dual.bound))
    if dual.bound - value <= enough:
        return picks, True
    return _Search(blocks, dual, budget, short=dual.bound - value, enough=enough).run(picks)


class _Search:
    def __init__(self, blocks: Sequence[Block], dual: Dual, budget: float, *, short: float, enough: float) -> None:
        self.blocks, self.price, self.short, self.enough = blocks, dual.price, short, enough
        self.base = [best_of(block, dual.price).picked for block in blocks]
        self.slack = budget - sum(totals(b, p)[1] for b, p in zip(blocks, self.base, strict=True))
        self.partial = _Partial(np.zeros(1), np.zeros(1), np.zeros(1, np.intp))
        self.trail = _Trail()
        self.found: tuple[int, int] | None = None
        self.is_whole = True

    def run(self, picks: list[Ints]) -> tuple[list[Ints], bool]:
        """Go through the core; falls back on `picks` where nothing better was found."""
        self._settle()
        losses = [_losses(block, self.price) for block in self.blocks]
        nearest = [_second(loss, base) for loss, base in zip(losses, self.base, strict=True)]
        order = sorted(
            (float(near[n]), b, int(n)) for b, near in enumerate(nearest) for n in _closest(near, self.short)
        )
        for near, b, n in order[:MOST_UNITS]:
            if near >= self.short or self.short <= self.enough:
                break
            self._unit(b, n, losses[b][..., n])
        else:
            self.is_whole &= len(order) <= MOST_UNITS
        self.is_whole |= self.short <= self.enough
        if self.found is None:
            return picks, self.is_whole
        better = [base.copy() for base in self.base]
        self.trail.follow(better, *self.found)
        return better, self.is_whole

    def _unit(self, b: int, n: int, loss: Floats) -> None:
        """Let one unit deviate from its base in every way that could still pay."""
        block, partial = self.blocks[b], self.partial
        value, cost = block.value[..., n], block.cost[..., n]
        reduced = value - self.price * cost
        open_ = _completions_of(block, reduced.max(axis=2))
        places = value.shape[2]
        base = float(cost.reshape(len(cost), -1)[np.arange(len(cost)), self.base[b][:, n]].sum())
        partial.extra = partial.extra - base
        lost_so_far = partial.lost + open_[0, 0]
        for j in range(len(value)):
            parts, parents, picks = [], [], []
            for u, k in np.argwhere(loss[j] < self.short):
                after = block.follows[u, partial.state]
                ok = np.flatnonzero(after >= 0)
                lost = lost_so_far[ok] - reduced[j, u, k]
                ok, lost = ok[keep := lost - open_[j + 1, after[ok]] < self.short], lost[keep]
                parts.append(_Partial(lost, partial.extra[ok] + cost[j, u, k], after[ok]))
                parents.append(ok)
                picks.append(np.full(len(ok), u * places + k))
            partial, kept = self._kept(parts, open_[j + 1])
            self.trail.steps.append((b, j, n, np.concatenate(parents)[kept], np.concatenate(picks)[kept]))
            lost_so_far = partial.lost
        partial.state = np.zeros(len(partial.lost), np.intp)
        self.partial = partial
        self._settle()

    def _kept(self, parts: Sequence[_Partial], open_: Floats) -> tuple[_Partial, Ints]:
        lost, extra, state = (np.concatenate([getattr(p, name) for p in parts]) for name in ("lost", "extra", "state"))
        worth = self.price * extra - lost  # what a plan is worth, but for a constant
        order = np.lexsort((-worth, extra, state))
        kept = order[_undominated(state[order], worth[order])]
        if len(kept) > MOST_PARTIAL_PLANS:
            final = lost[kept] - open_[state[kept]]
            kept = np.sort(kept[np.argpartition(final, MOST_PARTIAL_PLANS)[:MOST_PARTIAL_PLANS]])
            self.is_whole = False
        return _Partial(lost[kept], extra[kept], state[kept]), kept

    def _settle(self) -> None:
        """Every partial plan is a whole one with the base of the other units: remember the best the budget pays for."""
        short = np.where(
            self.partial.extra <= self.slack,
            self.partial.lost + self.price * (self.slack - self.partial.extra),
            np.inf,
        )
        best = int(short.argmin())
        if short[best] < self.short - self.enough / 10:
            self.short = float(short[best])
            self.found = (len(self.trail.steps) - 1, best)


def _undominated(state: Ints, worth: Floats) -> Flags:
    """In order of state and cost: which are worth more than all cheaper ones of their state."""
    keep = np.zeros(len(state), np.bool_)
    edges = np.flatnonzero(np.diff(state, prepend=-1, append=-1))
    for start, end in pairwise(edges.tolist()):
        top = np.maximum.accumulate(worth[start:end])
        keep[start] = True
        keep[start + 1 : end] = worth[start + 1 : end] > top[:-1]
    return keep


def _closest(near: Floats, short: float) -> Ints:
    units = np.flatnonzero(near < short)
    if len(units) > MOST_UNITS + 1:
        units = units[np.argpartition(near[units], MOST_UNITS)[: MOST_UNITS + 1]]
    return units


def _second(loss: Floats, base: Ints) -> Floats:
    """What a unit loses at least when it deviates from its base anywhere, (N,)."""
    groups, classes, places, units = loss.shape
    flat = loss.reshape(groups, classes * places, units).copy()
    flat[np.arange(groups)[:, None], base, np.arange(units)] = np.inf
    nearest: Floats = flat.min(axis=(0, 1))
    return nearest


def _losses(block: Block, price: float) -> Floats:
    """What a unit loses at least with each of its options, (J, U, K, N): exact, by the best of all others."""
    best, _ = reduced_values(block, price)
    groups, classes, units = best.shape
    table = completions(block, best)
    others = np.full((groups, classes, units), NEVER)
    sofar = np.full(table.shape[1:], NEVER)
    sofar[0] = 0.0
    for j in range(groups):
        following = np.full(sofar.shape, NEVER)
        for u, (before, after) in enumerate(block.moves):
            others[j, u] = (sofar[before] + table[j + 1, after]).max(axis=0)
            following[after] = np.maximum(following[after], sofar[before] + best[j, u])
        sofar = following
    with np.errstate(invalid="ignore"):
        loss = table[0, 0] - others[:, :, None] - (block.value - price * block.cost)
    return np.where(np.isnan(loss), np.inf, loss)


def _completions_of(block: Block, best: Floats) -> Floats:
    """(J + 1, S) of one unit."""
    return completions(block, best[..., None])[..., 0]
