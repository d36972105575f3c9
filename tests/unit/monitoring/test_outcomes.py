"""Outcomes join decisions when their week is known, at the prediction that was given for what really ran."""

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.outcomes import RealisedError, decided_weeks, join_outcomes

MONDAY = date(2017, 12, 4)
DAY = (MONDAY - date(1970, 1, 1)).days
SERVED = datetime(2017, 12, 5, 5, tzinfo=UTC)
LATER = SERVED + timedelta(days=8)


def activation(name):
    return {
        "display": "display" in name,
        "mailer": "mailer" in name,
        "price_cut": 0.2 if "cut" in name else 0.0,
    }


def decision(identity, *, outlet="o1", ppg="cola", at=SERVED, chosen="none", **changed):
    candidates = [
        {
            "activation": activation(name),
            "transactions": 1.0 + place,
            "transactions_low": 0.0,
            "transactions_high": 3.0,
            "units": 2.0 + place,
            "net_gain": 0.1,
        }
        for place, name in enumerate(("none", "display", "mailer", "cut"))
    ]
    return {
        "schema": "decision_v1",
        "decision_id": identity,
        "kind": "recommendation",
        "wall_time": at.isoformat(),
        "business_time": SERVED.isoformat(),
        "week_start": MONDAY.isoformat(),
        "outlet_id": outlet,
        "ppg_id": ppg,
        "release_id": "r1",
        "activation": activation(chosen),
        "candidates": candidates,
        "features": {"base_rate": 1.0},
        "degraded": False,
        "flags": [],
        **changed,
    }


def write(folder, rows, name="2017-12-05-a.jsonl"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def realised(ran="none", *, transactions=2.0, outlet="o1", ppg="cola", cut=None):
    plan = activation(ran)
    return pd.DataFrame(
        {
            "outlet_id": [outlet],
            "ppg_id": [ppg],
            "week_start_day": [DAY],
            "week": [49],
            "transactions": [transactions],
            "units": [4.0],
            "display": [float(plan["display"])],
            "mailer": [float(plan["mailer"])],
            "price_cut": [plan["price_cut"] if cut is None else cut],
        }
    )


def joined(folder, sold, as_of=LATER):
    return join_outcomes(folder, sold, as_of=as_of).to_dict("records")


def test_a_decision_gets_the_sales_of_its_week_beside_what_was_predicted(tmp_path):
    (row,) = joined(write(tmp_path / "log", [decision("d1")]), realised())
    wanted = {"decision_id": "d1", "prediction": 1.0, "transactions": 2.0, "units": 4.0, "predicted_units": 2.0}
    assert row | wanted == row
    assert (row["low"], row["high"], row["week"], row["state"], row["was_followed"]) == (0.0, 3.0, 49, "judged", True)


def test_a_prediction_is_judged_for_what_ran_and_not_for_what_was_recommended(tmp_path):
    (row,) = joined(write(tmp_path / "log", [decision("d1", chosen="mailer")]), realised("display"))
    assert (row["prediction"], row["was_followed"], row["state"]) == (2.0, False, "judged")


@pytest.mark.parametrize(("cut", "prediction"), [(0.17, 4.0), (0.249, 4.0), (0.04, 1.0), (0.0, 1.0)])
def test_a_price_near_that_of_a_candidate_is_that_candidate(tmp_path, cut, prediction):
    (row,) = joined(write(tmp_path / "log", [decision("d1")]), realised(cut=cut))
    assert row["prediction"] == prediction


@pytest.mark.parametrize("ran", [realised(cut=0.1), realised("display mailer"), realised("display", cut=0.2)])
def test_what_no_candidate_foresaw_is_counted_and_not_judged(tmp_path, ran):
    (row,) = joined(write(tmp_path / "log", [decision("d1")]), ran)
    assert row["state"] == "ran_otherwise"
    assert np.isnan(row["prediction"])


def test_a_cell_decided_again_is_judged_once_per_release_at_its_newest_decision(tmp_path):
    rows = [decision(f"d{n}", at=SERVED + timedelta(minutes=n)) for n in range(3)]
    rows.append(decision("other", release_id="r2"))
    found = {row["decision_id"]: row["state"] for row in joined(write(tmp_path / "log", rows), realised())}
    assert found == {"d0": "superseded", "d1": "superseded", "d2": "judged", "other": "judged"}


def test_an_answer_from_defaults_is_not_held_against_the_release(tmp_path):
    (row,) = joined(write(tmp_path / "log", [decision("d1", degraded=True)]), realised())
    assert row["state"] == "degraded"


def test_a_week_that_is_not_known_yet_has_no_outcome(tmp_path):
    folder = write(tmp_path / "log", [decision("d1", ppg="tea")])
    assert joined(folder, realised()) == []
    assert decided_weeks(folder, as_of=LATER) == (DAY,)


def test_a_decision_made_after_the_instant_that_is_asked_for_is_not_there(tmp_path):
    folder = write(tmp_path / "log", [decision("d1")])
    assert joined(folder, realised(), as_of=SERVED - timedelta(seconds=1)) == []
    assert decided_weeks(folder, as_of=SERVED - timedelta(seconds=1)) == ()


def test_a_torn_line_and_a_row_written_twice_change_nothing(tmp_path):
    folder = write(tmp_path / "log", [decision("d1")])
    once = joined(folder, realised())
    write(folder, [decision("d1")], name="2017-12-05-b.jsonl")
    with (folder / "2017-12-05-b.jsonl").open("a") as file:
        file.write('{"decision_id": "d2", "outl')
    assert joined(folder, realised()) == once


def test_an_empty_log_has_no_outcomes(tmp_path):
    assert join_outcomes(tmp_path / "none", realised(), as_of=LATER).empty
    assert decided_weeks(tmp_path / "none", as_of=LATER) == ()


def test_sales_that_lack_a_column_are_refused_by_name(tmp_path):
    with pytest.raises(RealisedError, match="lack units, price_cut"):
        join_outcomes(tmp_path, realised().drop(columns=["units", "price_cut"]), as_of=LATER)


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(6)), parts=st.integers(1, 3))
def test_order_and_number_of_the_log_files_do_not_matter(tmp_path_factory, order, parts):
    rows = [decision(f"d{n}", outlet=f"o{n % 4}", at=SERVED + timedelta(seconds=n)) for n in range(6)]
    sold = pd.concat([realised(outlet=f"o{n}", transactions=float(n)) for n in range(4)])
    tidy = write(tmp_path_factory.mktemp("tidy") / "log", rows)
    mixed = tmp_path_factory.mktemp("mixed") / "log"
    for part in range(parts):
        write(mixed, [rows[n] for n in order if n % parts == part], name=f"{part}.jsonl")
    pd.testing.assert_frame_equal(join_outcomes(tidy, sold, as_of=LATER), join_outcomes(mixed, sold, as_of=LATER))
