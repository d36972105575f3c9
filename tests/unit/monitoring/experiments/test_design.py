"""Before the launch: what can be found, what it takes, and who is refused."""

import numpy as np
import pandas as pd
import pytest

from monitoring.experiments.design import DesignError, design
from monitoring.experiments.readout import Evidence, read_out
from tests.unit.monitoring.experiments.planted_sales import FIRST, planted, record_of, sales


def history(**options):
    return sales(weeks=52, **options)


def test_more_weeks_and_more_outlets_find_smaller_effects():
    rows = design("x", history()).rows
    assert [row.weeks for row in rows] == [2, 4, 6, 8, 12, 16]
    found = [row.detectable for row in rows]
    assert found == sorted(found, reverse=True)
    assert design("x", history(outlets=160)).rows[2].detectable < 0.8 * rows[2].detectable


def test_looking_every_week_costs_power_and_an_uneven_split_too():
    row = design("x", history()).rows[2]
    assert row.detectable_once < row.detectable
    assert design("x", history(), share=0.2).rows[2].detectable > row.detectable


def test_the_error_of_the_design_is_that_of_the_readout():
    outcomes = sales(3, weeks=FIRST + 9)
    row = design("x", outcomes[outcomes["week"] < FIRST], weeks=(6,)).rows[0]
    errors = [
        read_out(record_of(outcomes, name=f"r{n}"), Evidence(outcomes)).effect.estimate.standard_error
        for n in range(10)
    ]
    assert row.standard_error == pytest.approx(np.mean(errors), rel=0.3)


def test_the_detectable_effect_is_found_in_most_cases():
    found = 0
    for seed in range(40):
        outcomes = sales(seed)
        row = design("x", outcomes[outcomes["week"] < FIRST], weeks=(6,)).rows[0]
        record = record_of(outcomes, name=f"power-{seed}")
        found += read_out(record, Evidence(planted(outcomes, record, row.detectable))).effect.interval.above(0.0)
    assert found >= 26


def test_a_wanted_effect_gets_the_shortest_length_or_the_outlets_it_takes():
    rows = design("x", history()).rows
    easy = design("x", history(), wanted=rows[2].detectable * 1.01)
    assert easy.weeks == 6
    assert "6 weeks find an effect" in easy.advice
    hard = design("x", history(), wanted=rows[-1].detectable / 2)
    assert hard.weeks is None
    assert "It takes about 320 outlets, or a larger effect" in hard.advice


def test_three_outlets_are_refused_by_name():
    with pytest.raises(
        DesignError, match=r"experiment tiny: 3 outlets .*\(o000, o001, o002\) are too few .* at least 14"
    ):
        design("tiny", history(outlets=3))


def test_an_outlet_without_a_whole_history_does_not_count():
    rows = history(outlets=14)
    with pytest.raises(DesignError, match="13 outlets with a whole history"):
        design("x", rows[~((rows["outlet_id"] == "o003") & (rows["week"] == 9))])


def test_a_short_history_is_refused_with_what_it_takes():
    with pytest.raises(DesignError, match="5 weeks of history; 2 weeks, 4 afterwards and 4 before are the least"):
        design("x", sales(weeks=5))


def test_the_table_is_about_the_adjusted_outcome():
    row = design("x", history()).rows[2]
    assert row.variance_removed > 0.9
    flat = pd.DataFrame(history()).assign(transactions=np.random.default_rng(0).poisson(20, 80 * 52))
    assert abs(design("x", flat).rows[2].variance_removed) < 0.1
