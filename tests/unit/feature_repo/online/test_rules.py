"""Who wins, who may be served, and what a report adds up to."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from feature_repo.online.rules import UNKNOWN, micros, newest, usable, wins
from poplift.write_report import WriteReport


def times(*values):
    return np.array(values, dtype=np.int64)


@pytest.mark.parametrize(
    ("row", "stored", "won"),
    [
        ((5, 1), (UNKNOWN, UNKNOWN), True),
        ((5, 1), (4, 9), True),
        ((4, 9), (5, 1), False),
        ((5, 2), (5, 1), True),
        ((5, 1), (5, 2), False),
        ((5, 1), (5, 1), True),
        ((5, UNKNOWN), (5, 1), False),
        ((5, 1), (5, UNKNOWN), True),
    ],
)
def test_the_newest_event_wins_then_the_later_created_time_and_an_equal_row_is_written_again(row, stored, won):
    assert wins(times(row[0]), times(row[1]), times(stored[0]), times(stored[1])).tolist() == [won]


def test_duplicates_are_reduced_by_the_same_rule_and_keep_their_order():
    keys = [b"b", b"a", b"b", b"c", b"a"]
    assert newest(keys, times(1, 5, 2, 1, 5), times(0, 2, 0, 0, 1)).tolist() == [1, 2, 3]
    assert newest([b"a", b"a"], times(1, 1), times(1, 1)).tolist() == [1]
    assert newest([b"a", b"b"], times(1, 1), times(1, 1)) is None
    assert newest([], times(), times()) is None


def test_a_row_may_be_served_at_both_edges_of_its_age_and_not_beyond():
    assert usable(times(9, 10, 20, 21), oldest_us=10, latest_us=20).tolist() == [False, True, True, False]
    assert usable(times(-(10**15), 21), oldest_us=None, latest_us=20).tolist() == [True, False]


def test_an_instant_is_microseconds_in_utc_whatever_zone_it_is_written_in():
    berlin = timezone(timedelta(hours=2))
    assert micros(datetime(1970, 1, 1, 2, 0, 0, 1, tzinfo=berlin)) == 1
    assert micros(datetime(1970, 1, 1, 0, 0, 0, 1)) == 1  # noqa: DTZ001 # without a zone it is UTC
    assert micros(datetime(2018, 1, 2, 5, 0, 0, 999_999, tzinfo=UTC)) == 1_514_869_200_999_999


def test_reports_add_up_by_reason():
    together = WriteReport(1, 2, {"future": 1}) + WriteReport(10, 20, {"future": 2, "null_key": 5})
    assert together == WriteReport(11, 22, {"future": 3, "null_key": 5})
