"""Pairs are read once for all the rows planned for them, by any thread, in bounded memory."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest

from poplift.settings import Settings
from serving.known_pairs import KnownPairs
from serving.online import read_rows

A, B, C, NOWHERE = (
    ("367", "m1-soft-drinks-0"),
    ("367", "m1-soft-drinks-1"),
    ("406", "m1-soft-drinks-0"),
    ("nowhere", "x"),
)


@pytest.fixture
def read(store: Any, settings: Settings) -> Any:
    return partial(read_rows, store, business_time=settings.business_time, defaults={})


def entities(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"outlet_id": outlet, "ppg_id": ppg} for outlet, ppg in pairs]


def test_pairs_are_told_in_the_order_asked_as_the_store_tells_them(read: Any) -> None:
    known = KnownPairs()
    known.get([A, B], read)
    found = known.get([C, NOWHERE, B, A], read)
    online = read(entities(C, NOWHERE, B, A))
    np.testing.assert_array_equal([pair.cells for pair in found], online.cells)
    assert tuple(pair.unknown for pair in found) == online.unknown
    assert tuple(pair.flags for pair in found) == online.flags
    assert [pair.degraded for pair in found] == online.degraded.tolist()
    assert online.unknown[1] is not None


def test_the_store_is_asked_only_for_pairs_that_are_new(read: Any, store: Any) -> None:
    asked: list[Any] = []

    def noting(wanted: Any) -> Any:
        asked.append(wanted)
        return read(wanted)

    known = KnownPairs()
    for pairs in ([A, B], [B, A], [NOWHERE, A, C], [NOWHERE]):
        known.get(pairs, noting)
    assert asked == [entities(A, B), entities(NOWHERE, C)]


def test_threads_that_want_the_same_pairs_read_them_once(read: Any, store: Any) -> None:
    known = KnownPairs()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: known.get([A, B, C], read), range(8)))
    assert store.reads == 1


def test_more_pairs_than_it_may_keep_are_forgotten_and_read_again(read: Any, store: Any) -> None:
    known = KnownPairs(most=2)
    known.get([A, B], read)
    assert len(known.get([B, C], read)) == 2
    assert store.reads == 2
    known.get([B, C], read)
    assert store.reads == 2
    known.get([A], read)
    assert store.reads == 3


def test_a_failed_read_is_not_remembered(read: Any, store: Any) -> None:
    known = KnownPairs()
    store.failure = OSError("store gone")
    with pytest.raises(OSError, match="store gone"):
        known.get([A], read)
    store.failure = None
    assert known.get([A], read)[0].unknown is None
