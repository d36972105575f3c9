"""Vectors out of the decision log: the newest, each entity once, and a torn line is no decision."""

import json
import os
from datetime import UTC, datetime, timedelta

from monitoring import served_vectors as module
from monitoring.served_vectors import served_vectors

WALL = datetime(2026, 5, 1, tzinfo=UTC)
AT = datetime(2018, 1, 2, 5, tzinfo=UTC)


def row(number, *, wall=WALL, flags=(), at=AT):
    return {
        "decision_id": f"d{number}",
        "wall_time": wall.isoformat(),
        "business_time": at.isoformat(),
        "outlet_id": str(number),
        "ppg_id": "cola",
        "features": {"lag": float(number)},
        "flags": list(flags),
    }


def write(folder, name, rows, *, end="", age=0):
    path = folder / name
    path.write_text("".join(json.dumps(r) + "\n" for r in rows) + end)
    os.utime(path, (1e9 - age, 1e9 - age))


def read(folder, *, since=WALL, limit=100):
    return served_vectors(folder, since=since, limit=limit)


def test_the_newest_file_and_its_last_line_come_first(tmp_path):
    write(tmp_path, "a.jsonl", [row(1), row(2)], age=60)
    write(tmp_path, "b.jsonl", [row(3)])
    assert [v.decision_id for v in read(tmp_path)] == ["d3", "d2", "d1"]


def test_an_entity_counts_once_for_each_business_time(tmp_path):
    write(tmp_path, "a.jsonl", [row(1), row(1), row(1, at=AT + timedelta(days=7))])
    assert [v.business_time for v in read(tmp_path)] == [AT + timedelta(days=7), AT]


def test_what_was_served_before_the_tables_were_made_is_left_out(tmp_path):
    write(tmp_path, "a.jsonl", [row(1, wall=WALL - timedelta(seconds=1)), row(2)])
    assert [v.decision_id for v in read(tmp_path)] == ["d2"]


def test_a_sample_is_spread_over_all_that_was_read(tmp_path):
    write(tmp_path, "a.jsonl", [row(n) for n in range(100)])
    chosen = [int(v.entity["outlet_id"]) for v in read(tmp_path, limit=7)]
    assert len(chosen) == 7
    assert (max(chosen), min(chosen)) == (99, 9)


def test_a_torn_line_is_passed_over(tmp_path):
    write(tmp_path, "a.jsonl", [row(1)], end=json.dumps(row(2))[:40])
    assert [v.decision_id for v in read(tmp_path)] == ["d1"]


def test_no_more_than_the_end_of_the_log_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TAIL_BYTES", 3 * len(json.dumps(row(1))))
    write(tmp_path, "a.jsonl", [row(n) for n in range(9)])
    write(tmp_path, "b.jsonl", [row(9)], age=60)
    assert [v.decision_id for v in read(tmp_path)] == ["d8", "d7"]


def test_flags_say_which_views_were_replaced_by_defaults(tmp_path):
    flags = ["stale:sales", "missing:trend", "expired:prices", "gaps:sales", "future:shoppers"]
    write(tmp_path, "a.jsonl", [row(1, flags=flags)])
    assert read(tmp_path)[0].replaced == {"trend", "prices", "shoppers"}


def test_no_log_is_no_vector(tmp_path):
    assert read(tmp_path / "not-there") == []
