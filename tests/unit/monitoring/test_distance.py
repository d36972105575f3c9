"""Distances agree with scipy where scipy has them, and PSI with a sum done by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.spatial.distance import jensenshannon

from monitoring.distance import (
    SMALLEST_SHARE,
    bin_counts,
    category_counts,
    chi_square,
    jensen_shannon,
    kolmogorov_smirnov,
    population_stability_index,
)

samples = arrays(np.float64, st.integers(1, 60), elements=st.integers(-5, 5).map(float))
# scipy's p-value, which is not used, divides by zero for fewer.
larger = arrays(np.float64, st.integers(4, 60), elements=st.integers(-5, 5).map(float))
counts = arrays(np.float64, 4, elements=st.integers(1, 200).map(float))


def test_psi_equals_the_sum_done_by_hand():
    by_hand = (0.4 - 0.5) * math.log(0.4 / 0.5) + (0.6 - 0.5) * math.log(0.6 / 0.5)
    assert population_stability_index(np.array([50.0, 50.0]), np.array([80.0, 120.0])) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(0.0405, abs=1e-4)


def test_an_empty_bin_counts_as_the_smallest_share_and_stays_finite():
    by_hand = (SMALLEST_SHARE - 0.5) * math.log(SMALLEST_SHARE / 0.5) + 0.5 * math.log(2)
    assert population_stability_index(np.array([5.0, 5.0]), np.array([0.0, 10.0])) == pytest.approx(by_hand)


@given(larger, larger)
def test_the_ks_gap_is_that_of_scipy(reference, current):
    expected = stats.ks_2samp(reference, current, method="asymp").statistic
    assert kolmogorov_smirnov(reference, current) == pytest.approx(expected)


@given(counts, counts)
def test_jensen_shannon_and_chi_square_are_those_of_scipy(reference, current):
    assert jensen_shannon(reference, current) == pytest.approx(jensenshannon(reference, current, base=2), abs=1e-7)
    statistic, p_value = chi_square(reference, current)
    expected = stats.chi2_contingency(np.vstack([reference, current]), correction=False)
    assert statistic == pytest.approx(expected.statistic, abs=1e-9)
    assert p_value == pytest.approx(expected.pvalue)


@given(samples, samples)
def test_every_row_falls_into_exactly_one_bin(reference, current):
    old, new = bin_counts(reference, current)
    assert len(old) == len(new)
    assert old.sum() == len(reference)
    assert new.sum() == len(current)


@given(samples)
def test_a_sample_is_at_no_distance_from_itself(sample):
    old, new = bin_counts(sample, sample)
    assert population_stability_index(old, new) == 0
    assert jensen_shannon(old, new) == pytest.approx(0, abs=1e-7)
    assert kolmogorov_smirnov(sample, sample) == 0


def test_many_distinct_values_fall_into_ten_even_quantile_bins():
    reference = np.arange(1000.0)
    old, new = bin_counts(reference, reference + 1000)
    assert old == pytest.approx(np.full(10, 100), abs=1)
    assert new.tolist() == [0.0] * 9 + [1000.0]


def test_the_zeros_of_sparse_sales_share_one_bin():
    reference = np.concatenate([np.zeros(800), np.arange(1.0, 201.0)])
    old, _ = bin_counts(reference, reference)
    assert old[0] == 800


def test_a_constant_that_became_another_constant_is_far_away():
    old, new = bin_counts(np.ones(100), np.zeros(100))
    assert population_stability_index(old, new) > 10


def test_a_category_that_only_one_side_knows_counts_zero_on_the_other():
    old, new = category_counts({"display": 3, "none": 5}, {"none": 2, "mailer": 1})
    assert old.tolist() == [3.0, 0.0, 5.0]
    assert new.tolist() == [0.0, 1.0, 2.0]


def test_a_single_category_cannot_differ():
    assert chi_square(np.array([10.0, 0.0]), np.array([7.0, 0.0])) == (0.0, 1.0)
