"""A release is held to its promise where it was asked, with an interval, and never before there is enough."""

import numpy as np
import pandas as pd
import pytest

from monitoring.promise import LEAST_ROWS, as_finding, keep, promise

OUTLETS, PPGS, WEEKS = 40, 6, 4


def cells(seed, *, factor=1.0, spread=0.0, busy=False, weeks=WEEKS, width=1.0):
    """Cells whose mean is `factor` times the prediction; `busy` ones are where much is sold."""
    draw = np.random.default_rng(seed)
    rows = OUTLETS * PPGS * weeks
    place = np.arange(rows)
    predicted = draw.gamma(6.0 if busy else 0.7, 1.0, rows) + 0.05
    mean = predicted * factor * np.exp(draw.normal(-(spread**2) / 2, spread, rows))
    half = width * 1.3 * np.sqrt(predicted + 0.3)
    return pd.DataFrame(
        {
            "outlet_id": (place % OUTLETS).astype(str),
            "ppg_id": (place // OUTLETS % PPGS).astype(str),
            "week": 50 + place // (OUTLETS * PPGS),
            "release_id": "r1",
            "state": "judged",
            "was_followed": True,
            "prediction": predicted,
            "transactions": draw.poisson(mean).astype(float),
            "low": np.maximum(0.0, np.ceil(predicted - half)),
            "high": np.ceil(predicted + half),
        }
    )


def judged(outcomes, promised=None):
    return keep(outcomes, release_id="r1", promised=promised or PROMISED, seed=7)


PROMISED = promise(cells(1, weeks=40))


def test_a_release_that_does_as_promised_never_breaks_it_and_its_intervals_hold_the_truth():
    found = [judged(cells(seed)) for seed in range(100, 160)]
    assert {kept.state for kept in found} <= {"ok", "warn"}
    for name in ("deviance_change", "bias_change", "covered_change"):
        holding = sum(getattr(kept, name).low <= 0.0 <= getattr(kept, name).high for kept in found)
        assert holding >= 54, name  # of 60 at 95 %: an exact interval has fewer once in 34 such tests


def test_being_asked_where_much_is_sold_is_not_a_broken_promise():
    """The deviance of busy cells is far above the average promise, and what their class promised."""
    quiet, busy = cells(1, weeks=40), cells(2, busy=True, weeks=40)
    promised = promise(pd.concat([quiet, busy]))
    kept = judged(cells(30, busy=True), promised)
    assert kept.state == "ok"
    assert kept.deviance > 1.15 * judged(cells(31), promised).deviance


@pytest.mark.parametrize(
    ("spoiled", "said"),
    [
        ({"spread": 0.8}, "Poisson deviance +"),
        ({"factor": 0.7}, "forecasts in total +"),
        ({"factor": 1.5}, "forecasts in total -"),
        ({"width": 0.3}, "share within the 80 % interval -"),
    ],
)
def test_a_broken_promise_names_the_figure_its_interval_and_the_runbook(spoiled, said):
    kept = judged(cells(40, **spoiled))
    assert kept.state == "breach"
    assert any(said in reason and "docs/runbooks/promise-broken.md" in reason for reason in kept.reasons)


def test_what_may_still_be_chance_is_no_alarm():
    few = cells(47, factor=0.82, weeks=2)
    kept = judged(few)
    assert kept.bias_change.low < 0.1 < kept.bias_change.estimate
    assert kept.state == "warn"
    assert "not yet sure" in kept.reasons[0]


@pytest.mark.parametrize(
    "short", [lambda f: f.head(LEAST_ROWS - 1), lambda f: f[f["week"] == 50], lambda f: f[f["outlet_id"] < "15"]]
)
def test_before_there_is_enough_nothing_is_judged(short):
    kept = judged(short(cells(40, factor=0.3)))
    assert kept.state == "waiting"
    assert "at least 200, 10 and 2 are needed" in kept.reasons[0]
    assert as_finding([kept], served="r1").status == "ok"


def test_a_release_that_is_gone_is_shown_without_a_promise():
    kept = keep(cells(40), release_id="r1", promised=None, seed=7)
    assert (kept.state, kept.promised_deviance, kept.judged) == ("waiting", None, len(cells(40)))


def test_what_is_not_judged_is_counted_by_its_reason():
    outcomes = cells(20)
    outcomes.loc[:9, "state"] = "superseded"
    outcomes.loc[10:14, "state"] = "ran_otherwise"
    kept = judged(outcomes)
    assert kept.not_judged == {"ran_otherwise": 5, "superseded": 10}
    assert kept.decisions == kept.judged + 15 == len(outcomes)


def test_the_same_outcomes_give_the_same_figures():
    assert judged(cells(20)) == judged(cells(20))


def test_only_the_release_that_serves_now_raises_the_alarm():
    broken, fine = judged(cells(40, factor=0.5)), judged(cells(20))
    assert as_finding([broken], served="r1").status == "breach"
    assert as_finding([broken], served="another").status == "ok"
    assert as_finding([fine], served="r1").figure.value == fine.deviance_change.estimate
    assert as_finding([], served="r1").figure.text == "–"


def test_no_outcome_at_all_is_no_figure():
    kept = judged(cells(20).assign(state="superseded"))
    assert (kept.judged, kept.deviance, kept.bias, kept.covered, kept.weeks) == (0, None, None, None, ())
