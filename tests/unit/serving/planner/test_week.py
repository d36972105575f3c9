"""A plan keeps the rules, abstains where evidence is thin, spends nothing by default and says what to relax."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from poplift.assumptions import Assumptions
from serving.planner.effects import from_frame
from serving.planner.explain import Explained
from serving.planner.rules import MustRun, NeverRun, PlanPolicy, PlanRules
from serving.planner.week import plan_week
from tests.unit.serving.planner.effect_rows import NAMES, frame, made_up, none, row

TWO = from_frame(
    frame(
        none("a", "p"), row("a", "p", "display", 5.0), row("a", "p", "mailer", 3.0),
        none("a", "q"), row("a", "q", "display", 9.0), row("a", "q", "price_cut_10", 2.0),
        none("b", "p"), row("b", "p", "display", 4.0),
    )
)  # fmt: skip


def running(plan):
    """What runs, as outlet, ppg and activation."""
    explained = Explained(plan)
    return {(line.outlet_id, line.ppg_id): line.activation for line in explained.lines(explained.running())}


def reasons(plan):
    """Why everything else does not run, and in words."""
    explained = Explained(plan)
    return {(x.outlet_id, x.ppg_id): (x.reason, x.why) for x in explained.lines(explained.not_running())}


def test_without_a_budget_nothing_is_planned_not_even_what_costs_nothing():
    plan = plan_week(TWO, PlanRules())
    assert running(plan) == {}
    assert plan.solved.cost == 0
    assert {reason for reason, _ in reasons(plan).values()} == {"no_budget"}


def test_a_budget_of_zero_plans_what_costs_nothing():
    assert running(plan_week(TWO, PlanRules(budget_usd=0))) == {("a", "q"): "price_cut_10"}


def test_the_budget_goes_where_a_dollar_brings_most():
    plan = plan_week(TWO, PlanRules(budget_usd=1.5))
    assert running(plan) == {("a", "p"): "mailer", ("a", "q"): "display"}
    assert plan.solved.value == pytest.approx(2.5 + 8.0)
    said = reasons(plan)[("b", "p")]
    assert said[0] == "budget"
    assert "best candidate display (3.00 net per dollar)" in said[1]
    lines = Explained(plan).lines(Explained(plan).running())
    assert [(x.net_value_usd, x.value_per_usd, x.cost_usd) for x in lines] == [(8.0, 8.0, 1.0), (2.5, 5.0, 0.5)]
    assert all(x.shadow_price == plan.solved.shadow_price for x in lines)
    assert "for 1.00 USD; 8.00 net per dollar; the budget's last dollar brings" in lines[0].why


def test_slots_exclusion_and_never_run_are_kept_and_told():
    slots = plan_week(TWO, PlanRules(budget_usd=9, max_activated_ppgs=1))
    assert running(slots) == {("a", "q"): "display", ("b", "p"): "display"}
    assert reasons(slots)[("a", "p")] == (
        "slots",
        "not run: best candidate display (4.00 net per dollar): the outlet's slots are full (max_activated_ppgs 1)",
    )
    apart = plan_week(TWO, PlanRules(budget_usd=9, exclusive_ppgs=(("p", "q"),)))
    assert running(apart) == running(slots)
    assert reasons(apart)[("a", "p")][0] == "exclusivity"
    never = plan_week(
        TWO,
        PlanRules(
            budget_usd=9,
            never_run=(NeverRun(outlet_id="a", mechanic="display"), NeverRun(ppg_id="p", activation="mailer")),
        ),
    )
    assert running(never) == {("a", "q"): "price_cut_10", ("b", "p"): "display"}
    assert reasons(never)[("a", "p")][0] == "never_run"
    displays = plan_week(TWO, PlanRules(budget_usd=9, max_displays=1))
    assert running(displays) == {("a", "p"): "mailer", ("a", "q"): "display", ("b", "p"): "display"}


def test_a_ppg_rests_for_the_minimum_gap_and_an_unknown_past_is_not_guessed():
    since = {("a", "p"): 2.0, ("a", "q"): 3.0}
    plan = plan_week(TWO, PlanRules(budget_usd=9, minimum_gap_weeks=2), weeks_since=since)
    assert running(plan) == {("a", "q"): "display"}
    why = reasons(plan)
    assert why[("a", "p")] == (
        "gap",
        "not run: best candidate display (4.00 net per dollar): last activated 2 week(s) ago, the minimum gap is 2",
    )
    assert why[("b", "p")][0] == "gap"
    assert "nobody knows" in why[("b", "p")][1]


def test_a_line_below_the_minimum_margin_is_not_run():
    plan = plan_week(TWO, PlanRules(budget_usd=9, minimum_net_margin_usd=4.0))
    assert running(plan) == {("a", "p"): "display", ("a", "q"): "display"}
    assert reasons(plan)[("b", "p")][0] == "minimum_margin"


def test_thin_evidence_and_intervals_that_cross_zero_are_abstained_from():
    table = from_frame(
        frame(
            row("a", "p", "display", 5.0, evidence="thin"), row("a", "q", "display", 5.0, half=5.0),
            row("a", "r", "display", 0.5, half=0.2), row("a", "s", "display", 5.0, half=4.9),
            row("a", "t", "display", 5.0, transactions=0.5, evidence="thin"),
        )
    )  # fmt: skip
    plan = plan_week(table, PlanRules(budget_usd=9))
    assert running(plan) == {("a", "s"): "display"}
    assert {ppg: reason for (_, ppg), (reason, _) in reasons(plan).items()} == {
        "p": "thin_evidence",
        "q": "interval_crosses_zero",
        "r": "no_gain",
        "t": "thin_evidence",
    }
    assert "comparable cells hardly ever had the choice" in reasons(plan)[("a", "p")][1]
    assert "interval of its transactions, -0.5 to +1.5, holds zero" in reasons(plan)[("a", "t")][1]
    assert "0.00 to 10.00 USD, does not lie above zero" in reasons(plan)[("a", "q")][1]
    bolder = PlanPolicy(confidence=0.8, accepts_thin_evidence=True)
    assert set(running(plan_week(table, PlanRules(budget_usd=9), policy=bolder))) == {
        ("a", "p"),
        ("a", "q"),
        ("a", "s"),
        ("a", "t"),
    }


def test_for_outlets_of_the_holdout_nothing_is_planned_and_the_count_says_why():
    plan = plan_week(TWO, PlanRules(budget_usd=9), held_out=["a", "unknown"])
    assert running(plan) == {("b", "p"): "display"}
    assert Explained(plan).counts() == {"holdout": 2}
    assert "in the permanent holdout" in reasons(plan)[("a", "p")][1]


def test_a_promise_outweighs_evidence_and_is_paid_first():
    table = from_frame(frame(row("a", "p", "display", -3.0, evidence="thin"), row("a", "q", "mailer", 9.0)))
    rules = PlanRules(budget_usd=1.2, must_run=(MustRun(outlet_id="a", ppg_id="p", activation="display"),))
    plan = plan_week(table, rules)
    assert running(plan) == {("a", "p"): "display"}
    assert Explained(plan).lines(np.array([0]))[0].reason == "must_run"
    assert plan.left_usd == pytest.approx(0.2)
    assert reasons(plan)[("a", "q")][0] == "budget"


def test_only_the_outlets_asked_for_are_planned_and_missing_ones_are_named():
    plan = plan_week(TWO, PlanRules(budget_usd=9), outlet_ids=["b"], expected_outlets=["a", "c", "b", "d"])
    assert running(plan) == {("b", "p"): "display"}
    assert plan.missing == ("c", "d")


@pytest.mark.parametrize(
    "broken",
    [
        {"budget_usd": -1}, {"budget_usd": float("nan")}, {"budget_usd": "5"}, {"max_displays": 1.5}, {"no_such_rule": 1},
        {"exclusive_ppgs": [["p"]]}, {"must_run": [{"outlet_id": "a", "ppg_id": "p", "activation": "none"}]},
        {"must_run": [{"outlet_id": "a", "ppg_id": "p", "activation": "billboard"}]}, {"never_run": [{}]},
        {"minimum_gap_weeks": 27},
    ],
)  # fmt: skip
def test_rules_that_make_no_sense_are_refused(broken):
    with pytest.raises(ValidationError):
        PlanRules.model_validate(broken)


RULES = st.builds(
    PlanRules,
    budget_usd=st.floats(0, 30),
    max_displays=st.none() | st.integers(0, 3),
    max_mailers=st.none() | st.integers(0, 3),
    max_activated_ppgs=st.none() | st.integers(0, 3),
    exclusive_ppgs=st.sampled_from([(), (("p0", "p1"),), (("p0", "p1"), ("p1", "p2"))]),
    minimum_gap_weeks=st.integers(0, 3),
    minimum_net_margin_usd=st.none() | st.floats(0, 3),
    never_run=st.sampled_from([(), (NeverRun(mechanic="display"),), (NeverRun(outlet_id="o001"),)]),
)


@settings(max_examples=150, deadline=None)
@given(rules=RULES, seed=st.integers(0, 50), confidence=st.sampled_from([0.5, 0.95]))
def test_no_plan_breaks_a_rule_or_runs_what_the_evidence_does_not_carry(rules, seed, confidence):
    rows = made_up(seed)
    since = {
        (o, p): float((seed + i) % 5 + 1)
        for i, (o, p) in enumerate(rows[["outlet_id", "ppg_id"]].drop_duplicates().itertuples(index=False))
    }
    plan = plan_week(from_frame(rows), rules, policy=PlanPolicy(confidence=confidence), weeks_since=since)
    chosen = running(plan)
    by_key = rows.set_index(["outlet_id", "ppg_id", "activation"])
    cost = 0.0
    for (outlet, ppg), name in chosen.items():
        found = by_key.loc[(outlet, ppg, name)]
        paid = 1.0 * ("display" in name) + 0.5 * ("mailer" in name)
        cost += paid
        net = found["incremental_margin_usd"] - paid
        assert net >= (rules.minimum_net_margin_usd or 0.0)
        assert found["evidence"] == "sufficient"
        assert found["incremental_margin_usd"] > 0
        assert confidence < 0.95 or found["incremental_margin_usd_low"] > 0
        assert since[(outlet, ppg)] > rules.minimum_gap_weeks or not rules.minimum_gap_weeks
        assert not any(
            n.outlet_id in (None, outlet) and n.mechanic in (None, *name.split("+")) for n in rules.never_run
        )
    assert cost <= rules.budget_usd + 1e-6
    for outlet in {o for o, _ in chosen}:
        mine = {p: name for (o, p), name in chosen.items() if o == outlet}
        for limit, part in (
            (rules.max_displays, "display"),
            (rules.max_mailers, "mailer"),
            (rules.max_activated_ppgs, ""),
        ):
            assert limit is None or sum(part in name for name in mine.values()) <= limit
        assert all(len(mine.keys() & set(ppgs)) <= 1 for ppgs in rules.exclusive_ppgs)
    explained = Explained(plan)
    assert len(explained.reasons) == rows.groupby(["outlet_id", "ppg_id"]).ngroups
    assert all(line.why for line in explained.lines(np.arange(len(explained.reasons))))


def test_a_reason_that_names_the_budget_or_a_limit_is_true():
    """Nothing that is worth something and passed over could simply be added."""
    seen = Counter()
    slots = PlanRules(budget_usd=6, max_displays=1, max_activated_ppgs=2)
    for rules, seed in product((slots, PlanRules(budget_usd=2)), range(15)):
        plan = plan_week(from_frame(made_up(seed)), rules)
        explained = Explained(plan)
        for line in explained.lines(explained.not_running()):
            seen[line.reason] += 1
            if line.reason == "budget":
                assert line.cost_usd > plan.left_usd or (line.value_per_usd or 0) <= plan.solved.shadow_price
            assert line.reason != "combination"
    assert min(seen["budget"], seen["slots"]) > 5


def test_ranking_by_the_estimate_earns_more_than_ranking_by_the_lower_bound():
    """Simulated effects with errors of 30 %: the policy's plan, and that of a cautious rank, against the truth."""
    rng = np.random.default_rng(5)
    outlets, ppgs, names = 60, 4, NAMES[1:]
    worth = np.array([0.9, 1.1, 2.0, 0.25, 0.35, 0.3, 2.3])
    shares = {"estimate": [], "lower": []}
    for _ in range(4):
        size = rng.lognormal(0, 0.7, (outlets, ppgs, 1))
        truth = 1.5 * size * worth * rng.normal(1, 0.35, (outlets, ppgs, len(names)))
        error = 0.3 * 1.5 * size * worth * np.ones_like(truth)
        estimate = truth + rng.normal(0, error)
        oracle = value_of(truth, truth, np.zeros_like(error))
        shares["estimate"].append(value_of(truth, estimate, error) / oracle)
        shares["lower"].append(value_of(truth, estimate - 1.96 * error, np.zeros_like(error)) / oracle)
    assert np.mean(shares["estimate"]) > np.mean(shares["lower"]) + 0.01
    assert np.mean(shares["estimate"]) > 0.85


