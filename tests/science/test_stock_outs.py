"""S3 in two markets: the correction takes away most of what empty shelves hide."""

from dataclasses import replace

import pytest

from flows.studies.stock_outs import MARKET, play

pytestmark = pytest.mark.science


@pytest.fixture(scope="module")
def played():
    return [play(seed, replace(MARKET, outlets=40, weeks=78)) for seed in (31, 32)]


def test_without_correction_empty_shelves_hide_a_fifth_of_the_effect_and_with_it_they_do_not(played):
    truth = sum(one.truth.sum() for one in played)
    assert sum(one.uncorrected.sum() for one in played) / truth - 1 < -0.2
    assert abs(sum(one.corrected.sum() for one in played) / truth - 1) < 0.2


def test_corrected_demand_is_within_six_percent_of_what_was_wanted(played):
    for one in played:
        assert one.sold < 0.9
        assert abs(one.latent - 1) < 0.06
