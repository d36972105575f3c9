"""A request that cannot be met says which rules contradict each other, which to relax, and by how much."""

import pytest

from serving.planner.conflicts import InfeasiblePlanError
from serving.planner.effects import from_frame
from serving.planner.rules import MustRun, NeverRun, PlanRules
from serving.planner.week import plan_week
from tests.unit.serving.planner.effect_rows import frame, none, row

TWO = from_frame(
    frame(
        none("a", "p"), row("a", "p", "display", 5.0), row("a", "p", "mailer", 3.0),
        none("a", "q"), row("a", "q", "display", 9.0), row("a", "q", "price_cut_10", 2.0),
        none("b", "p"), row("b", "p", "display", 4.0),
    )
)  # fmt: skip


def refused(rules, table=TWO, **asked):
    """What of an infeasible request is to be relaxed, by place."""
    with pytest.raises(InfeasiblePlanError) as error:
        plan_week(table, rules, **asked)
    return {c.where: f"{c.what}: {c.relax}" for c in error.value.conflicts}


def must(*lines):
    return tuple(MustRun(outlet_id=o, ppg_id=p, activation=a) for o, p, a in lines)


def test_must_runs_above_the_budget_say_how_much_is_short():
    said = refused(PlanRules(budget_usd=1.25, must_run=must(("a", "p", "display"), ("b", "p", "display"))))
    assert said == {
        "rules.budget_usd": "the must-runs cost 2.00 USD, the budget is 1.25: raise the budget by 0.75 USD, "
        "or drop must-runs that cost at least that much"
    }
    said = refused(PlanRules(must_run=must(("a", "p", "display"))))
    assert said["rules.budget_usd"].endswith("give a budget of at least 1.00 USD")


def test_promises_that_contradict_each_other_or_a_rule_are_named_with_what_to_relax():
    both = PlanRules(budget_usd=9, must_run=must(("a", "p", "display")), never_run=(NeverRun(mechanic="display"),))
    assert "take it out of must_run or of never_run" in refused(both)["rules.must_run.0"]
    twice = PlanRules(budget_usd=9, must_run=must(("a", "p", "display"), ("a", "p", "mailer")))
    assert "must run display and mailer: drop one" in refused(twice)["rules.must_run.1"]
    apart = PlanRules(
        budget_usd=9, exclusive_ppgs=(("p", "q"),), must_run=must(("a", "p", "display"), ("a", "q", "display"))
    )
    assert "drop 1 of these must-runs, or relax exclusive_ppgs.0" in refused(apart)["rules.must_run.1"]
    full = PlanRules(budget_usd=9, max_displays=1, must_run=must(("a", "p", "display"), ("a", "q", "display")))
    assert "raise max_displays by 1" in refused(full)["rules.max_displays"]
    least = PlanRules(budget_usd=9, minimum_net_margin_usd=5, must_run=must(("a", "p", "display")))
    assert "lower minimum_net_margin_usd by 1.00 USD" in refused(least)["rules.must_run.0"]
    soon = PlanRules(budget_usd=9, minimum_gap_weeks=4, must_run=must(("a", "p", "display")))
    assert "lower minimum_gap_weeks by 3 to 1" in refused(soon, weeks_since={("a", "p"): 2.0})["rules.must_run.0"]
    assert "nobody knows" in refused(soon)["rules.must_run.0"]


def test_a_promise_to_an_outlet_of_the_holdout_is_refused():
    said = refused(PlanRules(budget_usd=99, must_run=must(("a", "p", "display"))), held_out=["a"])["rules.must_run.0"]
    assert "permanent holdout" in said
    assert "drop the line" in said


def test_what_an_outlet_cannot_run_and_what_nobody_knows_is_named():
    cannot = refused(PlanRules(budget_usd=9, must_run=must(("b", "p", "mailer"))))
    assert cannot["rules.must_run.0"] == (
        "outlet b cannot run mailer for ppg p: the effect table does not know it: ask for one of: display"
    )
    elsewhere = refused(PlanRules(budget_usd=9, must_run=must(("a", "p", "display"))), outlet_ids=["b"])
    assert "add it to outlet_ids" in elsewhere["rules.must_run.0"]
    unknown = refused(
        PlanRules(
            budget_usd=9,
            must_run=must(("x", "p", "display")),
            never_run=(NeverRun(ppg_id="y"),),
            exclusive_ppgs=(("p", "z"),),
        ),
        outlet_ids=["a", "w"],
    )
    assert {where: said.split(" is not")[0] for where, said in unknown.items()} == {
        "outlet_ids.1": "outlet 'w'", "rules.must_run.0": "outlet 'x'", "rules.never_run.0": "ppg 'y'", "rules.exclusive_ppgs.0": "ppg 'z'",
    }  # fmt: skip


def test_every_contradiction_of_a_request_is_told_at_once():
    rules = PlanRules(budget_usd=0.5, max_displays=0, must_run=must(("a", "p", "display"), ("b", "p", "mailer")))
    assert set(refused(rules)) == {"rules.must_run.1", "rules.max_displays", "rules.budget_usd"}
