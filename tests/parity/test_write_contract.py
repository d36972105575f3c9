"""One write contract on SQLite, Redis and Postgres, and plain Feast reads and writes the same stores beside it."""

import asyncio
import itertools
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.online.batch import OnlineBatch
from feature_repo.online.guard import ConflictError
from feature_repo.online.rules import FUTURE, NOT_FINITE, NULL_KEY, NULL_TIME
from tests.online_home import (
    NOON,
    NOT_FOUND,
    NOW,
    NULL,
    SECOND,
    TTL,
    Home,
    event_times,
    own_database,
    push,
    read,
    rows,
    write,
)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("redis", marks=pytest.mark.services),
        pytest.param("postgres", marks=pytest.mark.services),
    ]
)
def home(request, tmp_path):
    """An empty online store of each kind."""
    project, options = "contract", {"path": str(tmp_path / "online.db")}
    if request.param == "redis":
        project = request.getfixturevalue("redis_prefix")
        options = {"connection_string": request.getfixturevalue("redis_url")}
    if request.param == "postgres":
        options = own_database(request.getfixturevalue("postgres_url"), request.getfixturevalue("database_prefix"))
    home = Home(request.param, project, options)
    yield home
    for store in home.opened:
        store.close()


DOORS = pytest.mark.parametrize("door", [write, push], ids=["own door", "feast's door"])


@DOORS
def test_a_late_event_never_replaces_a_newer_one(home, door):
    store = home.store()
    door(store, ("o1", 2.0, NOON))
    door(store, ("o1", 1.0, NOON - SECOND))
    assert read(store, "o1") == [2.0]
    assert event_times(store, "o1") == [NOON]


@DOORS
def test_a_correction_with_the_same_event_time_replaces_what_it_corrects(home, door):
    store = home.store()
    door(store, ("o1", 1.0, NOON, NOON))
    door(store, ("o1", 2.0, NOON, NOON + SECOND))
    assert read(store, "o1") == [2.0]


@DOORS
def test_a_correction_that_was_itself_corrected_is_not_brought_back(home, door):
    store = home.store()
    door(store, ("o1", 2.0, NOON, NOON + 2 * SECOND))
    door(store, ("o1", 1.0, NOON, NOON + SECOND))
    assert read(store, "o1") == [2.0]


@DOORS
def test_the_newest_of_duplicates_in_one_batch_wins_in_any_order(home, door):
    store = home.store()
    door(store, ("o1", 2.0, NOON), ("o1", 1.0, NOON - SECOND), ("o2", 1.0, NOON - SECOND), ("o2", 2.0, NOON))
    assert read(store, "o1", "o2") == [2.0, 2.0]


@DOORS
def test_a_timestamp_from_the_future_is_refused_and_the_entity_goes_on(home, door, caplog):
    store = home.store()
    door(store, ("o1", 1.0, NOON))
    with caplog.at_level(logging.WARNING):
        door(store, ("o1", 9.0, NOW + timedelta(days=365)))
    assert "view outlet_visits: rows refused by the online store: 1 future" in caplog.text
    door(store, ("o1", 2.0, NOON + SECOND))
    assert read(store, "o1") == [2.0]


def test_the_allowed_skew_is_exact(home):
    store = home.store()
    edge = NOW + timedelta(seconds=60)
    assert write(store, ("o1", 1.0, edge), ("o2", 1.0, edge + timedelta(microseconds=1))) == (1, 0, {FUTURE: 1})
    assert read(store, "o1", "o2") == [1.0, NOT_FOUND]


def test_an_entity_nobody_wrote_is_not_found(home):
    store = home.store()
    write(store, ("o1", 1.0, NOON))
    assert read(store, "stranger", "o1") == [NOT_FOUND, 1.0]
    assert event_times(store, "stranger") == [None]


def test_a_null_is_stored_as_a_null_and_is_not_the_same_as_not_found(home):
    store = home.store()
    assert write(store, ("o1", 1.0, NOON), ("o2", None, NOON)) == (2, 0, {})
    assert read(store, "o2") == [NULL]
    assert event_times(store, "o2") == [NOON]


def test_rows_of_nothing_but_nulls_stop_the_old_values_being_served(home):
    store = home.store()
    write(store, ("o1", 1.0, NOON))
    write(store, ("o1", None, NOON + SECOND))
    assert read(store, "o1") == [NULL]


@DOORS
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_value_is_refused_and_the_old_one_stays(home, door, value):
    store = home.store()
    door(store, ("o1", 1.0, NOON))
    door(store, ("o1", value, NOON + SECOND), ("o2", 2.0, NOON))
    assert read(store, "o1", "o2") == [1.0, 2.0]


def test_refused_rows_are_counted_once_each_by_reason_and_the_counts_add_up(home):
    store = home.store()
    given = [
        ("o1", 1.0, NOON),
        ("o1", 0.0, NOON - SECOND),
        ("o2", np.nan, NOON),
        (None, 1.0, NOON),
        (None, np.inf, NOW + TTL),
        ("o3", 1.0, None, NOON),
        ("o4", np.inf, NOW + TTL),
    ]
    written, older, refused = write(store, *given)
    assert (written, older) == (1, 1)
    assert refused == {NULL_KEY: 2, NULL_TIME: 1, FUTURE: 1, NOT_FINITE: 1}
    assert written + older + sum(refused.values()) == len(given)


def test_a_row_past_its_age_limit_is_withheld_and_says_how_old_it_is(home):
    store = home.store()
    edge, old = NOW - TTL, NOW - TTL - timedelta(microseconds=1)
    write(store, ("edge", 1.0, edge), ("old", 1.0, old))
    assert read(store, "edge", "old") == [1.0, NULL]
    assert event_times(store, "edge", "old") == [edge, old]


