"""Lines one by one: judged by their contract, known ones dropped, landed once, whatever is delivered twice."""

import json
from itertools import pairwise

import pytest

from poplift.arrivals import QUARANTINE, SKEW, Arrivals, Refusal
from tests.live_week import NOW, arrival, chain, line


@pytest.fixture
def lake(tmp_path):
    return chain(tmp_path / "lake")


@pytest.fixture
def arrivals(lake):
    return Arrivals(lake, as_of=NOW)


def take(arrivals, *sent, start=0):
    return arrivals.take([arrival(s, number=start + n, seconds=start + n) for n, s in enumerate(sent)], as_of=NOW)


def landed(lake):
    query = lake.query("pos_lines", as_of=NOW + SKEW)
    return sorted(lake.connection.sql(f"SELECT basket_id, product_id, quantity FROM ({query})").fetchall())


def quarantined(lake):
    files = [str(p) for p in lake.parts("pos_lines", folder=QUARANTINE)]
    return lake.connection.execute("SELECT source, rule, row FROM read_parquet(?) ORDER BY row", [files]).fetchall()


def test_what_was_taken_is_in_the_lake_after_landing_and_not_before(lake, arrivals):
    assert take(arrivals, line(), line("b2")).accepted == 2
    assert landed(lake) == [("old", "p1", 1)]
    arrivals.land()
    assert landed(lake) == [("b1", "p1", 1), ("b2", "p1", 1), ("old", "p1", 1)]


def test_a_line_that_is_known_unchanged_is_a_duplicate_before_and_after_landing_and_after_a_restart(lake, arrivals):
    take(arrivals, line(), line("b1", sales_value=1.5))
    assert take(arrivals, line(), start=5).duplicates == 1
    arrivals.land()
    assert take(arrivals, line(), start=6).duplicates == 1
    assert take(Arrivals(lake, as_of=NOW), line(), start=7).duplicates == 1
    arrivals.land()
    assert len(lake.parts("pos_lines")) == 2


def test_the_same_message_delivered_again_changes_nothing_although_a_correction_came_between(lake, arrivals):
    take(arrivals, line(), line(quantity=3))
    again = take(arrivals, line(), line(quantity=3))
    assert (again.accepted, again.duplicates) == (0, 2)
    arrivals.land()
    assert ("b1", "p1", 3) in landed(lake)


@pytest.mark.parametrize("cuts", [(), (1,), (2,), (3,), (1, 2, 3)])
def test_of_copies_the_one_delivered_first_stays_however_they_are_cut_into_batches(lake, arrivals, cuts):
    delivered = [arrival(line(), number=n, seconds=at) for n, at in enumerate((3, 1, 0, 5))]
    for start, end in pairwise([0, *cuts, len(delivered)]):
        arrivals.take(delivered[start:end], as_of=NOW)
    arrivals.land()
    kept = lake.connection.sql(
        f"SELECT created_at FROM ({lake.query('pos_lines', as_of=NOW, every_version=True)}) WHERE basket_id = 'b1'"
    ).fetchall()
    assert kept == [(delivered[0].arrived_at,)]


def test_a_correction_taken_back_counts_as_one(lake, arrivals):
    assert take(arrivals, line(), line(quantity=3), line()).accepted == 3
    arrivals.land()
    assert ("b1", "p1", 1) in landed(lake)


def test_a_line_of_a_closed_week_is_looked_up_in_the_lake(lake, arrivals):
    old = {"basket_id": "old", "week": 1, "sold_at": "2017-01-06T05:00:00+00:00", "sales_value": 1.0}
    assert take(arrivals, line(**old)).duplicates == 1
    assert take(arrivals, line(**(old | {"quantity": 4})), start=1).accepted == 1
    arrivals.land()
    assert landed(lake) == [("old", "p1", 4)]


@pytest.mark.parametrize(
    ("change", "column", "rule"),
    [
        ({"quantity": 0}, "quantity", "range"),
        ({"quantity": "two"}, "quantity", "type"),
        ({"quantity": 1.5}, "quantity", "type"),
        ({"quantity": 10**30}, "quantity", "type"),
        ({"quantity": True}, "quantity", "type"),
        ({"sales_value": float("nan")}, "sales_value", "range"),
        ({"sales_value": {"usd": 1}}, "sales_value", "type"),
        ({"week": ...}, "week", "null"),
        ({"week": 99}, "week", "unknown"),
        ({"product_id": "p99"}, "product_id", "unknown"),
        ({"outlet_id": "'; DROP TABLE live_lines; --"}, "outlet_id", "unknown"),
        ({"sold_at": "2017-01-12T12:06:00+00:00"}, "sold_at", "future"),
        ({"sold_at": "last Tuesday"}, "sold_at", "type"),
    ],
)
def test_a_line_that_breaks_the_contract_is_quarantined_with_its_rule_and_the_others_flow(
    lake, arrivals, change, column, rule
):
    taken = take(arrivals, line("b1"), line("b2", **change), line("b3"))
    assert taken.refused == (Refusal("m1", column, rule),)
    assert (taken.accepted, taken.duplicates) == (2, 0)
    arrivals.land()
    ((source, broken, row),) = quarantined(lake)
    assert (source, broken, json.loads(row)["basket_id"]) == ("live", rule, "b2")


@pytest.mark.parametrize("poison", [b"", b"not json", b"[1]", b"\xff\xfe", b'{"basket_id": "\\ud800"}', b"[" * 100_000])
def test_a_message_that_cannot_be_read_is_quarantined_and_blocks_nobody(lake, arrivals, poison):
    taken = take(arrivals, line("b1"), poison, line("b2"))
    assert (taken.accepted, taken.refused) == (2, (Refusal("m1", "", "unreadable"),))
    arrivals.land()
    assert [rule for _, rule, _ in quarantined(lake)] == ["unreadable"]


def test_a_clock_that_runs_a_little_ahead_is_forgiven(arrivals):
    assert take(arrivals, line(sold_at=(NOW + SKEW).isoformat())).accepted == 1


def test_a_batch_that_died_between_landing_and_being_finished_leaves_the_same_lake(lake, arrivals):
    sent = [line("b1"), line("b2"), line("b3", quantity=0), b"poison"]
    take(arrivals, *sent)
    arrivals.land()
    before = landed(lake), quarantined(lake)
    restarted = Arrivals(lake, as_of=NOW)
    again = take(restarted, *sent, line("b4"))
    restarted.land()
    assert (again.accepted, again.duplicates, len(again.refused)) == (1, 2, 2)
    assert quarantined(lake) == before[1]
    assert landed(lake) == sorted([*before[0], ("b4", "p1", 1)])


def test_lines_that_somebody_else_landed_are_known_after_a_load(lake, arrivals):
    other = Arrivals(lake, as_of=NOW)
    take(other, line("b7"))
    assert not arrivals.is_behind()
    other.land()
    assert arrivals.is_behind()
    take(arrivals, line("b8"))
    arrivals.land()
    assert arrivals.is_behind()
    arrivals.load(as_of=NOW)
    assert take(arrivals, line("b7"), line("b8"), start=3).duplicates == 2


def test_nothing_taken_lands_nothing(lake, arrivals):
    assert take(arrivals).accepted == 0
    arrivals.land()
    assert len(lake.parts("pos_lines")) == 1
    assert lake.parts("pos_lines", folder=QUARANTINE) == []
