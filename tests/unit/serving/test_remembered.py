"""The same input gives the same arrays without computing them again, within the bytes that are allowed."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.remembered import ENTRY_BYTES, Remembered


class Doubling:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        self.asked += 1
        return {"twice": rows * 2}


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(0, 5))
def test_whatever_is_forgotten_the_answer_is_that_of_the_computation(asked: list[int], kept: int) -> None:
    remembered, compute = Remembered(most_bytes=kept * (ENTRY_BYTES + 8)), Doubling()
    for number in asked:
        rows = np.full((1, 1), float(number))
        assert remembered.get(rows, compute)["twice"] == 2 * number
    assert len(remembered._kept) <= kept
    assert compute.asked >= len(set(asked))


def test_what_was_computed_is_not_computed_again_and_what_was_used_last_stays() -> None:
    remembered, compute = Remembered(most_bytes=2 * (ENTRY_BYTES + 8)), Doubling()
    one, two, three = (np.full((1, 1), float(n)) for n in (1, 2, 3))
    for rows in (one, two, one, three, one):  # three pushes two out, not one
        remembered.get(rows, compute)
    assert compute.asked == 3
    remembered.get(two, compute)
    assert compute.asked == 4


def test_the_same_numbers_in_another_shape_are_another_input() -> None:
    remembered, compute = Remembered(), Doubling()
    flat, tall = np.arange(4.0).reshape(1, 4), np.arange(4.0).reshape(4, 1)
    assert remembered.get(flat, compute)["twice"].shape == (1, 4)
    assert remembered.get(tall, compute)["twice"].shape == (4, 1)


def test_what_is_remembered_cannot_be_changed_by_whoever_got_it() -> None:
    found = Remembered().get(np.ones((2, 2)), Doubling())["twice"]
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0] = 7.0


def test_threads_that_ask_at_once_get_the_same_numbers() -> None:
    remembered = Remembered(most_bytes=2 * (ENTRY_BYTES + 32))
    asked = [np.full((2, 2), float(n % 7)) for n in range(400)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda rows: remembered.get(rows, Doubling())["twice"], asked))
    for rows, answer in zip(asked, answers, strict=True):
        np.testing.assert_array_equal(answer, rows * 2)
    held = sum(ENTRY_BYTES + values["twice"].nbytes for values in remembered._kept.values())
    assert remembered._kept.currsize == held <= 2 * (ENTRY_BYTES + 32)
