"""Splits a problem into units that only the budget connects, as dense arrays that are searched together.

A unit is an outlet where a limit can bind, else a single group. Groups that share a limit of one are merged into one
group, which costs nothing; what is left of the limits becomes the states of a small dynamic programme per unit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from serving.planner.problem import NOTHING, Flags, Floats, InfeasibleError, Ints, PlanningError, Problem

MOST_STATES = 4096
BLOCK_CELLS = 4_000_000
NEVER = -np.inf


@dataclass(frozen=True)
class Block:
    """N units of up to J groups each; options by class of use u and place k, cheapest first, nothing included.

    `value`, `cost`, `option` are (J, U, K, N); a place without an option has value -inf, nothing has option NOTHING.
    A state counts what is used, as one number; `moves` are the states before and after a use, `offset` (U,) their
    difference, and `follows` (U, S) the state after, or -1 where a limit would be broken. A unit starts at state 0.
    """

    value: Floats
    cost: Floats
    option: Ints
    offset: Ints
    follows: Ints

    @property
    def moves(self) -> list[tuple[Ints, Ints]]:
        """States before and after each class of use."""
        return [(np.flatnonzero(row >= 0), row[row >= 0]) for row in self.follows]


@dataclass(frozen=True)
class _Options:
    """The options that may be chosen at all, by their place in the problem, with groups merged."""

    option: Ints
    group: Ints
    required: frozenset[int]


@dataclass(frozen=True)
class _Layout:
    """Where everything goes: `group` (g,) that are left, `place` of every option among them, `unit` (g,) of each."""

    problem: Problem
    options: _Options
    group: Ints
    place: Ints
    unit: Ints
    resources: Ints
    states: Ints

    def code(self, option: Ints) -> Ints:
        """What an option uses, as the difference of two states."""
        limits = self.problem.limits[self.resources]
        strides = np.cumprod(np.concatenate([limits[1:], [0]])[::-1] + 1)[::-1]
        codes: Ints = (self.problem.uses[option][:, self.resources] * strides[: len(limits)]).sum(axis=1)
        return codes

    def follows(self, offset: Ints) -> Ints:
        """(U, S): the state after a use of `offset`, -1 where a limit would be broken."""
        uses = self.states[offset][:, None]
        fits = (self.states[None] + uses <= self.problem.limits[self.resources]).all(axis=2)
        return np.where(fits, np.arange(len(self.states)) + offset[:, None], -1)


def blocks_of(problem: Problem) -> list[Block]:
    """The blocks of a problem; raises InfeasibleError where a required group has no option left."""
    options = _merged(problem, _worthwhile(problem))
    group, place = np.unique(options.group, return_inverse=True)
    if not len(group):
        return []
    outlet = problem.outlet[group]
    most = np.zeros((len(group), len(problem.limits)), np.intp)
    np.maximum.at(most, place, problem.uses[options.option])
    needs = np.zeros((int(outlet.max()) + 1, len(problem.limits)))
    np.add.at(needs, outlet, most)
    binds = needs > problem.limits
    relevant = np.flatnonzero(binds.any(axis=0))
    coupled: Flags = np.logical_or.reduce(binds, axis=1)[outlet]
    _, unit_of_outlet = np.unique(outlet, return_inverse=True)
    unit = np.where(coupled, unit_of_outlet, len(group) + np.arange(len(group)))
    blocks: list[Block] = []
    for chosen, resources in ((~coupled, relevant[:0]), (coupled, relevant)):
        layout = _Layout(problem, options, group, place, unit, resources, _states(problem, resources))
        blocks += [_block(layout, groups) for groups in _portions(np.flatnonzero(chosen), unit, len(layout.states))]
    return blocks


def _worthwhile(problem: Problem) -> _Options:
    """Without what breaks a limit alone, and what is worth no more than nothing unless something is required."""
    required = frozenset(np.flatnonzero(problem.required).tolist())
    keep = (problem.value > 0) | problem.required[problem.group]
    keep &= (problem.uses <= problem.limits).all(axis=1)
    option = np.flatnonzero(keep)
    lost = required - set(problem.group[option][problem.required[problem.group[option]]].tolist())
    if lost:
        raise InfeasibleError(f"group {min(lost)} is required, but every option of it breaks a limit by itself")
    return _Options(option, problem.group[option], required)


def _merged(problem: Problem, options: _Options) -> _Options:
    """Groups that share a limit of one can have one choice between them: they become one group, named by its first."""
    taken = np.zeros(len(problem.outlet), np.bool_)
    for resource in np.flatnonzero(problem.limits == 1):
        used = problem.uses[options.option, resource]
        inside = np.zeros(len(problem.outlet), np.bool_)
        inside[options.group[used == 1]] = True
        whole = not inside[options.group[used == 0]].any()
        if not whole or (inside & taken).any():
            continue
        taken |= inside
        members = np.flatnonzero(inside)
        first = members[np.searchsorted(problem.outlet[members], problem.outlet[members])]
        leader = np.arange(len(problem.outlet))
        leader[members] = first
        options = _led(options, leader)
    order = np.argsort(options.group, kind="stable")
    return replace(options, option=options.option[order], group=options.group[order])


def _led(options: _Options, leader: Ints) -> _Options:
    if not options.required:
        return replace(options, group=leader[options.group])
    held: dict[int, int] = {}
    for member in sorted(options.required):
        other = held.setdefault(int(leader[member]), member)
        if other != member:
            raise InfeasibleError(f"groups {other} and {member} are both required, but only one of them may be chosen")
    holder = np.full(len(leader), NOTHING)
    holder[list(held)] = list(held.values())
    wanted = holder[leader[options.group]]
    keep = (wanted == NOTHING) | (wanted == options.group)
    return _Options(options.option[keep], leader[options.group[keep]], frozenset(held))


def _states(problem: Problem, resources: Ints) -> Ints:
    """Every count of what is used, one row a state; its number is the row."""
    limits = problem.limits[resources]
    size = int(np.prod(limits + 1.0)) if len(limits) else 1
    if size > MOST_STATES:
        raise PlanningError(
            f"the limits {limits.tolist()} have {size} combinations, {MOST_STATES} are tractable: lower the number of "
            "slots, or let fewer sets of ppgs overlap"
        )
    return np.stack(np.unravel_index(np.arange(size), limits + 1), axis=1) if len(limits) else np.zeros((1, 0), np.intp)


def _portions(groups: Ints, unit: Ints, states: int) -> Iterator[Ints]:
    """Groups in portions of whole units of similar size that fit into memory together."""
    if not len(groups):
        return
    _, where, size = np.unique(unit[groups], return_inverse=True, return_counts=True)
    bucket = np.ceil(2 * np.log2(size))[where]  # half of the places of a block may stay empty, not more
    for level in np.unique(bucket):
        some = groups[bucket == level]
        _, number = np.unique(unit[some], return_inverse=True)
        length = int(np.bincount(number).max())
        portion = max(1, BLOCK_CELLS // ((length + 1) * states))
        for start in range(0, int(number.max()) + 1, portion):
            yield some[(number >= start) & (number < start + portion)]


def _block(layout: _Layout, groups: Ints) -> Block:
    problem, options, group, place, unit = layout.problem, layout.options, layout.group, layout.place, layout.unit
    _, column = np.unique(unit[groups], return_inverse=True)
    units = int(column.max()) + 1
    by_unit = np.argsort(column, kind="stable")
    row = np.empty(len(groups), np.intp)
    row[by_unit] = _rank(column[by_unit])
    inside = np.full(len(group), NOTHING)
    inside[groups] = np.arange(len(groups))
    here = inside[place] != NOTHING
    mine, option = inside[place[here]], options.option[here]
    code = layout.code(option)
    offset = np.unique(np.concatenate([[0], code]))
    kind = np.searchsorted(offset, code)
    order = np.lexsort((problem.cost[option], kind, mine))
    mine, kind, option = mine[order], kind[order], option[order]
    rank = _rank(mine * len(offset) + kind) + (kind == 0)  # the first place of unused slots is nothing
    shape = (int(row.max()) + 1, len(offset), int(rank.max(initial=0)) + 1, units)
    value, cost, index = np.full(shape, NEVER), np.zeros(shape), np.full(shape, NOTHING)
    value[:, 0, 0, :] = 0.0
    must = np.array([g in options.required for g in group[groups].tolist()], dtype=np.bool_)
    value[row[must], 0, 0, column[must]] = NEVER
    at = (row[mine], kind, rank, column[mine])
    value[at], cost[at], index[at] = problem.value[option], problem.cost[option], option
    return Block(value, cost, index, offset, layout.follows(offset))


def _rank(ordered: Ints) -> Ints:
    """0, 1, 2, … within every run of equal numbers."""
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1)) if len(ordered) else ordered
    lengths = np.diff(starts, append=len(ordered))
    return np.arange(len(ordered)) - np.repeat(starts, lengths)
