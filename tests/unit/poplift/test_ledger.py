"""The ledger keeps every move in order, tells announced ones from made ones, and survives a torn line."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from poplift.ledger import Ledger, Move

MOVE = Move("demand", "champion", None, "1", "flow", "first", "pass", datetime(2026, 1, 1, tzinfo=UTC))
OLD_LINE = (
    '{"model": "demand", "alias": "champion", "from_version": null, "to_version": "1", "who": "flow", "why": "first", '
    '"verdict": "pass", "at": "2026-01-01T00:00:00+00:00"}\n'
)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "deep" / "ledger.jsonl")


def test_moves_come_back_in_the_order_they_were_made(ledger):
    second = replace(MOVE, from_version="1", to_version="2", verdict_digest="ab", override="anna")
    for move in (MOVE, second):
        ledger.append(move)
    assert ledger.moves(model="demand") == [MOVE, second]
    assert ledger.faults() == ()


def test_moves_of_another_model_or_alias_are_not_mixed_in(ledger):
    ledger.append(MOVE)
    assert ledger.moves(model="effects") == []
    assert ledger.moves(model="demand", alias="challenger") == []


def test_a_line_torn_by_a_crash_is_not_a_move(tmp_path):
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.append(MOVE)
    path.write_text(path.read_text() + '{"model": "dem')
    assert ledger.moves(model="demand") == [MOVE]
    ledger.append(MOVE)
    assert ledger.moves(model="demand") == [MOVE, MOVE]
    assert ledger.faults() == ()


def test_an_empty_ledger_has_no_moves(tmp_path):
    assert Ledger(tmp_path / "none.jsonl").moves(model="demand") == []


def test_a_ledger_written_before_there_was_a_chain_is_read_and_continued(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text(OLD_LINE)
    ledger = Ledger(path)
    assert ledger.moves(model="demand") == [MOVE]
    ledger.append(MOVE)
    assert ledger.moves(model="demand") == [MOVE, MOVE]
    assert ledger.faults() == ()


@pytest.mark.parametrize("state", ["intended", "owed", "dropped"])
def test_a_move_that_was_not_made_is_in_the_ledger_and_no_move(ledger, state):
    ledger.append(replace(MOVE, state=state))
    assert ledger.moves(model="demand") == []
    assert [entry.move.state for entry in ledger.entries()] == [state]


def test_an_announced_move_is_open_until_its_alias_has_a_later_line(ledger):
    announced = replace(MOVE, state="intended")
    ledger.append(announced)
    ledger.append(replace(MOVE, alias="challenger"))
    assert ledger.open_intent(model="demand", alias="champion") == announced
    ledger.append(MOVE)
    assert ledger.open_intent(model="demand", alias="champion") is None


@pytest.mark.parametrize(
    ("changed", "verified"),
    [
        ({"verdict": "pass"}, True),
        ({"verdict": "refuse"}, False),
        ({"verdict": "none"}, False),
        ({"verdict": "none", "override": "anna"}, True),
        ({"verdict": "none", "to_version": None}, True),
    ],
)
def test_a_move_is_verified_by_the_gate_or_by_a_name(changed, verified):
    assert replace(MOVE, **changed).is_verified is verified


def test_a_whole_line_that_is_no_move_is_a_fault(tmp_path):
    path = tmp_path / "ledger.jsonl"
    Ledger(path).append(MOVE)
    path.write_text(path.read_text().replace('"at": "2026', '"at": "never'))
    assert Ledger(path).faults() == ("ledger line 1: is no move of an alias",)


def test_an_announced_move_outlives_a_move_of_somebody_else_that_ends_first(ledger):
    promoted = replace(MOVE, from_version="1", to_version="2", who="ben", state="intended")
    owed = replace(MOVE, from_version="1", to_version="0", who="cem", state="owed")
    ledger.append(promoted)
    ledger.append(owed)
    ledger.append(replace(promoted, state="moved", at=datetime(2026, 1, 2, tzinfo=UTC)))
    assert ledger.open_intent(model="demand", alias="champion") == owed
    ledger.append(replace(owed, state="dropped", at=datetime(2026, 1, 3, tzinfo=UTC)))
    assert ledger.open_intent(model="demand", alias="champion") is None
