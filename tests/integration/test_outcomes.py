"""Outcomes on the real lake: joined when the week has landed, the same when asked again, corrected for later only."""

import json
import os
import shutil
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest

from flows.steps.outcomes import decision_outcomes, outcomes_path, realised
from poplift.lake import Lake
from poplift.settings import load_settings
from serving.executions_door import ExecutionsDoor

WEEK, MONDAY = 49, date(2017, 11, 27)
DECIDED = datetime(2017, 11, 28, 5, tzinfo=UTC)
LANDED = datetime(2017, 12, 5, 5, tzinfo=UTC)
CORRECTED = LANDED + timedelta(days=3)


@pytest.fixture
def home(tmp_path, small_home):
    """The small home's lake, which may be added to, at the instant when the decided week has landed."""
    shutil.copytree(small_home.settings.lake_dir, tmp_path / "lake", copy_function=os.link)
    return load_settings(home=tmp_path, business_time=LANDED)


def at(settings, instant):
    return load_settings(home=settings.home, business_time=instant)


def decide(settings, outlet, ppg):
    settings.decisions_dir.mkdir(exist_ok=True)
    none = {"display": False, "mailer": False, "price_cut": 0.0}
    said = {"transactions": 1.0, "transactions_low": 0.0, "transactions_high": 2.0, "units": 1.5}
    plans = [{**none, "display": d, "mailer": m, "price_cut": c} for d in (0, 1) for m in (0, 1) for c in (0, 0.1, 0.2)]
    plans = [{**p, "display": bool(p["display"]), "mailer": bool(p["mailer"])} for p in plans]
    row = {
        "decision_id": f"{outlet}-{ppg}",
        "kind": "recommendation",
        "wall_time": "2026-01-01T00:00:00+00:00",
        "business_time": DECIDED.isoformat(),
        "week_start": MONDAY.isoformat(),
        "outlet_id": outlet,
        "ppg_id": ppg,
        "release_id": "r1",
        "degraded": False,
        "activation": none,
        "candidates": [{"activation": plan, "propensity": 1 / len(plans), **said} for plan in plans],
        "propensity": 1 / len(plans),
        "arm": "policy",
        "experiment": None,
        "policy": "predicted-difference",
    }
    with (settings.decisions_dir / "2026-01-01-a.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


@pytest.fixture
def decided(home):
    """Every managed cell was decided, each by one decision."""
    first_day = (MONDAY - date(1970, 1, 1)).days
    sold = realised(home, as_of=LANDED, first_day=first_day)
    for outlet, ppg in sold[["outlet_id", "ppg_id"]].itertuples(index=False):
        decide(home, outlet, ppg)
    return sold


def report(settings, sold):
    """A display where the chain planned nothing, and a refusal where it planned something; ids of both decisions."""
    planned = sold[["display", "mailer"]].any(axis=1)
    quiet, promoted = sold[~planned & (sold["price_cut"] == 0)].iloc[0], sold[planned].iloc[0]
    shown, refused = (f"{cell['outlet_id']}-{cell['ppg_id']}" for cell in (quiet, promoted))
    when = {"reported_at": DECIDED + timedelta(hours=1)}
    reports = [
        {"execution_id": "e1", "decision_id": shown, "outcome": "executed", "activation": "display", **when},
        {"execution_id": "e2", "decision_id": refused, "outcome": "refused", "activation": None, **when},
    ]
    assert ExecutionsDoor(settings).receive(reports).accepted == 2
    return shown, refused


def correct(settings, sold):
    """One more basket of the best sold cell became known days later."""
    best = sold.sort_values("transactions").iloc[-1]
    lake = Lake(settings.lake_dir)
    lake.append(
        "pos_lines",
        f"SELECT * REPLACE ('late-basket' AS basket_id, TIMESTAMPTZ '{CORRECTED.isoformat()}' AS created_at) "
        f"FROM ({lake.query('pos_lines', as_of=LANDED)}) WHERE week = {WEEK} AND outlet_id = '{best['outlet_id']}' "
        f"AND product_id IN (SELECT product_id FROM ({lake.query('products', as_of=LANDED)}) "
        f"WHERE ppg_id = '{best['ppg_id']}') LIMIT 1",
    )
    return f"{best['outlet_id']}-{best['ppg_id']}"


def test_every_decision_of_a_landed_week_gets_its_sales_zeros_too(home, decided):
    joined = decision_outcomes(home)
    assert len(joined) == len(decided)
    assert set(joined["week"]) == {WEEK}
    assert joined["transactions"].sum() == decided["transactions"].sum() > 0
    assert (joined["transactions"] == 0).any()
    assert (joined["state"] == "judged").mean() > 0.8


def test_before_the_week_has_landed_there_is_no_outcome(home, decided):
    early = at(home, LANDED - timedelta(seconds=1))
    assert decision_outcomes(early).empty
    assert not outcomes_path(early, early.business_time).exists()


def test_asked_again_the_file_is_the_same_byte_for_byte(home, decided):
    decision_outcomes(home)
    before = outcomes_path(home, LANDED).read_bytes()
    decision_outcomes(home)
    assert outcomes_path(home, LANDED).read_bytes() == before


def test_a_late_correction_changes_the_figures_of_later_instants_only(home, decided):
    first = decision_outcomes(home)
    before = outcomes_path(home, LANDED).read_bytes()
    corrected = correct(home, decided)
    decision_outcomes(home)
    assert outcomes_path(home, LANDED).read_bytes() == before
    later = decision_outcomes(at(home, CORRECTED))
    changed = later.set_index("decision_id")["transactions"] - first.set_index("decision_id")["transactions"]
    assert changed[changed != 0].to_dict() == {corrected: 1.0}
    assert len(pd.read_parquet(outcomes_path(home, CORRECTED))) == len(first)


def test_what_an_outlet_reports_to_have_run_or_refused_counts_before_the_plan_of_the_chain(home, decided):
    shown, refused = report(home, decided)
    found = decision_outcomes(home).set_index("decision_id")
    assert found.loc[shown, ["ran_display", "ran_mailer", "ran_price_cut"]].tolist() == [True, False, 0.0]
    assert found.loc[refused, ["ran_display", "ran_mailer", "ran_price_cut"]].tolist() == [False, False, 0.0]
    assert not found.loc[shown, "was_followed"]
    assert found.loc[refused, "was_followed"]
