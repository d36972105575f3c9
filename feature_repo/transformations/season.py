"""Where a week lies in the retail year: how far from the holidays that people stock up for."""

from datetime import date, timedelta
from functools import lru_cache

import numpy as np

HORIZON = 8  # weeks: holidays further away than that do not move beverage sales
_MONDAY, _THURSDAY = 0, 3


def _nth_weekday(year: int, month: int, weekday: int, nth: int) -> date:
    """The nth (from 1) or last (-1) given weekday of a month."""
    if nth > 0:
        first = date(year, month, 1)
        return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))
    last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    return last - timedelta(days=(last.weekday() - weekday) % 7)


def holidays(year: int) -> tuple[date, ...]:
    """The days of a year around which Americans stock up on beverages."""
    return (
        date(year, 1, 1),
        _nth_weekday(year, 5, _MONDAY, -1),  # Memorial Day
        date(year, 7, 4),
        _nth_weekday(year, 9, _MONDAY, 1),  # Labor Day
        _nth_weekday(year, 11, _THURSDAY, 4),  # Thanksgiving
        date(year, 12, 25),
    )


@lru_cache(maxsize=64)
def season_of_week(week_start_day: int) -> dict[str, np.ndarray]:
    """`season` of one week, worked out once: serving asks it for the coming week with every request. Read-only."""
    found = season(np.array([week_start_day]))
    for values in found.values():
        values.flags.writeable = False
    return found


def season(week_start_day: np.ndarray) -> dict[str, np.ndarray]:
    """Season features of weeks given by their first local day, in days since 1970-01-01; any order and length.

    weeks_to_holiday: 0 = a holiday lies in the week, capped at 8. weeks_since_holiday: likewise, looking back.
    No phase of the year: with less than two years of history it is another name for time.
    """
    start = np.asarray(week_start_day, dtype="int64")
    if start.size == 0:
        empty = np.empty(0)
        return dict.fromkeys(("weeks_to_holiday", "weeks_since_holiday"), empty)
    years = start.astype("datetime64[D]").astype("datetime64[Y]").astype(int) + 1970
    span = range(int(years.min()) - 1, int(years.max()) + 2)
    days = np.array([d for y in span for d in holidays(y)], dtype="datetime64[D]").astype("int64")
    ahead = np.floor_divide(days[None, :] - start[:, None], 7)  # 0 = in the week, negative = before it
    return {
        "weeks_to_holiday": np.where(ahead >= 0, ahead, HORIZON).min(axis=1).clip(max=HORIZON).astype(float),
        "weeks_since_holiday": np.where(ahead <= 0, -ahead, HORIZON).min(axis=1).clip(max=HORIZON).astype(float),
    }
