import numpy as np
import pytest

from poplift.statistics import Interval, block_bootstrap, relative_change


def _panel(outlets=30, weeks=13):
    outlet, week = np.meshgrid(np.arange(outlets), np.arange(weeks), indexing="ij")
    return outlet.ravel(), week.ravel()


def test_the_estimate_is_the_statistic_of_all_rows_and_lies_inside_its_interval():
    outlet, week = _panel()
    loss = np.random.default_rng(0).gamma(2.0, size=len(outlet))
    better = loss * np.random.default_rng(1).uniform(0.6, 1.2, size=len(outlet))
    result = relative_change(better, loss, outlet=outlet, week=week, seed=1)
    assert result.estimate == pytest.approx(better.mean() / loss.mean() - 1)
    assert result.low <= result.estimate <= result.high


def test_two_equal_models_differ_by_exactly_nothing():
    outlet, week = _panel()
    loss = np.random.default_rng(0).gamma(2.0, size=len(outlet))
    result = relative_change(loss, loss, outlet=outlet, week=week, seed=1)
    assert (result.estimate, result.low, result.high) == (0.0, 0.0, 0.0)
    assert not result.below(0.0)
    assert not result.above(0.0)


def test_the_same_seed_gives_the_same_interval_in_any_order_of_rows():
    outlet, week = _panel()
    random = np.random.default_rng(2)
    one, other = random.gamma(2.0, size=(2, len(outlet)))
    first = relative_change(one, other, outlet=outlet, week=week, seed=5)
    order = random.permutation(len(outlet))
    again = relative_change(one[order], other[order], outlet=outlet[order], week=week[order], seed=5)
    assert first.low == pytest.approx(again.low, rel=1e-9)
    assert first.high == pytest.approx(again.high, rel=1e-9)
    assert first != relative_change(one, other, outlet=outlet, week=week, seed=6)


def test_the_interval_covers_its_level_when_outlets_and_weeks_have_effects_of_their_own():
    outlet, week = _panel(outlets=40, weeks=26)
    covered = 0
    runs = 300
    for run in range(runs):
        random = np.random.default_rng(run)
        value = random.normal(size=40)[outlet] + random.normal(size=26)[week] + random.normal(size=len(outlet))
        interval = block_bootstrap(
            np.column_stack([value, np.ones(len(value))]),
            outlet=outlet,
            week=week,
            statistic=lambda sums: sums[..., 0] / sums[..., 1],
            draws=300,
            seed=run,
        )
        covered += interval.low <= 0.0 <= interval.high
    # Binomial 95 % interval of the rate: nominal up to the well-known small loss of percentile intervals.
    rate = covered / runs
    half = 1.96 * np.sqrt(rate * (1 - rate) / runs)
    assert rate + half >= 0.95
    assert rate <= 0.99


def test_resampling_single_cells_would_be_far_too_sure():
    outlet, week = _panel()
    value = np.random.default_rng(3).normal(size=13)[week]
    blocks = block_bootstrap(
        np.column_stack([value, np.ones(len(value))]),
        outlet=outlet,
        week=week,
        statistic=lambda sums: sums[..., 0] / sums[..., 1],
        seed=1,
    )
    naive = 2 * 1.96 * value.std() / np.sqrt(len(value))
    assert blocks.high - blocks.low > 3 * naive


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_refused(bad):
    outlet, week = _panel()
    loss = np.ones(len(outlet))
    loss[3] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        relative_change(loss, np.ones(len(outlet)), outlet=outlet, week=week, seed=1)


def test_one_week_is_not_enough_to_resample():
    with pytest.raises(ValueError, match="1 weeks"):
        relative_change(np.ones(4), np.ones(4), outlet=np.arange(4), week=np.zeros(4), seed=1)


def test_an_interval_is_below_a_bound_only_as_a_whole():
    assert Interval(-0.2, -0.3, -0.1, 0.95).below(0.0)
    assert not Interval(-0.2, -0.3, 0.01, 0.95).below(0.0)
    assert Interval(0.2, 0.1, 0.3, 0.95).above(0.0)
