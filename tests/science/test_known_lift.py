"""S2 in two markets: near the truth where the naive answer is far off, and better than one figure for all outlets."""

from dataclasses import replace

import numpy as np
import pytest

from flows.studies.known_lift import MARKET, figures, play

pytestmark = pytest.mark.science


@pytest.fixture(scope="module")
def played():
    return [play(seed, replace(MARKET, outlets=60, weeks=78)) for seed in (21, 22)]


def test_effects_of_two_confounded_markets_are_within_a_quarter_of_the_truth_and_naive_ones_are_not(played):
    truth = sum(one.truth.sum() for one in played)
    assert abs(sum(one.estimate.sum() for one in played) / truth - 1) < 0.25
    assert sum(one.naive.sum() for one in played) / truth > 1.8


def test_most_intervals_of_two_markets_hold_the_truth(played):
    assert np.mean([one.covered.mean() for one in played]) >= 0.7


def test_effects_by_outlet_and_ppg_err_by_less_than_half_their_spread(played):
    assert all(one.pehe.mean() < 0.5 for one in played)


def test_the_study_judges_bias_coverage_and_the_error_over_outlets(played):
    judged = [f.name for f in figures(played) if f.is_met is not None]
    assert sum("bias" in name for name in judged) == 8
    assert sum("coverage" in name for name in judged) == 8
    assert sum("sqrt-PEHE" in name for name in judged) == 1
