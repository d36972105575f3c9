"""Pairs of answers: whoever gave them to the outlet, the same columns hold the champion's and the challenger's."""

import json
from datetime import UTC, date, datetime

import pandas as pd
import pytest

from monitoring.outcomes import join_outcomes
from monitoring.pairs import answered_twice

NOW = datetime(2018, 1, 20, tzinfo=UTC)
MONDAY = date(2018, 1, 1)
DAY = (MONDAY - date(1970, 1, 1)).days
NONE = {"display": False, "mailer": False, "price_cut": 0.0}
DISPLAY = {**NONE, "display": True}


def said(activation, transactions):
    bounds = {"transactions_low": 0.0, "transactions_high": 9.0, "units": 1.0}
    return {"activation": activation, "transactions": transactions, **bounds}


def row(identity, release, none, display, *, chosen=NONE, kind="recommendation", ppg="p1", **more):
    return {
        "decision_id": identity,
        "kind": kind,
        "wall_time": "2026-01-01T00:00:00+00:00",
        "business_time": "2017-12-31T05:00:00+00:00",
        "week_start": MONDAY.isoformat(),
        "outlet_id": "o1",
        "ppg_id": ppg,
        "release_id": release,
        "degraded": False,
        "activation": chosen,
        "candidates": [said(NONE, none), said(DISPLAY, display)],
        **more,
    }


def shadow(of, release, none, display, **more):
    times = {"milliseconds": 4.0, "served_milliseconds": 2.0}
    return row(f"s-{of}", release, none, display, kind="shadow", shadow_of=of, **times, **more)


@pytest.fixture
def log(tmp_path):
    def write(*rows):
        (tmp_path / "2026-01-01-a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        return tmp_path

    return write


def sold(**ran):
    row = {"outlet_id": "o1", "ppg_id": "p1", "week_start_day": DAY, "week": 53, "transactions": 3.0, "units": 4.0}
    return pd.DataFrame([{**row, "display": 0, "mailer": 0, "price_cut": 0.0, **ran}])


def paired(folder, realised=None):
    return answered_twice(folder, champion="old", challenger="new", realised=realised, as_of=NOW)


def test_the_champions_numbers_are_the_champions_whoever_answered(log):
    folder = log(
        row("d1", "old", 1.0, 2.0),
        shadow("d1", "new", 1.5, 2.5, chosen=DISPLAY),
        row("d2", "new", 5.0, 6.0, chosen=DISPLAY, ppg="p2"),
        shadow("d2", "old", 7.0, 8.0, chosen=DISPLAY, ppg="p2"),
        row("d3", "old", 1.0, 2.0, ppg="p3"),  # without a shadow
        row("d4", "other", 1.0, 2.0, ppg="p4"),
        shadow("d4", "new", 1.0, 2.0, ppg="p4"),
    )
    pairs = paired(folder).set_index("decision_id")
    assert list(pairs.index) == ["d1", "d2"]
    columns = ["by_challenger", "champion_said", "challenger_said", "champion_ms", "challenger_ms", "is_changed"]
    assert pairs.loc["d1", columns].to_list() == [False, 1.0, 1.5, 2.0, 4.0, True]
    assert pairs.loc["d2", columns].to_list() == [True, 8.0, 6.0, 4.0, 2.0, False]
    assert not pairs["is_judged"].any()


def test_what_really_ran_is_what_both_are_judged_on(log):
    folder = log(row("d1", "old", 1.0, 2.0), shadow("d1", "new", 1.5, 2.5))
    (pair,) = paired(folder, sold(display=1)).to_dict("records")
    assert pair["is_judged"]
    assert (pair["transactions"], pair["champion_predicted"], pair["challenger_predicted"]) == (3.0, 2.0, 2.5)
    assert pair["champion_said"] == 1.0
    assert not paired(folder, sold(mailer=1))["is_judged"].any()


def test_of_a_cell_that_was_asked_about_often_the_newest_usable_pair_is_judged(log):
    later = "2026-01-02T00:00:00+00:00"
    folder = log(
        *(row("d1", "old", 1.0, 2.0), shadow("d1", "new", 1.5, 2.5)),
        *(row("d2", "old", 3.0, 4.0, wall_time=later), shadow("d2", "new", 3.5, 4.5, wall_time=later)),
        *(
            row("d3", "old", 5.0, 6.0, wall_time="2026-01-03T00:00:00+00:00", degraded=True),
            shadow("d3", "new", 5.0, 6.0),
        ),
    )
    pairs = paired(folder, sold()).set_index("decision_id")
    assert pairs["is_judged"].to_dict() == {"d1": False, "d2": True, "d3": False}


def test_a_plan_that_was_asked_about_has_no_choice_to_change(log):
    folder = log(row("d1", "old", 1.0, 2.0, kind="demand"), shadow("d1", "new", 1.5, 2.5))
    assert paired(folder)["is_changed"].isna().all()


def test_what_was_said_in_the_shadow_is_no_decision_of_its_release(log):
    folder = log(row("d1", "old", 1.0, 2.0), shadow("d1", "new", 1.5, 2.5))
    assert list(join_outcomes(folder, sold(), as_of=NOW)["decision_id"]) == ["d1"]


def test_before_anything_was_logged_there_are_no_pairs(tmp_path):
    assert paired(tmp_path).empty
