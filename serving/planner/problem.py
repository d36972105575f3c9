"""A planning problem and its solution as plain arrays, and an independent check that a solution keeps every rule."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Flags = NDArray[np.bool_]

NOTHING = -1
# Sums of many cents may differ in the last bits; nobody is refused for a millionth of a dollar.
MONEY_TOLERANCE = 1e-6


class PlanningError(Exception):
    """A problem is malformed, or its rules need more than the solver takes; the message says which and what to do."""


class InfeasibleError(PlanningError):
    """No choice keeps every rule."""


@dataclass(frozen=True)
class Problem:
    """n options in g groups, the groups in outlets; of every group at most one option is chosen.

    `group` (n,) and `outlet` (g,) are indices in ascending order, every group has an option. `value` (n,) is what is
    maximised, `cost` (n,) is paid from `budget`, in the same currency. `uses` (n, r) says how much of each of r
    resources an option takes of what `limits` (r,) allows each outlet: slots, and sets of groups of which one may be
    chosen (limit 1). A group that is `required` (g,) must have one of its options. Raises PlanningError.
    """

    group: Ints
    outlet: Ints
    value: Floats
    cost: Floats
    budget: float
    uses: Ints = field(default_factory=lambda: np.zeros((0, 0), dtype=np.intp))
    limits: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    required: Flags = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    def __post_init__(self) -> None:
        n, groups = len(self.group), len(self.outlet)
        for name, fallback in (("uses", np.zeros((n, 0), np.intp)), ("required", np.zeros(groups, np.bool_))):
            if getattr(self, name).size == 0:
                object.__setattr__(self, name, fallback)
        self._refuse(self.value.shape != (n,) or self.cost.shape != (n,), "value and cost need one entry per option")
        self._refuse(self.required.shape != (groups,), "required needs one entry per group")
        self._refuse(self.uses.shape != (n, len(self.limits)), "uses needs one row per option, one column per limit")
        self._refuse(not np.isfinite(self.value).all(), "a value is NaN or infinite")
        self._refuse(not (np.isfinite(self.cost).all() and (self.cost >= 0).all()), "a cost is negative or not finite")
        self._refuse(not (np.isfinite(self.budget) and self.budget >= 0), "the budget is negative or not finite")
        self._refuse((self.uses < 0).any() or (self.limits < 0).any(), "uses and limits cannot be negative")
        present = np.bincount(self.group, minlength=groups) if n else np.zeros(groups, np.intp)
        self._refuse(len(present) > groups or (present == 0).any(), "group needs an option for every group, no more")
        ordered = (np.diff(self.group) >= 0).all() and (np.diff(self.outlet) >= 0).all()
        self._refuse(not ordered, "group and outlet must ascend")

    def _refuse(self, wrong: object, why: str) -> None:
        if wrong:
            raise PlanningError(f"planning problem: {why}")


@dataclass(frozen=True)
class Plan:
    """What to run: `chosen` (g,) is an option per group or NOTHING; no plan at all is worth more than `bound`.

    `shadow_price` is what one more unit of budget would add; `is_proven` says that the search for a better plan
    ended by itself, so that `value` is the optimum (up to a billionth of it).
    """

    chosen: Ints
    value: float
    cost: float
    bound: float
    shadow_price: float
    is_proven: bool

    @property
    def gap(self) -> float:
        """Share of the bound that could at most be missing."""
        return max(0.0, self.bound - self.value) / max(abs(self.bound), 1e-12) if self.bound > self.value else 0.0


def violations(problem: Problem, chosen: Ints) -> list[str]:
    """Every rule that a choice breaks, in words; empty for a plan that may be carried out."""
    broken: list[str] = []
    picked = chosen[chosen != NOTHING]
    groups = np.flatnonzero(chosen != NOTHING)
    if (problem.group[picked] != groups).any():
        broken.append("an option was chosen for a group it does not belong to")
    missing = np.flatnonzero(problem.required & (chosen == NOTHING))
    broken += [f"group {g} is required and has nothing" for g in missing]
    spent = float(problem.cost[picked].sum())
    if spent > problem.budget + MONEY_TOLERANCE:
        broken.append(f"costs {spent:.6f}, the budget is {problem.budget:.6f}")
    outlets = problem.outlet[groups]
    for resource, limit in enumerate(problem.limits):
        used = np.bincount(outlets, weights=problem.uses[picked, resource].astype(np.float64))
        over = np.flatnonzero(used > limit)
        broken += [f"outlet {o} uses {used[o]:g} of resource {resource}, {limit} are allowed" for o in over]
    return broken
