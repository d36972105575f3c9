"""Readouts move what they were about, by their certainty, and make certain only what they make certain."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from poplift.activation import parse_activation
from poplift.assumptions import Assumptions
from poplift.margin import placement_costs_usd
from training.effects.effect_table import COLUMNS, GIVE_AWAY, MEASURES, Z, gained, tabulate
from training.effects.readouts import combine
from training.effects.sensitivity import sensitivity

EVERY = ("g0", "g1", "g2")


@pytest.fixture(scope="module")
def gains(found):
    return gained(found, assumptions=Assumptions())


@pytest.fixture(scope="module")
def table(gains):
    return tabulate(gains)


@pytest.fixture(scope="module")
def told(gains):
    """What readouts make of the table."""

    def told(*readouts):
        moved, said = combine(gains, pd.concat(readouts))
        return tabulate(moved), said

    return told


def readout(effect, error, ppgs=EVERY, activation="display"):
    """One readout of an activation for these ppgs together."""
    row = {"activation": activation, "ppg_ids": json.dumps(ppgs), "effect": effect, "standard_error": error}
    return pd.DataFrame([row])


def rows_of(table, ppgs=EVERY, activation="display"):
    cells = table.cells
    return ((cells["activation"] == activation) & cells["ppg_id"].isin(ppgs)).to_numpy()


def mean_of(table, ppgs=EVERY, activation="display", measure="transactions"):
    return table.cells.loc[rows_of(table, ppgs, activation), f"incremental_{measure}"].mean()


def own_error(table, activation="display"):
    row = table.averages.set_index("activation").loc[activation]
    return (row["incremental_transactions_high"] - row["incremental_transactions"]) / Z


def widths(table, rows, measure="transactions"):
    low, high = (table.cells.loc[rows, f"incremental_{measure}_{end}"] for end in ("low", "high"))
    return (high - low).to_numpy() / 2


def test_a_readout_as_certain_as_the_estimate_meets_it_half_way_and_outlets_keep_their_proportions(told, table):
    error = own_error(table)
    after, (said,) = told(readout(3 * (mean_of(table) + 1), 3 * error))
    assert said.weight == pytest.approx(0.5)
    moved = after.averages.set_index("activation").loc["display"]
    assert moved["incremental_transactions"] == pytest.approx(mean_of(table) + 0.5)
    assert own_error(after) == pytest.approx(error * 0.5**0.5)
    ratio = after.cells["incremental_transactions"] / table.cells["incremental_transactions"]
    assert np.allclose(ratio[rows_of(table)], said.combined / said.estimated)
    others = ~rows_of(table)
    assert after.cells[others].equals(table.cells[others])


def test_a_readout_of_some_ppgs_is_compared_with_them_and_leaves_the_others_alone(told, table):
    about, rest = ("g1",), ("g0", "g2")
    after, (said,) = told(readout(2 * mean_of(table, about), 1e-6, about))
    assert said.estimated == pytest.approx(mean_of(table, about))
    assert said.ppg_ids == about
    assert mean_of(after, about) == pytest.approx(2 * mean_of(table, about))
    others = rows_of(table, rest)
    assert after.cells[others].equals(table.cells[others])


def test_the_published_average_stays_that_of_the_cells_in_every_measure(told, table):
    for activation in ("display", "price_cut_20"):
        after, _ = told(readout(2.0, 0.1, ("g0", "g2"), activation))
        published = after.averages.set_index("activation").loc[activation]
        for measure in MEASURES:
            assert published[f"incremental_{measure}"] == pytest.approx(mean_of(after, EVERY, activation, measure))


def test_a_certain_experiment_tells_the_average_and_not_what_is_a_cells_own(told, table, gains):
    after, _ = told(readout(3 * mean_of(table), 1e-9))
    assert own_error(after) == pytest.approx(0, abs=1e-6)
    rows = rows_of(table)
    level = (gains.level_error[..., None] * gains.net[0]).ravel()[rows]
    assert (widths(after, rows) >= Z * np.abs(level) - 1e-9).all()
    assert widths(after, rows).mean() < widths(table, rows).mean()


def test_intervals_after_a_readout_hold_the_truth_as_often_as_before(gains, told, table):
    """Truths drawn as the errors say, a readout of each: in the long run 95 % of the cells' intervals hold it."""
    random, rows, held = np.random.default_rng(1), rows_of(table, ("g0", "g1")), []
    plain = replace(gains, level_error=np.zeros_like(gains.level_error))
    for _ in range(200):
        moved = np.tensordot(random.normal(size=len(gains.errors)), gains.errors, axes=1)
        true = (gains.net + moved)[0].ravel()
        average = true[rows].mean()
        after = tabulate(combine(plain, readout(2 * random.normal(average, 0.1), 0.2, ("g0", "g1")))[0]).cells[rows]
        low, high = (after[f"incremental_transactions_{end}"].to_numpy() for end in ("low", "high"))
        held.append(((low <= true[rows]) & (true[rows] <= high)).mean())
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_what_a_cut_gives_away_is_not_multiplied_by_what_it_sells_more(told, table):
    cut = "price_cut_20"
    after, (said,) = told(readout(2 * 3 * mean_of(table, EVERY, cut), 1e-6, activation=cut))
    before, now = (t.cells[rows_of(table, EVERY, cut)] for t in (table, after))
    earned = before["incremental_margin_usd"] + before[GIVE_AWAY]
    assert np.allclose(now["incremental_margin_usd"] + before[GIVE_AWAY], (said.combined / said.estimated) * earned)


def test_a_second_readout_of_the_same_ppgs_counts_as_if_both_were_one(told, table):
    error = own_error(table)
    one, (single,) = told(readout(3.0, 3 * error / 2**0.5))
    two, (pooled,) = told(*[readout(3.0, 3 * error)] * 2)
    assert pooled.weight == pytest.approx(single.weight)
    assert np.allclose(one.cells[list(COLUMNS)], two.cells[list(COLUMNS)])


def test_a_readout_after_one_that_named_its_ppg_too_finds_an_average_that_is_more_certain(told):
    wide, narrow = readout(1.0, 0.1, ("g0", "g1")), readout(0.5, 0.1, ("g0",))
    after = {one.ppg_ids: one.weight for one in told(wide, narrow)[1]}
    alone = {one.ppg_ids: one.weight for given in (wide, narrow) for one in told(given)[1]}
    assert after[("g0", "g1")] == alone[("g0", "g1")]
    assert after[("g0",)] < alone[("g0",)]


@pytest.mark.parametrize(
    "odd",
    [
        readout(5.0, 0.1, activation="tasting"),
        readout(5.0, 0.0),
        readout(5.0, 0.1, ("g0", "delisted")),
        readout(5.0, 0.1, activation="none"),
    ],
)
def test_a_readout_of_something_else_or_without_an_error_changes_nothing(told, table, odd):
    after, said = told(odd)
    assert said == ()
    assert after.cells.equals(table.cells)


def test_the_table_of_other_costs_and_margins_starts_from_the_published_averages(found, told, table):
    found_out = readout(2 * 3 * mean_of(table), 0.05)
    published = told(found_out)[0].averages.set_index("activation")
    money = sensitivity(found, Assumptions(), readouts=found_out).set_index("activation")
    costs = placement_costs_usd([parse_activation(name) for name in money.index], assumptions=Assumptions())
    expected = published.loc[money.index, "incremental_margin_usd"] - costs
    assert np.allclose(money["margin x1, costs x1"], expected)
