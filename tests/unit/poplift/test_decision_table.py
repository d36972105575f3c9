"""Logged decisions reach the lake once, whole lines only, and keep the probability of every candidate."""

import json
from datetime import UTC, datetime

import pytest

from poplift.contracts.tables import contract
from poplift.decision_table import land_decisions
from poplift.lake import Lake

NOW = datetime(2018, 1, 2, 5, tzinfo=UTC)


def logged(decision="d1", **changes):
    """A line of the decision log, with what the table reads of it."""
    row = {
        "decision_id": decision,
        "kind": "recommendation",
        "business_time": NOW.isoformat(),
        "week_start": "2018-01-01",
        "outlet_id": "367",
        "ppg_id": "cola",
        "release_id": "r1",
        "policy": "predicted-difference",
        "activation": {"display": True, "mailer": False, "price_cut": 0.0},
        "propensity": 0.975,
        "arm": "policy",
        "experiment": None,
        "candidates": [
            {"activation": {"display": False, "mailer": False, "price_cut": 0.0}, "propensity": 0.025},
            {"activation": {"display": True, "mailer": False, "price_cut": 0.0}, "propensity": 0.975},
        ],
    }
    return json.dumps(row | changes) + "\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "decisions").mkdir()
    return tmp_path / "decisions"


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake", threads=1)


def decisions(lake):
    query = lake.query("decisions", as_of=NOW)
    return {row[0]: row for row in lake.connection.sql(f"SELECT * FROM ({query})").fetchall()}


def test_a_recommendation_is_a_row_that_the_contract_takes(folder, lake):
    (folder / "a.jsonl").write_text(logged() + logged("d2", kind="demand"))
    landed = land_decisions(folder, lake)
    assert (landed.added, landed.unreadable, landed.refused) == (1, 0, 0)
    row = dict(zip(contract("decisions").column_names, decisions(lake)["d1"], strict=True))
    assert row["activation"] == "display"
    assert json.loads(row["candidates"]) == ["none", "display"]
    assert sum(json.loads(row["propensities"])) == 1
    assert row["week_starts_at"] == datetime(2018, 1, 1, 5, tzinfo=UTC)


def test_landing_again_adds_nothing_and_new_lines_are_added(folder, lake):
    log = folder / "a.jsonl"
    log.write_text(logged())
    assert land_decisions(folder, lake).added == 1
    assert land_decisions(folder, lake).added == 0
    log.write_text(log.read_text() + logged("d2"))
    (folder / "b.jsonl").write_text(logged("d1") + logged("d3"))  # a row may be logged twice after a failed write
    assert land_decisions(folder, lake).added == 2
    assert set(decisions(lake)) == {"d1", "d2", "d3"}


def test_a_line_that_is_being_written_waits_until_it_is_whole(folder, lake):
    log = folder / "a.jsonl"
    log.write_text(logged() + logged("d2")[:40])
    assert land_decisions(folder, lake).added == 1
    log.write_text(logged() + logged("d2"))
    assert land_decisions(folder, lake).added == 1


def test_a_crash_before_the_offsets_are_kept_lands_nothing_twice(folder, lake):
    (folder / "a.jsonl").write_text(logged())
    land_decisions(folder, lake)
    (lake.root / "decisions-landed.json").unlink()
    assert land_decisions(folder, lake).added == 0
    assert len(lake.parts("decisions")) == 1


def test_what_is_no_decision_is_counted_and_what_breaks_the_contract_is_quarantined(folder, lake):
    lines = ["nonsense\n", logged("d1", arm="somebody"), logged("d2", propensity=1.5), logged("d3")]
    (folder / "a.jsonl").write_text("".join(lines))
    landed = land_decisions(folder, lake)
    assert (landed.added, landed.unreadable, landed.refused) == (1, 1, 2)
    (part,) = lake.parts("decisions", folder="quarantine")
    rules = lake.connection.sql(f"SELECT rule, \"column\" FROM read_parquet('{part}') ORDER BY 1").fetchall()
    assert rules == [("allowed", "arm"), ("range", "propensity")]


def test_an_empty_folder_is_no_error(tmp_path, lake):
    assert land_decisions(tmp_path / "none", lake).added == 0


def shadow(decision="s1", of="d1", **changes):
    """What the release beside said of that decision."""
    candidates = [
        {"activation": {"display": False, "mailer": False, "price_cut": 0.0}, "transactions": 3.0},
        {"activation": {"display": True, "mailer": False, "price_cut": 0.0}, "transactions": 4.5},
    ]
    times = {"milliseconds": 2.5, "served_milliseconds": 2.0}
    said = {"kind": "shadow", "shadow_of": of, "release_id": "r2", "degraded": False, "candidates": candidates}
    return logged(decision, **{**said, **times, **changes})


def shadow_answers(lake):
    query = lake.query("shadow_answers", as_of=NOW)
    columns = "decision_id, shadow_of, release_id, activation, transactions, milliseconds, served_milliseconds"
    return lake.connection.sql(f"SELECT {columns} FROM ({query}) ORDER BY 1").fetchall()


def test_what_the_shadow_said_lands_once_in_a_table_of_its_own_and_is_no_decision(folder, lake):
    (folder / "a.jsonl").write_text(logged() + shadow())
    landed = land_decisions(folder, lake)
    assert (landed.added, landed.shadow, landed.unreadable, landed.refused) == (1, 1, 0, 0)
    assert shadow_answers(lake) == [("s1", "d1", "r2", "display", 4.5, 2.5, 2.0)]
    assert set(decisions(lake)) == {"d1"}
    (lake.root / "decisions-landed.json").unlink()
    (folder / "b.jsonl").write_text(shadow() + shadow("s2"))
    assert land_decisions(folder, lake).shadow == 1
    assert [row[0] for row in shadow_answers(lake)] == ["s1", "s2"]


def test_an_answer_of_the_shadow_that_says_nothing_of_what_was_asked_is_counted_as_unreadable(folder, lake):
    (folder / "a.jsonl").write_text(shadow(candidates=[]) + shadow("s2", milliseconds=-1.0))
    landed = land_decisions(folder, lake)
    assert (landed.shadow, landed.unreadable, landed.refused) == (0, 1, 1)