def value_of(truth, estimate, error):
    """True net margin of the plan that estimates with these errors lead to, at a fifth of what everything costs."""
    outlets, ppgs, kinds = truth.shape
    rows = [
        row(f"o{o:02d}", f"p{p}", NAMES[1:][k], estimate[o, p, k], half=1.96 * error[o, p, k])
        for o in range(outlets)
        for p in range(ppgs)
        for k in range(kinds)
    ]
    plan = plan_week(
        from_frame(frame(*rows)),
        PlanRules(budget_usd=0.2 * 1.5 * outlets * ppgs, max_displays=2),
        assumptions=Assumptions(),
    )
    chosen = plan.candidates.row[plan.running]
    # the table is in the order of mechanics, the arrays in that of the candidates
    order = [NAMES[1:].index(a.name) for a in plan.table.activations]
    picked = truth[plan.table.outlet[chosen], plan.table.ppg[chosen], np.array(order)[plan.table.activation[chosen]]]
    return float(picked.sum() - plan.candidates.cost[plan.running].sum())


def test_a_budget_counts_what_a_price_cut_gives_away():
    rows = frame(none("a", "p"), row("a", "p", "price_cut_20", 5.0, give_away_usd=30.0))
    poor, rich = (plan_week(from_frame(rows), PlanRules(budget_usd=usd)) for usd in (29.0, 31.0))
    assert (len(poor.running), len(rich.running)) == (0, 1)
    assert (rich.solved.cost, rich.solved.value) == (30.0, 5.0)


def test_a_price_cut_must_leave_more_than_it_gives_away_before_it_is_planned():
    rows = frame(none("a", "p"), row("a", "p", "price_cut_20", 0.5, half=1.0, give_away_usd=30.0))
    assert len(plan_week(from_frame(rows), PlanRules(budget_usd=1000.0)).running) == 0
