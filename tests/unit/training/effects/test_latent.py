"""Latent demand: never below what sold, higher where the flag says empty, right on average."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.effects.latent import StockModel, expect, shared_knowledge


def cells(seed, n=4000, mean=8.0):
    random = np.random.default_rng(seed)
    expected = mean * np.exp(random.normal(0, 0.4, n))
    lift = random.choice([0.0, 0.6], n)
    demand = random.poisson(expected * random.gamma(6, 1 / 6, n)).astype(float)
    stock = np.ceil(expected * np.exp(-lift) * np.exp(0.6 + 0.5 * lift + random.normal(0, 0.5, n)))
    sold = np.minimum(demand, stock)
    flagged = np.where(sold < demand, random.uniform(size=n) < 0.9, random.uniform(size=n) < 0.03)
    return sold, flagged, expected, lift, demand


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000))
def test_latent_demand_is_never_below_sales_and_higher_where_the_flag_says_empty(seed):
    sold, flagged, expected, lift, _ = cells(seed, n=400)
    found = expect(sold, flagged=flagged, mean=expected, lift=lift, model=StockModel(), steps=2)
    assert (found.mean >= sold - 1e-9).all()
    assert (found.variance >= 0).all()
    accused = expect(sold, flagged=np.ones_like(flagged), mean=expected, lift=lift, model=StockModel(), steps=1)
    cleared = expect(sold, flagged=np.arange(len(sold)) == 0, mean=expected, lift=lift, model=StockModel(), steps=1)
    assert (accused.mean >= cleared.mean - 1e-9).all()


def test_latent_demand_and_the_errors_of_the_flag_are_found():
    sold, flagged, expected, lift, demand = cells(5, n=8000)
    found = expect(
        sold, flagged=flagged, mean=expected, lift=lift, model=StockModel(reported=0.7, accused=0.1), steps=60
    )
    assert sold.sum() / demand.sum() < 0.92
    assert found.mean.sum() / demand.sum() == pytest.approx(1.0, abs=0.02)
    assert found.model.reported == pytest.approx(0.9, abs=0.05)
    assert found.model.accused == pytest.approx(0.03, abs=0.015)


def test_without_a_single_flag_nothing_is_corrected_silently():
    sold, flagged, expected, lift, _ = cells(1, n=100)
    with pytest.raises(ValueError, match="nothing to correct"):
        expect(sold, flagged=flagged & False, mean=expected, lift=lift, model=StockModel(), steps=1)


def test_lasting_surprises_are_told_from_fleeting_ones():
    random = np.random.default_rng(2)
    mean = np.full((300, 20, 2), 20.0)
    fleeting = random.poisson(mean * random.lognormal(-0.02, 0.2, mean.shape)).astype(float)
    noise = np.zeros(mean.shape)
    for week in range(1, 300):
        noise[week] = 0.8 * noise[week - 1] + random.normal(0, 0.12, (20, 2))
    lasting = random.poisson(mean * np.exp(noise)).astype(float)
    assert shared_knowledge(fleeting, mean, model=StockModel()) < 0.03
    assert shared_knowledge(lasting, mean, model=StockModel()) == pytest.approx(0.04 / 0.25, abs=0.05)
