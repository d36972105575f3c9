"""Running features: however lines arrive, what is online is what the batch computes from the lake, and what is true."""

import tempfile
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.catalog import RUNNING_VIEWS
from feature_repo.online.rules import micros, wins
from feature_repo.running import VIEW, RunningWeek, recomputed, write_table
from feature_repo.versions import table_path
from tests.live_week import NOW, OPENS, OUTLETS, PRODUCTS, arrival, cells, chain, line, values

MANAGED = {(o, p) for o, managed in OUTLETS.items() if managed for p in ("cola", "tea")}


class Online(dict):
    """What a store under the write contract holds: the newest event wins, then the later created time."""

    def write(self, rows):
        for cell, row in cells(rows).items():
            if cell not in self or self._wins(row, self[cell]):
                self[cell] = row

    @staticmethod
    def _wins(new, old):
        event, created = ([micros(r[n]) for r in (new, old)] for n in ("event_timestamp", "created_timestamp"))
        return bool(wins(*(_one(v) for v in (event[0], created[0], event[1], created[1])))[0])

    def values(self):
        return values([{"outlet_id": o, "ppg_id": p, **row} for (o, p), row in self.items()])


def _one(value):
    import numpy as np

    return np.array([value], dtype="int64")


def truth(events):
    """Feature values of the managed cells from (seconds, line) events, in plain Python."""
    newest = {}
    for seconds, sent in events:
        key = (sent["basket_id"], sent["product_id"])
        if key not in newest or seconds > newest[key][0]:
            newest[key] = (seconds, sent)
    found = {}
    for outlet, ppg in MANAGED:
        lines = [
            s
            for _, s in newest.values()
            if s["outlet_id"] == outlet and PRODUCTS[s["product_id"]] == ppg and s["week"] == 2
        ]
        found[outlet, ppg] = {
            "transactions_week_to_date": float(len({s["basket_id"] for s in lines})),
            "units_week_to_date": float(sum(s["quantity"] for s in lines)),
            "sales_usd_week_to_date": float(round(sum(round(s["sales_value"] * 100) for s in lines)) / 100),
            "open_week": 2.0,
        }
    return found


@pytest.fixture
def lake(tmp_path):
    return chain(tmp_path / "lake")


def test_every_managed_cell_is_there_with_zeros_before_the_first_line(lake):
    rows = RunningWeek(lake, as_of=NOW).rows()
    assert values(rows) == truth([])
    assert {r["event_timestamp"] for r in rows.to_pylist()} == {OPENS}
    assert rows.schema.names == [
        *VIEW.entities,
        "event_timestamp",
        "created_timestamp",
        *(f.name for f in VIEW.features),
    ]


def test_a_line_changes_its_own_cell_and_no_other(lake):
    week = RunningWeek(lake, as_of=NOW)
    taken, rows = week.take([arrival(line(), seconds=3)], as_of=NOW)
    assert taken.accepted == 1
    (cell,) = cells(rows).items()
    assert cell[0] == ("o1", "cola")
    assert cell[1]["event_timestamp"] == datetime.fromisoformat("2017-01-10T12:00:00+00:00")
    assert cell[1]["created_timestamp"] == NOW - timedelta(hours=1) + timedelta(seconds=3)


@pytest.mark.parametrize("sent", [line(product="p8"), line(outlet_id="o9"), line(week=1)])
def test_a_line_outside_the_managed_open_week_writes_nothing_online(lake, sent):
    taken, rows = RunningWeek(lake, as_of=NOW).take([arrival(sent)], as_of=NOW)
    assert (taken.accepted, len(rows)) == (1, 0)


def test_a_line_moved_to_another_outlet_by_a_correction_leaves_the_first_one_empty(lake):
    week, online = RunningWeek(lake, as_of=NOW), Online()
    for seconds, outlet in enumerate(("o1", "o2")):
        online.write(week.take([arrival(line(outlet_id=outlet), seconds=seconds)], as_of=NOW)[1])
    assert online["o1", "cola"]["transactions_week_to_date"] == 0
    assert online["o2", "cola"]["transactions_week_to_date"] == 1


def test_a_line_after_a_crash_counts_although_the_copies_before_it_were_taken_one_by_one(tmp_path):
    lake, online = chain(tmp_path / "lake"), Online()
    copies = [arrival(line(), number=n, seconds=at) for n, at in enumerate((3, 1))]
    week = RunningWeek(lake, as_of=NOW)
    for copy in copies:
        online.write(week.take([copy], as_of=NOW)[1])
    week = RunningWeek(lake, as_of=NOW)  # nothing had landed
    online.write(week.take(copies, as_of=NOW)[1])
    online.write(week.take([arrival(line("b2"), number=2, seconds=2)], as_of=NOW)[1])
    assert online["o1", "cola"]["transactions_week_to_date"] == 2


