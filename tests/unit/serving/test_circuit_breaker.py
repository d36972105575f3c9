"""A system that keeps failing is left alone, and found again within a rest."""

from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from serving.circuit_breaker import CircuitBreaker


class Bench:
    """A breaker of two failures and a rest of ten seconds, with a clock that stands still."""

    def __init__(self):
        self.seconds = 0.0
        self.told = []
        rest = timedelta(seconds=10)
        self.breaker = CircuitBreaker(failures=2, rest=rest, on_change=self.told.append, now=lambda: self.seconds)

    def fail(self, times):
        for _ in range(times):
            self.breaker.failed()


def test_it_opens_after_failures_in_a_row_and_a_success_in_between_counts_anew():
    bench = Bench()
    bench.fail(1)
    bench.breaker.succeeded()
    bench.fail(1)
    assert bench.breaker.admits()
    bench.fail(1)
    assert not bench.breaker.admits()
    assert bench.told == [True]


def test_after_a_rest_one_call_probes_and_its_success_closes():
    bench = Bench()
    bench.fail(2)
    bench.seconds = 10
    assert [bench.breaker.admits() for _ in range(3)] == [True, False, False]
    bench.breaker.succeeded()
    assert bench.breaker.admits()
    assert bench.told == [True, False]


def test_a_probe_that_fails_means_another_rest():
    bench = Bench()
    bench.fail(2)
    bench.seconds = 10
    assert bench.breaker.admits()
    bench.fail(1)
    bench.seconds = 19.9
    assert not bench.breaker.admits()
    bench.seconds = 20
    assert bench.breaker.admits()
    assert bench.told == [True]


def test_a_probe_that_never_ends_does_not_keep_it_open():
    bench = Bench()
    bench.fail(2)
    bench.seconds = 10
    assert bench.breaker.admits()
    bench.seconds = 20
    assert bench.breaker.admits()


@given(st.lists(st.sampled_from(["failed", "succeeded", "wait", "ask"]), max_size=60))
def test_whatever_happens_an_open_breaker_lets_one_call_through_a_rest(events):
    bench, admitted = Bench(), []
    for event in events:
        if event == "wait":
            bench.seconds += 5
        elif event != "ask":
            getattr(bench.breaker, event)()
            if event == "succeeded":
                admitted.clear()
        elif bench.breaker.is_open and bench.breaker.admits():
            admitted.append(bench.seconds)
    assert all(later - earlier >= 10 for earlier, later in pairwise(admitted))
    bench.seconds += 10
    assert bench.breaker.admits()
