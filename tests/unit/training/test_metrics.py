import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poplift.statistics import FLOOR, bias, poisson_deviance, wape
from training.metrics import coverage, naive_scale, pinball, rmsse, scores


@given(st.lists(st.integers(0, 40), min_size=1), st.floats(0.0, 50.0))
def test_deviance_is_never_negative_and_zero_only_for_the_truth(counts, mean):
    y = np.array(counts, dtype=float)
    assert (poisson_deviance(y, np.full(len(y), mean)) >= -1e-9).all()
    assert poisson_deviance(y, np.maximum(y, FLOOR)).max() < 3 * FLOOR


def test_no_constant_scores_better_than_the_mean():
    y = np.random.default_rng(1).poisson(0.3, 500).astype(float)
    at = {c: poisson_deviance(y, np.full(500, c)).mean() for c in (0.0, 0.1, y.mean(), 0.5, 2.0)}
    assert min(at, key=lambda c: at[c]) == y.mean()


def test_a_forecast_of_zero_is_scored_at_the_floor_and_not_infinitely_bad():
    assert poisson_deviance(np.array([1.0]), np.array([0.0])).item() == pytest.approx(
        2 * (np.log(1 / FLOOR) - 1 + FLOOR)
    )


def test_wape_is_taken_after_summing_so_that_errors_may_cancel_within_a_group():
    cells = pd.DataFrame({"ppg_id": ["a", "a"], "week": [1, 1], "outlet_id": ["x", "y"], "transactions": [2.0, 0.0]})
    assert wape(cells, np.array([1.0, 1.0]), by=("ppg_id", "week")) == 0.0
    assert wape(cells, np.array([1.0, 1.0]), by=("outlet_id", "week")) == 1.0


def test_a_bias_has_the_sign_of_the_error():
    assert bias(np.array([1.0, 1.0]), np.array([1.0, 1.5])) == pytest.approx(0.25)
    assert bias(np.array([1.0, 1.0]), np.array([0.0, 1.0])) == pytest.approx(-0.5)


def test_the_randomised_interval_of_the_true_distribution_covers_what_it_says():
    random = np.random.default_rng(0)
    mean = random.gamma(0.5, 0.6, 8_000)
    draws = random.poisson(mean, (1000, 8_000)) + random.uniform(size=(1000, 8_000))
    low, high = np.quantile(draws, [0.1, 0.9], axis=0)
    covered = coverage(random.poisson(mean).astype(float), low, high, seed=3)
    assert covered.mean() == pytest.approx(0.8, abs=3 * np.sqrt(0.8 * 0.2 / 8_000))


def test_pinball_is_smallest_at_the_quantile():
    y = np.random.default_rng(0).normal(size=4000)
    assert pinball(y, np.full(4000, np.quantile(y, 0.9)), level=0.9) < min(
        pinball(y, np.full(4000, q), level=0.9) for q in (0.5, 1.0, 1.7)
    )


def test_rmsse_of_last_week_again_is_one_in_its_own_history():
    history = pd.DataFrame({"outlet_id": "o", "ppg_id": "g", "week": range(50), "transactions": np.arange(50) % 3.0})
    scale = naive_scale(history, history)
    lagged = history["transactions"].shift(1).to_numpy()[1:]
    assert rmsse(history["transactions"].to_numpy()[1:], lagged, scale=scale[1:]) == pytest.approx(1.0)


def test_a_cell_that_never_moved_has_no_scale_and_is_left_out():
    assert np.isnan(rmsse(np.array([1.0]), np.array([0.0]), scale=np.array([0.0])))
    assert rmsse(np.array([1.0, 5.0]), np.array([0.0, 0.0]), scale=np.array([1.0, 0.0])) == 1.0


def test_there_is_no_mape(frame):
    cells = frame().query("week > 40")
    named = scores(cells, cells["base_rate"].to_numpy(), scale=np.ones(len(cells)))
    assert set(named) == {"poisson_deviance", "rmsse", "wape_ppg_week", "wape_outlet_week", "wape_total_week", "bias"}
