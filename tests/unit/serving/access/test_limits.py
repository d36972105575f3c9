"""A client gets its burst at once and its rate for ever, and no client costs memory for ever."""

from hypothesis import given
from hypothesis import strategies as st

from serving.access import limits
from serving.access.limits import TokenBuckets


@given(
    rate=st.floats(0.1, 100),
    burst=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 3), min_size=1, max_size=200),
)
def test_no_client_ever_gets_more_than_its_burst_and_what_its_rate_brought(rate, burst, pauses):
    now = [0.0]
    buckets = TokenBuckets(rate=rate, burst=burst, clock=lambda: now[0])
    taken = 0
    for pause in pauses:
        now[0] += pause
        taken += buckets.take("a") == 0.0
        assert taken <= burst + rate * now[0] + 1e-6
        assert taken >= 1


@given(rate=st.floats(0.1, 100), burst=st.integers(1, 5))
def test_whoever_waits_as_long_as_told_is_answered(rate, burst):
    now = [0.0]
    buckets = TokenBuckets(rate=rate, burst=burst, clock=lambda: now[0])
    for _ in range(burst):
        assert buckets.take("a") == 0.0
    wait = buckets.take("a")
    assert wait > 0
    now[0] += wait * 1.0001
    assert buckets.take("a") == 0.0


def test_only_so_many_clients_are_kept_in_mind(monkeypatch):
    monkeypatch.setattr(limits, "MOST_CLIENTS", 10)
    buckets = TokenBuckets(rate=1, burst=1)
    for n in range(100):
        buckets.take(str(n))
    assert len(buckets) == 10
