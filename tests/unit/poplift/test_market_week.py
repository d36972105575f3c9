"""The week that is decided changes when the sales of the one before have landed, not at midnight."""

from datetime import UTC, date, datetime

import pytest

from poplift.market_week import day_number, decided_week


@pytest.mark.parametrize(
    ("instant", "week"),
    [
        (datetime(2018, 1, 2, 5, tzinfo=UTC), date(2018, 1, 1)),  # the decision instant itself
        (datetime(2018, 1, 2, 4, 59, tzinfo=UTC), date(2017, 12, 25)),
        (datetime(2017, 6, 6, 4, tzinfo=UTC), date(2017, 6, 5)),  # summer time
        (datetime(2017, 3, 13, 12, tzinfo=UTC), date(2017, 3, 6)),  # the Monday after the clocks went forward
    ],
)
def test_the_decided_week_is_the_newest_one_whose_decision_instant_has_come(instant, week):
    assert decided_week(instant) == week


def test_days_are_counted_from_the_first_of_january_1970():
    assert (day_number(date(1970, 1, 1)), day_number(date(2018, 1, 1))) == (0, 17532)
