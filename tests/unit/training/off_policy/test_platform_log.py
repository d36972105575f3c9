"""Which decisions of the platform's log tell of other policies, and when they are too few to."""

import json

import pandas as pd
import pytest

from poplift.activation import CANDIDATES
from poplift.assignment import explore
from poplift.assumptions import Assumptions
from training.off_policy import platform_log
from training.off_policy.estimators import OffPolicyError

NAMES = [candidate.name for candidate in CANDIDATES[:3]]
BEFORE, SOLD = 4, (4.0, 6.0, 9.0)


def log(*, outlets=40, weeks=8, share=0.6, plan=lambda _: 0):
    """Decisions that prefer a plan and draw a share of the cells, and cells in which each candidate sells its own."""
    decisions, cells = [], []
    for outlet in range(outlets):
        for week in range(weeks + BEFORE):
            draw = explore(plan(week), candidates=3, names=(str(outlet), "p", str(week)), share=share)
            chosen = draw.chosen if week >= BEFORE else 0
            ran, sold = CANDIDATES[chosen], SOLD[chosen]
            cell = {"outlet_id": f"o{outlet:02d}", "ppg_id": "p", "week": week}
            shown = {"display": float(ran.display), "mailer": float(ran.mailer), "price_cut": ran.price_cut}
            cells.append({**cell, **shown, "transactions": sold, "units": sold, "base_price": 2.0})
            if week >= BEFORE:
                said = {"activation": ran.name, "arm": draw.arm, "candidates": json.dumps(NAMES)}
                decisions.append({**cell, **said, "propensities": json.dumps(draw.propensities)})
    panel = pd.DataFrame(cells)
    return pd.DataFrame(decisions), panel.assign(week_start_day=17_000 + 7 * panel["week"])


def value(decisions, cells):
    return platform_log.value_policies(decisions, cells, assumptions=Assumptions(), seed=1)


def of(valued, name):
    return next(policy for policy in valued.policies if policy.policy == name)


def test_net_margin_is_what_was_earned_less_the_cost_of_what_ran():
    valued = value(*log())
    display_cost = Assumptions().display_cost_usd
    assert of(valued, "none").net_margin_usd.doubly_robust.estimate == pytest.approx(SOLD[0], rel=0.1)  # 2 USD, half
    share = valued.budget / 2
    mixed = (1 - valued.budget) * SOLD[0] + share * (SOLD[1] - display_cost) + share * (SOLD[2] - 0.5)
    assert of(valued, "random at budget").net_margin_usd.doubly_robust.estimate == pytest.approx(mixed, rel=0.05)
    assert valued.followed == 1


def test_the_order_of_the_candidates_in_the_log_changes_nothing():
    decisions, cells = log()
    turned = decisions.assign(
        candidates=json.dumps(NAMES[::-1]),
        propensities=[json.dumps(json.loads(p)[::-1]) for p in decisions["propensities"]],
    )
    first, second = (of(value(d, cells), "none").transactions.doubly_robust for d in (decisions, turned))
    assert second.estimate == pytest.approx(first.estimate, rel=0.05)


def test_decisions_that_tell_nothing_of_others_are_counted_by_why():
    decisions, cells = log()
    decisions.loc[[0, 1, 2], "arm"] = ["holdout", "control", "treatment"]
    decisions.loc[[3, 4], "propensities"] = json.dumps([1.0, 0.0, 0.0])
    decisions.loc[5, ["candidates", "propensities"]] = [json.dumps(["none", "mailer"]), json.dumps([0.5, 0.5])]
    cells = cells.drop(cells[(cells["outlet_id"] == "o39") & (cells["week"] == BEFORE)].index)
    valued = value(decisions, cells)
    assert valued.left_out == {
        "decided by the holdout or an experiment": 3,
        "nothing else could have been drawn": 2,
        "drawn among other candidates than the newest": 1,
        "sales or price of its week are not known": 1,
    }
    assert valued.decisions == len(decisions) - 7


def test_the_last_plan_is_the_one_before_for_the_same_cell_and_the_first_week_its_own():
    valued = value(*log(share=0.9, outlets=60, plan=lambda week: week % 2))
    # none and display in turn from none on: one week late it is display in three of eight weeks, not in four
    expected = (5 * SOLD[0] + 3 * SOLD[1]) / 8
    assert of(valued, "last plan").transactions.doubly_robust.estimate == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ({"outlets": 9}, "72 decisions of 9 outlets in 8 weeks; at least 10 outlets and 4 weeks are needed"),
        ({"weeks": 3}, "120 decisions of 40 outlets in 3 weeks; at least 10 outlets and 4 weeks are needed"),
        ({"share": 0.0}, "no decision of the log was drawn at random .*320: nothing else could have been drawn"),
    ],
)
def test_too_little_is_refused_with_what_it_takes(size, said):
    with pytest.raises(OffPolicyError, match=said):
        value(*log(**size))


def test_a_short_log_is_refused_although_its_share_is_large():
    valued = value(*log(outlets=20, weeks=4))
    assert of(valued, "as logged").refused.endswith(
        "the effective sample is 80 decisions, at least 100 are needed. Wait for more weeks, or explore more"
    )
