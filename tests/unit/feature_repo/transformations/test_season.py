from datetime import date

import numpy as np
import pytest

from feature_repo.transformations.season import holidays, season


def _days(*days):
    return np.array([(d - date(1970, 1, 1)).days for d in days])


def test_the_holidays_of_2017_fall_on_the_days_the_calendar_says():
    assert holidays(2017) == (
        date(2017, 1, 1),
        date(2017, 5, 29),
        date(2017, 7, 4),
        date(2017, 9, 4),
        date(2017, 11, 23),
        date(2017, 12, 25),
    )


@pytest.mark.parametrize(
    ("monday", "ahead", "since"),
    [
        (date(2017, 7, 3), 0, 0),
        (date(2017, 6, 26), 1, 4),
        (date(2017, 7, 10), 8, 1),
        (date(2017, 12, 25), 0, 0),
        (date(2017, 12, 18), 1, 4),
    ],
)
def test_weeks_are_counted_to_and_from_the_week_of_the_holiday(monday, ahead, since):
    features = season(_days(monday))
    assert features["weeks_to_holiday"].item() == ahead
    assert features["weeks_since_holiday"].item() == since


def test_new_year_is_seen_from_the_year_before():
    assert season(_days(date(2018, 12, 31)))["weeks_to_holiday"].item() == 0
