"""Intervals of randomised comparisons: they hold their level at every look and count clusters, not rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poplift.confidence import Estimate, cluster_bootstrap, sequence_multiplier


def test_an_interval_of_few_clusters_is_wider_than_the_normal_one():
    few, many = Estimate(1.0, 1.0, 8).interval(), Estimate(1.0, 1.0, 10_000).interval()
    assert many.high == pytest.approx(2.96, abs=0.01)
    assert few.high == pytest.approx(1 + 2.306, abs=0.01)
    assert Estimate(1.0, 1.0, 1e9).interval(multiplier=3.0).low == pytest.approx(-2.0, abs=1e-3)


@given(st.floats(1, 60), st.floats(1, 60))
def test_a_bound_that_holds_at_every_look_is_wider_than_one_that_holds_once(look, planned):
    assert sequence_multiplier(look, planned=planned) > 1.96
    assert sequence_multiplier(look, planned=planned, level=0.99) > sequence_multiplier(look, planned=planned)


def test_the_bound_is_tightest_near_the_planned_end():
    weeks = np.arange(1, 41)
    widths = [sequence_multiplier(w, planned=12) / np.sqrt(w) for w in weeks]
    tuned = [sequence_multiplier(12, planned=p) for p in weeks]
    assert widths == sorted(widths, reverse=True)
    assert min(tuned) == tuned[11]


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_looking_every_week_excludes_the_truth_in_at_most_one_of_twenty_cases(memory):
    """Brownian looks, and the looks of outlets that stay above or below theirs for weeks."""
    random = np.random.default_rng(4)
    weekly = memory * random.normal(size=(20_000, 1)) + random.normal(size=(20_000, 12))
    error = np.cumsum(weekly, axis=1)
    weeks = np.arange(1, 13)
    spread = np.sqrt(weeks + memory**2 * weeks**2)
    bound = np.array([sequence_multiplier(w, planned=12) for w in weeks])
    ever = (np.abs(error) > bound * spread).any(axis=1).mean()
    once_each = (np.abs(error) > 1.96 * spread).any(axis=1).mean()
    assert ever < 0.05 < once_each


def test_a_look_before_the_first_week_is_refused():
    with pytest.raises(ValueError, match="look 0 of 4"):
        sequence_multiplier(0, planned=4)


def test_rows_of_one_cluster_are_one_piece_of_evidence():
    random = np.random.default_rng(0)
    of_cluster = random.normal(size=60)
    cluster = np.repeat(np.arange(60), 50)
    rows = np.column_stack([of_cluster[cluster] + 0.1 * random.normal(size=3000), np.ones(3000)])
    found = cluster_bootstrap(rows, cluster=cluster, statistic=lambda s: s[..., 0] / s[..., 1], seed=1)
    naive = rows[:, 0].std() / np.sqrt(3000)
    assert found.estimate == pytest.approx(rows[:, 0].mean())
    assert (found.high - found.low) / 4 > 5 * naive


def test_the_bootstrap_covers_the_mean_of_clusters():
    random = np.random.default_rng(2)
    inside = 0
    for run in range(150):
        cluster = np.repeat(np.arange(40), 5)
        rows = np.column_stack([(1 + random.normal(size=40))[cluster] + random.normal(size=200), np.ones(200)])
        found = cluster_bootstrap(rows, cluster=cluster, statistic=lambda s: s[..., 0] / s[..., 1], draws=300, seed=run)
        inside += found.low <= 1 <= found.high
    assert 0.87 < inside / 150 <= 1


@pytest.mark.parametrize(
    ("rows", "cluster", "said"), [([1.0, 2.0], ["a", "a"], "1 clusters"), ([1.0, np.nan], ["a", "b"], "NaN")]
)
def test_what_cannot_be_resampled_is_refused(rows, cluster, said):
    with pytest.raises(ValueError, match=said):
        cluster_bootstrap(np.array(rows), cluster=np.array(cluster), statistic=lambda s: s[..., 0], seed=0)
