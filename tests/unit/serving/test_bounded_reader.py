"""Reads have a deadline, a failing store is left alone, and who asks the same at once shares a read."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from serving.bounded_reader import BoundedReader
from serving.circuit_breaker import CircuitBreaker
from serving.online import StoreUnavailableError

ENTITY = {"outlet_id": "367", "ppg_id": "m1-soft-drinks-3"}
OTHER = ENTITY | {"outlet_id": "406"}
REST = 0.2


@pytest.fixture
def reader(store):
    breaker = CircuitBreaker(failures=2, rest=timedelta(seconds=REST))
    bounded = BoundedReader(store, deadline=timedelta(seconds=0.3), workers=2, breaker=breaker)
    yield bounded
    bounded.close()


@pytest.fixture
def gate(store):
    """Reads wait until it is opened."""
    opened = threading.Event()
    store.hang = lambda: opened.wait(10)
    yield opened
    opened.set()


def wait_for(holds):
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_cause_of_a_failure_is_named(store, reader):
    assert reader.read([ENTITY]).found.all()
    store.failure = OSError("disk gone")
    with pytest.raises(StoreUnavailableError, match="OSError: disk gone"):
        reader.read([ENTITY])


def test_the_deadline_of_a_read_is_kept(reader, gate):
    began = time.perf_counter()
    with pytest.raises(StoreUnavailableError, match=r"no answer within 0\.3 s"):
        reader.read([ENTITY])
    assert time.perf_counter() - began < 1


def test_a_store_that_keeps_failing_is_left_alone_and_read_again_after_a_rest(store, reader):
    store.failure = OSError("gone")
    for _ in range(20):
        with pytest.raises(StoreUnavailableError):
            reader.read([ENTITY])
    assert store.reads == 2
    store.failure = None
    time.sleep(REST)
    assert reader.read([ENTITY]).found.all()
    assert reader.read([ENTITY]).found.all()


def test_reads_that_come_too_late_count_as_failures_even_if_they_end_well(store, reader, gate):
    for entity in (ENTITY, OTHER):
        with pytest.raises(StoreUnavailableError, match="no answer"):
            reader.read([entity])
    gate.set()
    wait_for(lambda: store.reads == 2)
    with pytest.raises(StoreUnavailableError, match="left alone"):
        reader.read([ENTITY])


def test_two_hundred_who_ask_the_same_at_once_cost_one_read(store, gate):
    reader = BoundedReader(store, deadline=timedelta(seconds=10), workers=2)  # a busy machine starts threads slowly
    with ThreadPoolExecutor(201) as pool:
        asked = [pool.submit(reader.read, [ENTITY]) for _ in range(200)]
        other = pool.submit(reader.read, [OTHER])
        wait_for(lambda: store.reads == 2)
        time.sleep(0.05)
        gate.set()
        found = [future.result() for future in asked]
    assert len({id(one) for one in found}) == 1
    assert other.result() is not found[0]
    assert store.reads == 2
    reader.close()


def test_nothing_is_kept_after_a_read(store, reader):
    first = reader.read([ENTITY])
    store.rows["outlet_trend", "367"]["outlet_baskets_4w"] = 77.0
    second = reader.read([ENTITY])
    assert second.values["outlet_baskets_4w"] == [77.0]
    assert first.values["outlet_baskets_4w"] != [77.0]


def test_a_failure_that_many_share_is_one_failure(store, gate):
    breaker = CircuitBreaker(failures=2, rest=timedelta(seconds=60))
    reader = BoundedReader(store, deadline=timedelta(seconds=5), breaker=breaker)
    store.failure = OSError("gone")
    with ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(reader.read, [ENTITY]) for _ in range(10)]
        wait_for(lambda: store.reads == 1)
        gate.set()
        assert {type(future.exception()) for future in asked} == {StoreUnavailableError}
    assert not breaker.is_open
    reader.close()


def test_a_reader_that_ends_in_time_by_itself_is_asked_in_the_thread_of_who_asks_first(store, gate):
    threads = []
    opened, store.hang = store.hang, lambda: (threads.append(threading.current_thread()), opened())
    breaker = CircuitBreaker(failures=2, rest=timedelta(seconds=60))
    reader = BoundedReader(store, deadline=timedelta(seconds=5), ends_in_time=lambda: True, breaker=breaker)
    with ThreadPoolExecutor(10, thread_name_prefix="asks") as pool:
        asked = [pool.submit(reader.read, [ENTITY]) for _ in range(10)]
        wait_for(lambda: store.reads == 1)
        gate.set()
        found = [future.result() for future in asked]
        assert [thread.name.partition("_")[0] for thread in threads] == ["asks"]
        assert len({id(one) for one in found}) == 1
    store.failure = OSError("disk gone")
    with pytest.raises(StoreUnavailableError, match="OSError: disk gone"):
        reader.read([ENTITY])
    reader.close()
