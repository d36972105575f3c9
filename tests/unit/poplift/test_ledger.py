"""The ledger keeps every move in order and survives a torn last line."""

from datetime import UTC, datetime

from poplift.ledger import Ledger, Move

MOVE = Move("demand", "champion", None, "1", "flow", "first", "pass", datetime(2026, 1, 1, tzinfo=UTC))


def test_moves_come_back_in_the_order_they_were_made(tmp_path):
    ledger = Ledger(tmp_path / "deep" / "ledger.jsonl")
    second = Move(**{**MOVE.__dict__, "from_version": "1", "to_version": "2"})
    ledger.append(MOVE)
    ledger.append(second)
    assert ledger.moves(model="demand") == [MOVE, second]


def test_moves_of_another_model_or_alias_are_not_mixed_in(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
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


def test_an_empty_ledger_has_no_moves(tmp_path):
    assert Ledger(tmp_path / "none.jsonl").moves(model="demand") == []
