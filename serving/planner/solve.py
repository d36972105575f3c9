"""The solver: the price of the budget, a plan that spends it, and the exact search around that plan."""

import numpy as np

from serving.planner.core import improved
from serving.planner.fill import chosen_of, filled, topped_up
from serving.planner.price import solve_dual
from serving.planner.problem import NOTHING, InfeasibleError, Plan, PlanningError, Problem, violations
from serving.planner.structure import blocks_of

# Costs are sums of cents; the last bit of a sum is no reason to leave a line out.
ROUNDING = 1e-12


def solve(problem: Problem) -> Plan:
    """The most valuable plan under budget and limits, with a bound of every plan and the price of the budget.

    A multiple-choice knapsack whose groups are tied together by the limits of their outlet. Raises InfeasibleError
    where nothing keeps every rule, and PlanningError where the limits have more combinations than are tractable.
    """
    budget = problem.budget * (1 + ROUNDING)
    blocks = blocks_of(problem)
    dual = solve_dual(blocks, budget)
    picks, is_proven = improved(blocks, dual, filled(blocks, dual, budget), budget)
    options = chosen_of(blocks, topped_up(blocks, picks, dual.price, budget))
    chosen = np.full(len(problem.outlet), NOTHING)
    chosen[problem.group[options]] = options
    broken = violations(problem, chosen)
    if broken:  # never seen; a plan that breaks a rule must not leave this house
        raise PlanningError("the solver broke a rule, please report this problem: " + "; ".join(broken[:5]))
    value, cost = float(problem.value[options].sum()), float(problem.cost[options].sum())
    bound = max(value, dual.bound)
    return Plan(chosen, value, cost, bound, dual.price, is_proven)


__all__ = ["InfeasibleError", "Plan", "PlanningError", "Problem", "solve", "violations"]
