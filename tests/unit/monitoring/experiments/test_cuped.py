"""The adjusted difference: unbiased, narrower for what was known before, and honest about few outlets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.experiments.cuped import TooFewOutletsError, adjusted_difference


def drawn(seed, *, outlets=60, effect=0.0, share=0.5):
    random = np.random.default_rng(seed)
    before = random.gamma(4, 5, outlets)
    treated = np.zeros(outlets, dtype=bool)
    treated[random.choice(outlets, round(share * outlets), replace=False)] = True
    return before + random.normal(0, 2, outlets) + effect * treated, treated, before


def test_without_covariates_it_is_the_difference_of_means_with_welchs_error():
    outcome, treated, _ = drawn(0)
    found = adjusted_difference(outcome, treated)
    on, off = outcome[treated], outcome[~treated]
    assert found.effect == pytest.approx(on.mean() - off.mean())
    assert found.standard_error == pytest.approx(np.sqrt(on.var(ddof=1) / len(on) + off.var(ddof=1) / len(off)))


def test_the_effect_is_found_without_bias_and_the_interval_holds_it():
    found = [adjusted_difference(*drawn(seed, effect=3.0, share=0.4)) for seed in range(300)]
    effects = np.array([f.effect for f in found])
    inside = np.mean([f.interval().low <= 3.0 <= f.interval().high for f in found])
    assert abs(effects.mean() - 3.0) < 3 * effects.std() / np.sqrt(300)
    assert 0.92 < inside < 0.98


def test_what_was_known_before_takes_most_of_the_variance_away():
    outcome, treated, covariates = drawn(1)
    plain, adjusted = adjusted_difference(outcome, treated), adjusted_difference(outcome, treated, covariates)
    assert 1 - (adjusted.standard_error / plain.standard_error) ** 2 > 0.85


@given(st.floats(-50, 50), st.floats(0.1, 20))
def test_units_and_level_of_the_outcome_change_nothing_but_the_scale(shift, scale):
    outcome, treated, before = drawn(2, effect=1.0)
    one, other = (
        adjusted_difference(outcome, treated, before),
        adjusted_difference(shift + scale * outcome, treated, before),
    )
    assert other.effect == pytest.approx(scale * one.effect, rel=1e-6, abs=1e-6)
    assert other.standard_error == pytest.approx(scale * one.standard_error, rel=1e-6, abs=1e-6)


def test_a_covariate_that_says_nothing_changes_nothing():
    outcome, treated, before = drawn(3)
    flat = np.column_stack([before, np.ones(len(before))])
    assert adjusted_difference(outcome, treated, flat) == adjusted_difference(outcome, treated, before)


def test_swapping_the_arms_turns_the_sign():
    outcome, treated, _ = drawn(4, effect=2.0)
    one, other = adjusted_difference(outcome, treated), adjusted_difference(outcome, ~treated)
    assert one.effect == pytest.approx(-other.effect)
    assert one.standard_error == pytest.approx(other.standard_error)


def test_an_effect_that_grows_with_the_outlet_is_that_of_the_outlets_that_had_it():
    inside = []
    for seed in range(300):
        usual, treated, before = drawn(seed, share=0.7)
        found = adjusted_difference(usual + np.where(treated, before, 0.0), treated, before).interval()
        inside.append(found.low <= before[treated].mean() <= found.high)
    assert np.mean(inside) > 0.92


def test_three_outlets_are_refused_with_the_number_needed():
    outcome, treated, before = drawn(5, outlets=6)
    with pytest.raises(TooFewOutletsError, match="smaller arm has 3 outlets with outcomes; at least 6"):
        adjusted_difference(outcome, treated, before)


def test_a_value_that_is_none_is_refused():
    outcome, treated, before = drawn(6)
    outcome[0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        adjusted_difference(outcome, treated, before)
