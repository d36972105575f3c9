"""The wall clock is aware and in UTC."""

from datetime import UTC

from poplift.clock import wall_now


def test_the_wall_clock_is_in_utc_and_never_goes_back_between_two_looks():
    first, second = wall_now(), wall_now()
    assert first.tzinfo is UTC
    assert first <= second
