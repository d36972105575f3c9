"""Planning problems for measuring and testing the planner, drawn from a seed, and their optimum by HiGHS."""

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix, vstack

from poplift.activation import CANDIDATES, NONE
from serving.planner.problem import Problem


def small_problem(seed: int) -> Problem:
    """One to five outlets with every kind of rule, costs of nothing and of cents, ties, sometimes without an answer."""
    rng = np.random.default_rng(seed)
    _, outlet = np.unique(np.sort(rng.integers(0, rng.integers(1, 6), rng.integers(1, 13))), return_inverse=True)
    groups = len(outlet)
    group = np.repeat(np.arange(groups), rng.integers(1, 7, groups))
    n = len(group)
    cost = rng.choice([0, 0.5, 1, 1.5, 2], n) if rng.random() < 0.5 else rng.gamma(1, 1, n)
    value = rng.normal(1, 1.5, n)
    if rng.random() < 0.3:
        value = np.round(value, 1)
    resources = int(rng.integers(0, 4))
    uses = rng.integers(0, 2, (n, resources))
    for resource in range(min(resources, 2)):
        if rng.random() < 0.5:  # whole groups exclude each other
            uses[:, resource] = rng.integers(0, 2, groups)[group]
    return Problem(
        group=group,
        outlet=outlet,
        value=value,
        cost=cost,
        budget=float(rng.random() * cost.sum() * 0.5),
        uses=uses,
        limits=rng.integers(0 if rng.random() < 0.2 else 1, 3, resources),
        required=rng.random(groups) < (0.15 if rng.random() < 0.4 else 0.0),
    )


def bundle_problem(seed: int, *, outlets: int, bundles: int = 8) -> Problem:
    """One choice per outlet among bundles of growing cost and, on average, falling return; values differ by outlet."""
    rng = np.random.default_rng(seed)
    n = outlets * bundles
    outlet = np.repeat(np.arange(outlets), bundles)
    usual = np.tile(np.cumsum(rng.uniform(0.3, 1.5, bundles)), outlets)
    cost = np.round(usual * rng.uniform(0.7, 1.3, n), 2)
    value = 2 * rng.lognormal(0, 0.8, outlets)[outlet] * np.sqrt(cost) * rng.gamma(4, 0.25, n) - cost
    return Problem(outlet, np.arange(outlets), value, cost, budget=0.15 * float(usual.mean()) * outlets)


def slot_problem(seed: int, *, outlets: int, ppgs: int = 4) -> Problem:
    """Standard activations of several ppgs: one display, one mailer, two ppgs, two of the ppgs exclude each other."""
    rng = np.random.default_rng(seed)
    activations = [a for a in CANDIDATES if a != NONE]
    groups, k = outlets * ppgs, len(activations)
    n = groups * k
    display = np.tile([a.display for a in activations], groups).astype(np.intp)
    mailer = np.tile([a.mailer for a in activations], groups).astype(np.intp)
    cost = 1.0 * display + 0.5 * mailer
    value = 1.2 * np.repeat(rng.lognormal(0, 0.8, groups), k) * rng.gamma(2, 0.5, n) - cost
    exclusive = np.tile(np.repeat(np.arange(ppgs) < 2, k), outlets).astype(np.intp)
    return Problem(
        group=np.repeat(np.arange(groups), k),
        outlet=np.repeat(np.arange(outlets), ppgs),
        value=value,
        cost=cost,
        budget=0.2 * outlets,
        uses=np.column_stack([display, mailer, np.ones(n, np.intp), exclusive]),
        limits=np.array([1, 1, 2, 1]),
    )


def highs(problem: Problem, *, seconds: float | None = None, gap: float = 0.0, whole: bool = True) -> float | None:
    """Value of the best plan by HiGHS (without `whole`: of its linear programme); None when there is none in time."""
    n, groups = len(problem.group), len(problem.outlet)
    every = np.arange(n)
    rows = [csr_matrix((np.ones(n), (problem.group, every)), shape=(groups, n)), csr_matrix(problem.cost[None])]
    low, high = [problem.required.astype(float), [0.0]], [np.ones(groups), [problem.budget]]
    outlets = int(problem.outlet.max()) + 1
    for resource, limit in enumerate(problem.limits):
        used = problem.uses[:, resource].astype(float)
        rows.append(csr_matrix((used, (problem.outlet[problem.group], every)), shape=(outlets, n)))
        low.append(np.zeros(outlets))
        high.append(np.full(outlets, float(limit)))
    options = {"mip_rel_gap": gap} | ({"time_limit": seconds} if seconds else {})
    found = milp(
        -problem.value,
        constraints=LinearConstraint(vstack(rows), np.concatenate(low), np.concatenate(high)),
        integrality=np.full(n, int(whole)),
        bounds=Bounds(0, 1),
        options=options,
    )
    return None if found.x is None else -float(found.fun)


def greedy_by_ratio(problem: Problem) -> float:
    """Value of the plan of a spreadsheet: best value per dollar first, whatever still fits; without required groups."""
    worth = np.flatnonzero(problem.value > 0)
    ratio = problem.value[worth] / np.maximum(problem.cost[worth], 1e-9)
    left, value = problem.budget, 0.0
    done = np.zeros(len(problem.outlet), np.bool_)
    used = np.zeros((int(problem.outlet.max()) + 1, len(problem.limits)), np.intp)
    for option in worth[np.argsort(-ratio, kind="stable")].tolist():
        group = problem.group[option]
        outlet = problem.outlet[group]
        takes = used[outlet] + problem.uses[option]
        if not done[group] and problem.cost[option] <= left and (takes <= problem.limits).all():
            done[group] = True
            used[outlet] = takes
            left -= problem.cost[option]
            value += problem.value[option]
    return value


def under_rules(problem: Problem, seed: int) -> Problem:
    """The same problem where a fifth of the options may not run, and one group in a hundred must run one of its own."""
    rng = np.random.default_rng(seed)
    keep = rng.random(len(problem.group)) > 0.2
    keep[np.flatnonzero(np.diff(problem.group, prepend=-1))] = True
    required = rng.random(len(problem.outlet)) < 0.01
    return Problem(
        group=problem.group[keep],
        outlet=problem.outlet,
        value=problem.value[keep],
        cost=problem.cost[keep],
        budget=problem.budget,
        uses=problem.uses[keep],
        limits=problem.limits,
        required=required,
    )
