"""The cube of a panel: complete, in any order of rows, and refused by name where it cannot be trusted."""

import numpy as np
import pytest

from training.effects.observations import ObservationError, observe, treatment_of


def test_rows_in_any_order_make_the_same_cube(known):
    shuffled = known.panel.sample(frac=1.0, random_state=3)
    cube = observe(shuffled, outlets=known.outlets, calendar=known.calendar)
    assert np.array_equal(cube.transactions, known.observations().transactions)
    assert cube.transactions[4, 3, 2] == known.panel.iloc[4 * 24 * 3 + 3 * 3 + 2]["transactions"]


def test_a_cell_that_is_missing_is_not_a_cell_that_sold_nothing(known):
    cube = observe(known.panel.iloc[1:], outlets=known.outlets, calendar=known.calendar)
    assert not cube.observed[0, 0, 0]
    assert cube.observed.sum() == len(known.panel) - 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p.drop(columns="units"), "no column units"),
        (lambda p: p.assign(transactions=np.nan), "transactions is missing or infinite"),
        (lambda p: p.iloc[[0, *range(len(p))]], "more than once"),
        (lambda p: p[p["week"] < 10], "at least 8 outlets and 20 weeks"),
        (lambda p: p.assign(outlet_id="new" + p["outlet_id"]), "not in its own table"),
    ],
)
def test_a_panel_that_cannot_be_trusted_is_refused_by_name(known, change, said):
    with pytest.raises(ObservationError, match=said):
        observe(change(known.panel), outlets=known.outlets, calendar=known.calendar)


def test_the_price_component_is_the_log_of_what_is_left_of_the_price():
    one = treatment_of(np.array([1.0]), np.array([1.0]), np.array([0.2]))
    assert np.allclose(one, [[1.0, 1.0, 1.0, -np.log(0.8)]])
