"""The write contract of every online store, as pure functions of event and created times.

The newest event wins. At the same event time the later created time wins, and a row that says neither more nor less
than what is stored is written again: that is how a backfill fills a new feature. Times are int64 microseconds since
1970 in UTC; a created time nobody knows is `UNKNOWN`, older than any other.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

Micros = NDArray[np.int64]
Mask = NDArray[np.bool_]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNKNOWN = int(np.iinfo(np.int64).min)
ALLOWED_SKEW_SECONDS = 300.0  # how far ahead of business time an event time may lie
FUTURE, NOT_FINITE, NULL_KEY, NULL_TIME = "future", "not_finite", "null_key", "null_event_time"


def wins(event: Micros, created: Micros, known_event: Micros, known_created: Micros) -> Mask:
    """Which of n rows may replace what is stored for their entity; `known_event` is UNKNOWN where nothing is."""
    winners: Mask = (event > known_event) | ((event == known_event) & (created >= known_created))
    return winners


def newest(keys: Sequence[bytes], event: Micros, created: Micros) -> NDArray[np.int64] | None:
    """Positions of the one row per key that wins over its duplicates, ascending; None when no key repeats.

    Among rows with equal event and created time the last one given stays.
    """
    last = dict(zip(keys, range(len(keys)), strict=True))
    if len(last) == len(keys):
        return None
    entity = np.fromiter((last[key] for key in keys), dtype=np.int64, count=len(keys))
    order = np.lexsort((np.arange(len(keys)), created, event, entity))
    ends = np.append(entity[order][1:] != entity[order][:-1], True)
    return np.sort(order[ends])


def usable(event: Micros, *, oldest_us: int | None, latest_us: int) -> Mask:
    """Which of n stored rows may be served: not older than the age limit (None: no limit), not from the future."""
    fresh = event <= latest_us
    return fresh if oldest_us is None else fresh & (event >= oldest_us)


def micros(moment: datetime) -> int:
    """Microseconds since 1970 of an instant; without a zone it is UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    # Integer arithmetic: timestamp() is a float and loses microseconds.
    return (aware - EPOCH) // timedelta(microseconds=1)