def test_a_row_that_is_in_the_future_of_an_earlier_business_time_is_withheld(home):
    write(home.store(), ("o1", 1.0, NOON))
    assert read(home.store(present=NOON - timedelta(minutes=2)), "o1") == [NULL]
    assert read(home.store(present=NOON - timedelta(minutes=1)), "o1") == [1.0]


def test_a_new_feature_is_not_found_before_its_backfill_and_there_after_it(home):
    write(home.store(), ("o1", 1.0, NOON), ("o2", 2.0, NOON))
    store = home.store("visits", "rank")
    assert read(store, "o1", feature="rank") == [NOT_FOUND]
    again = rows(("o1", 1.0, NOON), ("o2", 2.0, NOON)).append_column("rank", pa.array([7, 8], pa.int64()))
    report = store.online.write(store.config, store.view, OnlineBatch.of_table(store.view, again))
    assert (report.written, report.older) == (2, 0)
    assert read(store, "o1", "o2", feature="rank") == [7, 8]


def test_a_late_row_does_not_fill_a_new_feature_with_the_past_of_another_time(home):
    write(home.store(), ("o1", 1.0, NOON))
    store = home.store("visits", "rank")
    late = rows(("o1", 0.0, NOON - SECOND)).append_column("rank", pa.array([7], pa.int64()))
    assert store.online.write(store.config, store.view, OnlineBatch.of_table(store.view, late)).older == 1
    assert (read(store, "o1"), read(store, "o1", feature="rank")) == ([1.0], [NOT_FOUND])


RUNS = itertools.count()
EVENTS = st.lists(
    st.tuples(st.sampled_from(["o1", "o2", "o3"]), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=12
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS, data=st.data())
def test_events_in_any_order_any_batches_and_any_number_of_times_leave_the_same_state(home, events, data):
    store = home.opened[0] if home.opened else home.store()
    # Outlets of its own for every example; one event time and created time always say the same value.
    run = next(RUNS)
    given_rows = [
        (f"{o}-{run}", float(10 * e + c), NOON + e * timedelta(microseconds=1), NOON + c * timedelta(microseconds=1))
        for o, e, c in events
    ]
    repeated = data.draw(st.permutations(given_rows + data.draw(st.lists(st.sampled_from(given_rows), max_size=6))))
    cut = data.draw(st.integers(0, len(repeated)))
    for batch in (repeated[:cut], repeated[cut:]):
        if batch:
            write(store, *batch)
    expected = {o: max((e, c) for name, e, c in events if name == o) for o, *_ in events}
    outlets = [f"{o}-{run}" for o in expected]
    assert read(store, *outlets) == [float(10 * e + c) for e, c in expected.values()]


def test_plain_feast_reads_what_the_guarded_store_writes(home):
    write(home.store(), ("o1", 1.5, NOON), ("o2", None, NOON))
    plain = home.store(plain=True)
    assert read(plain, "o1", "o2") == [1.5, NULL]
    assert [time.replace(tzinfo=UTC) for time in event_times(plain, "o1", "o2")] == [NOON, NOON]


def test_the_guarded_store_reads_and_guards_what_plain_feast_writes(home):
    guarded, plain = home.store(), home.store(plain=True)
    write(guarded, ("o1", 1.0, NOON))
    push(plain, ("o1", 3.0, NOON + 5 * SECOND), ("o2", 4.0, NOON))
    assert read(guarded, "o1", "o2") == [3.0, 4.0]
    assert event_times(guarded, "o1") == [NOON + 5 * SECOND]
    assert write(guarded, ("o1", 2.0, NOON + SECOND)) == (0, 1, {})
    assert write(guarded, ("o1", 5.0, NOON + 6 * SECOND), ("o2", 6.0, NOON + SECOND)) == (2, 0, {})
    assert read(guarded, "o1", "o2") == [5.0, 6.0]


def test_a_store_that_plain_feast_made_and_filled_is_taken_over(home):
    push(home.store(plain=True), ("o1", 3.0, NOON))
    guarded = home.store()
    assert read(guarded, "o1") == [3.0]
    assert write(guarded, ("o1", 2.0, NOON - SECOND), ("o2", 1.0, NOON)) == (1, 1, {})
    assert read(guarded, "o1", "o2") == [3.0, 1.0]


def test_concurrent_writers_never_lose_the_newest_event(home):
    writers, events = 4, 25
    stores = [home.store() for _ in range(writers)]

    def hammer(number):
        for step in range(events):
            at = step * writers + number
            write(stores[number], *((f"o{o}", float(at), NOON + at * timedelta(microseconds=1)) for o in range(5)))

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(hammer, range(writers)))
    assert read(stores[0], *(f"o{o}" for o in range(5))) == [float(writers * events - 1)] * 5


def test_feasts_async_door_keeps_the_same_rules(home):
    store = home.store()
    write(store, ("o1", 2.0, NOON))
    late = rows(("o1", 1.0, NOON - SECOND), ("o2", 3.0, NOON)).to_pandas()
    asyncio.run(store.provider.ingest_df_async(store.view, late))
    assert read(store, "o1", "o2") == [2.0, 3.0]


def test_a_batch_that_somebody_always_disturbs_is_given_up_with_what_to_do(home, monkeypatch):
    store = home.store()

    def disturbed(*_):
        raise ConflictError

    monkeypatch.setattr(store.online, "session", disturbed)
    with pytest.raises(ConflictError, match=r"outlet_visits: other writers changed .* write smaller batches"):
        write(store, ("o1", 1.0, NOON))
