"""A challenger is judged beside the champion: harm is found, at any look, and chance is not taken for it."""

import json

import numpy as np
import pandas as pd
import pytest

from monitoring.challenger import LEAST_TIMED, MOST_HARM, PLANNED_WEEKS, as_finding, compare, judge
from poplift.confidence import sequence_multiplier

OUTLETS, PPGS = 30, 12


def market(*, weeks, champion, challenger, seed=1, outlets=OUTLETS):
    """Judged cells of outlets whose rates differ; both releases forecast the rate times a factor and some noise."""
    draw = np.random.default_rng(seed)
    shape = (weeks, outlets, PPGS)
    rate = draw.gamma(2.0, 0.5, (1, outlets, PPGS)) * np.ones(shape)
    week, outlet, _ = np.indices(shape)

    def forecast(factor, noise):
        return (rate * factor * np.exp(noise * draw.normal(size=shape) - noise**2 / 2)).ravel()

    return pd.DataFrame(
        {
            "outlet_id": outlet.ravel().astype(str),
            "week": week.ravel() + 40,
            "transactions": draw.poisson(rate).ravel().astype(float),
            "champion_predicted": forecast(*champion),
            "challenger_predicted": forecast(*challenger),
            "champion_said": 1.0,
            "challenger_said": 1.5,
            "by_challenger": outlet.ravel() < 3,
            "is_changed": (outlet.ravel() % 4 == 0).astype(object),
            "champion_degraded": False,
            "challenger_degraded": False,
            "champion_ms": 5.0,
            "challenger_ms": 6.0,
            "is_judged": True,
        }
    )


ALIKE, WORSE, BETTER = (1.0, 0.3), (1.0, 0.7), (1.0, 0.05)


def test_figures_of_both_stand_beside_each_other():
    cells = market(weeks=3, champion=ALIKE, challenger=BETTER)
    found = compare(cells)
    assert (found.pairs, found.judged, found.outlets, found.weeks) == (1080, 1080, OUTLETS, (40, 41, 42))
    assert (found.answered, found.changed_share) == (108, pytest.approx(8 / 30))
    assert (found.champion_mean, found.challenger_mean, found.mean_apart) == (1.0, 1.5, 0.5)
    assert (found.champion_ms, found.challenger_ms) == (5.0, 6.0)
    assert found.deviance_change.estimate < 0
    assert json.dumps(judge(found).figures(), allow_nan=False)


def test_a_clearly_worse_challenger_is_stopped_and_a_better_one_passes():
    harm = judge(compare(market(weeks=2, champion=ALIKE, challenger=WORSE)))
    assert harm.outcome == "stop"
    assert "surely worse" in harm.reasons[0]
    assert as_finding(harm).status == "warn"
    good = judge(compare(market(weeks=2, champion=WORSE, challenger=BETTER)))
    assert good.outcome == "pass"
    assert as_finding(good).status == "ok"


def test_two_of_the_same_kind_are_not_told_apart_before_harm_is_ruled_out():
    early = judge(compare(market(weeks=2, champion=ALIKE, challenger=ALIKE)))
    assert early.outcome == "not enough evidence"
    assert f"{MOST_HARM:.0%} worse is not ruled out" in early.reasons[0]


@pytest.mark.parametrize(
    "few", [{"weeks": 1}, {"weeks": 4, "outlets": 9}, {"weeks": 2, "outlets": 8}], ids=["week", "outlets", "rows"]
)
def test_a_pass_needs_weeks_outlets_and_decisions(few):
    said = judge(compare(market(**few, champion=WORSE, challenger=BETTER)))
    assert said.outcome == "not enough evidence"
    assert "are needed" in said.reasons[0]


def test_before_anything_is_known_there_is_no_evidence_and_no_error():
    said = judge(compare(pd.DataFrame()))
    assert said.outcome == "not enough evidence"
    assert as_finding(said).figure.value is None
    assert json.dumps(said.figures())


def test_a_challenger_that_serving_stopped_does_harm_without_any_outcome():
    said = judge(compare(pd.DataFrame()), stopped="scoring error: RuntimeError")
    assert said.outcome == "stop"
    assert "RuntimeError" in said.reasons[0]


@pytest.mark.parametrize(("own", "outcome"), [(14.0, "pass"), (19.0, "pass"), (25.0, "stop")])
def test_a_slow_challenger_is_stopped_where_somebody_would_notice(own, outcome):
    cells = market(weeks=3, champion=WORSE, challenger=BETTER).assign(challenger_ms=own)
    assert judge(compare(cells)).outcome == outcome
    assert judge(compare(cells.head(LEAST_TIMED - 1))).outcome == "not enough evidence"


def test_a_challenger_that_degrades_what_the_champion_answers_is_stopped():
    cells = market(weeks=3, champion=WORSE, challenger=BETTER)
    assert judge(compare(cells.assign(challenger_degraded=cells.index % 50 == 0))).outcome == "stop"
    both = cells.assign(challenger_degraded=True, champion_degraded=True)
    assert judge(compare(both)).outcome == "pass"


def test_looking_every_week_stops_an_equal_challenger_in_at_most_one_of_twenty_cases():
    """Two models that err alike; the champion's and the challenger's noise are drawn anew in each case."""
    cases, stopped, excluded_once = 200, 0, 0
    for seed in range(cases):
        cells = market(weeks=8, champion=ALIKE, challenger=ALIKE, seed=seed)
        looks = [judge(compare(cells[cells["week"] < 40 + look])) for look in range(1, 9)]
        stopped += any(look.outcome == "stop" for look in looks)
        excluded_once += any(_excludes_once(look, seen) for look, seen in enumerate(looks, 1))
    assert stopped / cases <= 0.05
    assert excluded_once > stopped  # a bound for one look would not have held


def _excludes_once(look, judgement):
    """Whether a bound that holds at one look only would have called it worse."""
    change = judgement.comparison.deviance_change
    error = (change.high - change.estimate) / sequence_multiplier(look, planned=PLANNED_WEEKS)
    return change.estimate > 1.96 * error
