"""A decision is followed back to the very rows it was made of, and what is gone or does not fit is said."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from feature_repo.catalog import BATCH_FEATURES, DEMAND_SERVING, VIEWS
from flows.steps.trace import UnknownDecisionError, find_decision, trace
from flows.trace_console import as_json, show
from poplift.alias_moves import ledger
from poplift.feature_store import OnlineReader
from poplift.ledger import Move
from poplift.settings import load_settings

IDENTITY = "3f0f6c1e-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def served(small_home):
    """One decision as serving logs it, with the features that the online store really gives."""
    sales = pd.read_parquet(small_home.settings.features_dir / "outlet_ppg_sales")
    outlet, ppg = sales.sort_values("transactions_mean_13w").iloc[-1][["outlet_id", "ppg_id"]]
    read = OnlineReader(small_home.settings, service=DEMAND_SERVING).read([{"outlet_id": outlet, "ppg_id": ppg}])
    features = {name: float(read.values[name][0]) for name in BATCH_FEATURES}  # noqa: PD011 - not a frame
    none = {"display": False, "mailer": False, "price_cut": 0.0}
    said = {"transactions": 2.5, "transactions_low": 0.0, "transactions_high": 5.0, "units": 4.0}
    return {
        "decision_id": IDENTITY,
        "kind": "recommendation",
        "wall_time": "2026-01-01T00:00:00+00:00",
        "business_time": small_home.settings.business_time.isoformat(),
        "week_start": "2018-01-01",
        "outlet_id": outlet,
        "ppg_id": ppg,
        "release_id": "0123456789ab",
        "model_name": "demand",
        "model_version": "1",
        "policy": "predicted-difference",
        "activation": none,
        "propensity": 1.0,
        "candidates": [{"activation": none, **said}, {"activation": {**none, "display": True}, **said}],
        "features": {n: v if np.isfinite(v) else None for n, v in features.items()} | {"plan_depth": 0.0},
        "flags": [],
    }


@pytest.fixture
def home(tmp_path, small_home):
    """A home with the small lake and features, a decision log, and no model."""
    (tmp_path / "lake").symlink_to(small_home.settings.lake_dir)
    (tmp_path / "features").symlink_to(small_home.settings.features_dir)
    return load_settings(home=tmp_path)


def log(settings, row, *, name="2026-01-01-a.jsonl", torn=""):
    settings.decisions_dir.mkdir(exist_ok=True)
    other = {**row, "decision_id": "other", "request_id": row["decision_id"]}
    lines = [json.dumps(r, separators=(",", ":")) for r in (other, row, other)]
    (settings.decisions_dir / name).write_text("\n".join(lines) + "\n" + torn)


def follow(settings, row, **changed):
    log(settings, {**row, **changed})
    return trace(settings, decision_id=IDENTITY)


def test_every_view_has_the_row_that_was_known_then_and_was_served(home, served):
    traced = follow(home, served)
    assert [view.view for view in traced.views] == [view.name for view in VIEWS]
    as_of = datetime.fromisoformat(served["business_time"])
    for view in traced.views:
        assert view.event_time <= view.created_time <= as_of
        assert (view.differing, view.note) == ({}, "")
        assert (home.features_dir / view.view / view.file).exists()
    assert traced.requested == {"plan_depth": 0.0}


def test_the_lake_rows_are_those_of_the_outlet_and_ppg_known_then(home, served):
    lines = pd.read_parquet(next((home.lake_dir / "pos_lines").glob("*.parquet")))
    products = pd.read_parquet(next((home.lake_dir / "products").glob("*.parquet")))
    own = lines[
        (lines["outlet_id"] == served["outlet_id"])
        & lines["product_id"].isin(products.loc[products["ppg_id"] == served["ppg_id"], "product_id"])
    ]
    (part,) = [rows for rows in follow(home, served).lake if rows.table == "pos_lines"]
    assert (part.rows, part.first_week, part.last_week) == (len(own), own["week"].min(), own["week"].max())
    assert (home.lake_dir / "pos_lines" / part.part).exists()
    early = datetime.fromisoformat(served["business_time"]) - timedelta(days=150)
    (before,) = [r for r in follow(home, served, business_time=early.isoformat()).lake if r.table == "pos_lines"]
    assert before.rows == (own["created_at"] <= early).sum() < part.rows


def test_a_value_served_otherwise_than_the_table_says_is_named_with_both(home, served):
    name = VIEWS[0].features[0].name
    traced = follow(home, served, features={**served["features"], name: -1.0})
    assert set(traced.views[0].differing) == {name}
    assert traced.views[0].differing[name] == served["features"][name]
    assert any("served otherwise" in gap for gap in traced.gaps)


def test_an_answer_from_defaults_is_told_as_such_and_not_as_a_difference(home, served):
    name = VIEWS[0].name
    spoiled = {f.name: -1.0 for f in VIEWS[0].features}
    traced = follow(home, served, flags=[f"expired:{name}"], features={**served["features"], **spoiled})
    assert (traced.views[0].differing, traced.views[0].note) == ({}, "answered from defaults: expired")


def test_moves_of_another_model_that_has_a_version_of_the_same_number_are_not_told(home, served):
    for model in ("effects", "demand"):
        move = Move(model, "champion", None, "1", "ana", model, "pass", datetime(2025, 12, 1, tzinfo=UTC))
        ledger(home).append(move)
    assert [move.model for move in follow(home, served).moves] == ["demand"]


def test_what_is_gone_is_a_gap_and_the_rest_is_told(home, served, capsys):
    traced = follow(home, served)
    assert (traced.release, traced.model, traced.outcome, traced.moves) == (None, None, None, ())
    assert any("manifest.json: is missing" in gap for gap in traced.gaps)
    assert any("model demand version 1" in gap for gap in traced.gaps)
    show(traced)
    told = capsys.readouterr().out
    for said in (IDENTITY, "chosen: none", "could have been: display", "as served", "pos_lines/part-", "gaps"):
        assert said in told


def test_the_machine_form_holds_everything(home, served):
    told = json.loads(as_json(follow(home, served)))
    assert told["decision"] == served
    assert told["views"][0]["event_time"].startswith("20")
    assert told["file"] == "2026-01-01-a.jsonl"


def test_an_unknown_id_says_where_it_was_looked_for(home, served):
    log(home, served)
    with pytest.raises(UnknownDecisionError, match=r"no decision 'nope' in .*decisions \(1 files, of 2026-01-01 to"):
        trace(home, decision_id="nope")
    with pytest.raises(UnknownDecisionError, match=r"\(0 files\)"):
        find_decision(home.home / "nowhere", IDENTITY)


def test_a_torn_line_or_an_id_that_stands_elsewhere_is_not_the_decision(home, served):
    log(home, served, name="2026-01-02-b.jsonl", torn=f'{{"decision_id":"{IDENTITY}","kind":"reco')
    (home.decisions_dir / "2026-01-03-empty.jsonl").touch()
    row, path = find_decision(home.decisions_dir, IDENTITY)
    assert (row, path.name) == (served, "2026-01-02-b.jsonl")