def test_a_new_week_starts_at_zero_everywhere_with_a_later_event_time(lake):
    week, online = RunningWeek(lake, as_of=NOW), Online()
    online.write(week.take([arrival(line())], as_of=NOW)[1])
    monday = OPENS + timedelta(days=7, hours=1)
    sent = line("b9", week=3, sold_at=monday.isoformat(), quantity=4)
    online.write(week.take([arrival(sent, seconds=(monday - NOW).total_seconds() + 3600)], as_of=monday)[1])
    assert {cell: row["units_week_to_date"] for cell, row in online.items()} == {
        cell: 4.0 if cell == ("o1", "cola") else 0.0 for cell in MANAGED
    }
    assert {row["open_week"] for row in online.values().values()} == {3.0}


def test_outside_the_calendar_there_is_nothing_to_run_and_lines_are_kept_all_the_same(lake):
    late = OPENS + timedelta(days=365)
    week = RunningWeek(lake, as_of=late)
    taken, rows = week.take([arrival(line())], as_of=late)
    assert (taken.accepted, len(rows), len(week.rows())) == (1, 0, 0)


def test_the_table_for_feast_holds_what_the_batch_computes(lake, tmp_path):
    import pyarrow.parquet as pq

    week = RunningWeek(lake, as_of=NOW)
    week.take([arrival(line())], as_of=NOW)
    week.arrivals.land()
    assert write_table(lake, features_dir=tmp_path / "features", as_of=NOW) == len(MANAGED)
    read = pq.read_table(table_path(tmp_path / "features", RUNNING_VIEWS[0].name))
    assert cells(read) == cells(week.rows()) == cells(recomputed(lake, as_of=NOW))


def test_a_table_that_says_the_same_is_left_as_it_is(lake, tmp_path):
    features = tmp_path / "features"
    written = [write_table(lake, features_dir=features, as_of=NOW)]
    (file,) = features.rglob("*.parquet")
    before = file.stat().st_mtime_ns
    written.append(write_table(lake, features_dir=features, as_of=NOW))
    assert written == [len(MANAGED)] * 2
    assert file.stat().st_mtime_ns == before


@st.composite
def deliveries(draw):
    """(every event as (seconds, line), the batches in which they are delivered): corrections, copies, any order."""
    events = []
    for basket in ("b1", "b2", "b3"):
        for product in draw(st.sets(st.sampled_from(["p1", "p2", "p3", "p8"]), max_size=3)):
            versions = draw(
                st.lists(
                    st.fixed_dictionaries(
                        {
                            "outlet_id": st.sampled_from(sorted(OUTLETS)),
                            "week": st.sampled_from([2, 2, 2, 1]),
                            "quantity": st.integers(1, 4),
                            "sales_value": st.integers(1, 999).map(lambda cents: cents / 100),
                            "sold_at": st.sampled_from(["2017-01-10T12:00:00Z", "2017-01-11T12:00:00Z"]),
                        }
                    ),
                    min_size=1,
                    max_size=3,
                    unique_by=lambda version: tuple(version.values()),
                )
            )
            seconds = sorted(draw(st.lists(st.integers(0, 1700), min_size=len(versions) * 2, max_size=6, unique=True)))
            # Within the hour before NOW. Every version is sent at least once and perhaps again before the next one.
            for (at, again), version in zip(pairwise(seconds), versions, strict=False):
                events.append((at * 2, line(basket, product, **version)))
                if draw(st.booleans()):
                    events.append((min(again, at) * 2 + 1, line(basket, product, **version)))
    delivered = draw(st.permutations([*events, *draw(st.lists(st.sampled_from(events), max_size=5))] if events else []))
    cuts = sorted(draw(st.sets(st.integers(0, len(delivered)), max_size=4)))
    batches = [delivered[a:b] for a, b in pairwise([0, *cuts, len(delivered)])]
    return events, batches, draw(st.lists(st.sampled_from(["go on", "land", "restart"]), min_size=6, max_size=6))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(deliveries())
def test_any_order_repetition_batching_correction_and_restart_ends_in_the_values_of_the_batch(case):
    agree(case)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(deliveries())
def test_so_do_many_more_cases_of_any_order_and_repetition(case):
    agree(case)


def agree(case):
    """Deliver the batches, landing and restarting as the case says; online, batch and plain Python give one answer."""
    events, batches, fates = case
    with tempfile.TemporaryDirectory() as folder:
        lake = chain(Path(folder))
        week, online, unfinished = RunningWeek(lake, as_of=NOW), Online(), []
        online.write(week.rows())
        for batch, fate in zip(batches, fates, strict=False):
            unfinished += batch
            sent = [arrival(s, number=n, seconds=at) for n, (at, s) in enumerate(batch)]
            online.write(week.take(sent, as_of=NOW)[1])
            if fate == "land":
                week.arrivals.land()
                unfinished = []
            if fate == "restart":
                week = RunningWeek(lake, as_of=NOW)
                online.write(week.rows())
                again = [arrival(s, number=n, seconds=at) for n, (at, s) in enumerate(unfinished)]
                online.write(week.take(again, as_of=NOW)[1])
        week.arrivals.land()
        assert online.values() == truth(events)
        assert values(recomputed(lake, as_of=NOW)) == truth(events)
        assert values(RunningWeek(lake, as_of=NOW).rows()) == truth(events)
