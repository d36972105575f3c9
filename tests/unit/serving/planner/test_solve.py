"""The solver finds the optimum, keeps every rule, bounds what is missing, and says what another dollar would bring."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planning_instances import bundle_problem, greedy_by_ratio, highs, slot_problem, small_problem
from serving.planner import core
from serving.planner.problem import NOTHING, InfeasibleError, PlanningError, Problem, violations
from serving.planner.solve import solve


def by_trying_all(problem):
    """The best value of all combinations, None when none keeps the rules."""
    choices = [[NOTHING, *np.flatnonzero(problem.group == g)] for g in range(len(problem.outlet))]
    values = [
        float(problem.value[chosen[chosen != NOTHING]].sum())
        for chosen in map(np.array, itertools.product(*choices))
        if not violations(problem, chosen)
    ]
    return max(values, default=None)


def problem(value, cost, budget, *, group=None, outlet=None, **rules):
    """A problem of single options unless groups are told."""
    group = np.arange(len(value)) if group is None else np.array(group)
    outlet = np.arange(group.max() + 1) if outlet is None else np.array(outlet)
    return Problem(group, outlet, np.array(value, float), np.array(cost, float), budget, **rules)


def test_no_combination_is_better_than_the_plan_of_a_tiny_problem():
    tried = 0
    for seed in range(400):
        small = small_problem(seed)
        if np.prod([np.sum(small.group == g) + 1 for g in range(len(small.outlet))]) > 3000:
            continue
        best = by_trying_all(small)
        if best is None:
            with pytest.raises(InfeasibleError):
                solve(small)
            continue
        tried += 1
        plan = solve(small)
        assert plan.value == pytest.approx(best, abs=1e-9), seed
        assert plan.is_proven
    assert tried > 50


@settings(max_examples=1000, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_plan_breaks_a_rule_and_each_is_what_an_exact_solver_finds(seed):
    drawn = small_problem(seed)
    try:
        plan = solve(drawn)
    except InfeasibleError:
        assert highs(drawn) is None
        return
    assert violations(drawn, plan.chosen) == []
    assert plan.is_proven
    assert plan.value <= plan.bound + 1e-9
    assert plan.cost <= drawn.budget + 1e-6
    if seed % 8 == 0:
        assert plan.value == pytest.approx(highs(drawn), abs=1e-6)


def test_outlets_with_many_ppgs_are_planned_as_an_exact_solver_does():
    for seed in range(3):
        slots = slot_problem(seed, outlets=12, ppgs=6)
        plan = solve(slots)
        assert plan.is_proven
        assert plan.value == pytest.approx(highs(slots), abs=1e-6)


def test_bundles_of_many_outlets_are_within_a_thousandth_of_the_linear_bound():
    bundles = bundle_problem(1, outlets=2000)
    plan = solve(bundles)
    assert violations(bundles, plan.chosen) == []
    assert plan.bound == pytest.approx(highs(bundles, whole=False), rel=1e-9)
    assert plan.gap < 1e-4
    assert plan.value > greedy_by_ratio(bundles)


def test_limits_tighten_the_bound_below_that_of_the_linear_programme():
    of_three_no_two = problem(
        [1, 1, 1], [1, 1, 1], 2.0, outlet=[0, 0, 0], uses=1 - np.eye(3, dtype=int), limits=np.array([1, 1, 1])
    )
    plan = solve(of_three_no_two)
    assert highs(of_three_no_two, whole=False) == pytest.approx(1.5)
    assert (plan.value, plan.bound) == (1, 1)


def test_the_shadow_price_is_what_one_more_dollar_brings():
    at = {budget: solve(bundle_problem_with(budget)) for budget in (400.0, 401.0)}
    gained = at[401.0].value - at[400.0].value
    assert gained == pytest.approx(at[400.0].shadow_price, rel=0.05)


def bundle_problem_with(budget):
    """The same bundles under another budget."""
    bundles = bundle_problem(5, outlets=500)
    return Problem(bundles.group, bundles.outlet, bundles.value, bundles.cost, budget)


def test_a_budget_that_pays_for_everything_has_no_price():
    plan = solve(problem([3, 2, -1], [1, 1, 1], 10))
    assert (plan.shadow_price, plan.value, plan.cost, plan.gap) == (0, 5, 2, 0)
    assert plan.chosen.tolist() == [0, 1, NOTHING]


def test_what_brings_no_value_is_left_out_and_what_costs_nothing_is_taken_without_a_budget():
    plan = solve(problem([0, -2, 1, 5], [0, 0, 0, 1], 0))
    assert plan.chosen.tolist() == [NOTHING, NOTHING, 2, NOTHING]


def test_nothing_to_choose_from_is_an_empty_plan():
    empty = Problem(np.zeros(0, int), np.zeros(0, int), np.zeros(0), np.zeros(0), 5.0)
    plan = solve(empty)
    assert (len(plan.chosen), plan.value, plan.bound, plan.is_proven) == (0, 0, 0, True)


def test_more_value_is_never_found_under_a_smaller_budget():
    values = [solve(bundle_problem_with(budget)).value for budget in (0.0, 50.0, 100.0, 200.0, 400.0, 800.0)]
    assert values == sorted(values)


def test_the_same_problem_has_the_same_plan():
    one, other = (solve(slot_problem(7, outlets=200)) for _ in range(2))
    assert one.chosen.tolist() == other.chosen.tolist()


def test_a_search_that_is_cut_short_says_that_the_plan_is_not_proven(monkeypatch):
    monkeypatch.setattr(core, "MOST_UNITS", 1)
    cut = [solve(bundle_problem(seed, outlets=60)) for seed in range(5)]
    assert not all(plan.is_proven for plan in cut)
    monkeypatch.undo()
    for seed, plan in enumerate(cut):
        whole = solve(bundle_problem(seed, outlets=60))
        assert whole.is_proven
        assert plan.value <= whole.value <= plan.bound


@pytest.mark.parametrize(
    ("required", "said"),
    [
        ({"cost": [3, 3], "limits": [9]}, "costs at least 6.00, the budget is 5.00"),
        ({"cost": [1, 1], "limits": [1]}, "only one of them may be chosen"),
        ({"cost": [1, 1], "limits": [0]}, "every option of it breaks a limit by itself"),
    ],
)
def test_what_cannot_be_kept_together_is_refused_by_name(required, said):
    asked = problem(
        [1, 1],
        required["cost"],
        5.0,
        outlet=[0, 0],
        uses=np.ones((2, 1), int),
        limits=np.array(required["limits"]),
        required=np.ones(2, bool),
    )
    with pytest.raises(InfeasibleError, match=said):
        solve(asked)


def test_required_groups_that_overfill_the_slots_together_are_refused():
    asked = problem(
        [1, 1, 1], [1, 1, 1], 5.0, outlet=[0, 0, 0], uses=np.ones((3, 1), int), limits=np.array([2]),
        required=np.ones(3, bool),
    )  # fmt: skip
    with pytest.raises(InfeasibleError, match="breaks a limit"):
        solve(asked)


@pytest.mark.parametrize(
    "broken",
    [
        {"value": [np.nan]},
        {"value": [1, 2]},
        {"cost": [-1]},
        {"cost": [np.inf]},
        {"budget": -1},
        {"budget": np.nan},
        {"uses": np.ones((1, 2), int)},
        {"required": np.ones(3, bool)},
        {"group": [1], "outlet": [0, 0]},
        {"group": [1], "outlet": [0]},
    ],
)
def test_a_malformed_problem_is_refused(broken):
    with pytest.raises(PlanningError, match="planning problem"):
        problem(**{"value": [1], "cost": [1], "budget": 1, **broken})


def test_limits_with_too_many_combinations_are_refused_and_not_tried():
    groups = 60
    wide = problem(
        [1.0] * groups, [1.0] * groups, 5.0, outlet=[0] * groups, uses=np.ones((groups, 4), int),
        limits=np.array([40, 40, 40, 40]),
    )  # fmt: skip
    with pytest.raises(PlanningError, match="tractable"):
        solve(wide)


def test_the_check_of_a_plan_names_every_broken_rule():
    asked = problem(
        [1, 1, 1], [2, 2, 2], 3.0, outlet=[0, 0, 0], uses=np.ones((3, 1), int), limits=np.array([1]),
        required=np.array([False, False, True]),
    )  # fmt: skip
    said = violations(asked, np.array([0, 1, NOTHING]))
    assert [word in " ".join(said) for word in ("required", "budget", "resource 0")] == [True] * 3
    assert violations(asked, np.array([NOTHING, NOTHING, 2])) == []
    assert violations(asked, np.array([1, NOTHING, 2]))
