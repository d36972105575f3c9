"""Predicted rewards: of every candidate, and never from the week that is asked about."""

import numpy as np
import pytest

from poplift.activation import CANDIDATES
from training.off_policy.reward_model import predict_rewards


def sold(seed=0, rows=6000):
    random = np.random.default_rng(seed)
    level, chosen = random.uniform(1, 5, rows), random.integers(8, size=rows)
    lift = np.array([1 + a.display + 2 * a.price_cut for a in CANDIDATES])
    week = np.arange(rows) % 12
    return level[:, None], chosen, random.poisson(level * lift[chosen]).astype(float), week, lift


def test_the_effect_of_a_candidate_is_learned_and_laid_over_every_row():
    context, chosen, reward, week, lift = sold()
    predicted = predict_rewards(context, chosen, reward, week, seed=1)
    assert predicted.shape == (6000, 8)
    relative = predicted.mean(axis=0) / predicted[:, 0].mean()
    assert np.abs(relative / lift - 1).max() < 0.1


def test_a_week_is_predicted_without_its_own_rewards():
    context, chosen, reward, week, _ = sold()
    before = predict_rewards(context, chosen, reward, week, seed=1)
    after = predict_rewards(context, chosen, np.where(week == 5, 50.0, reward), week, seed=1)
    assert np.array_equal(before[week == 5], after[week == 5])
    assert not np.array_equal(before[week == 6], after[week == 6])


def test_where_no_other_week_sold_anything_nothing_is_predicted():
    context, chosen, reward, week, _ = sold(rows=600)
    predicted = predict_rewards(context, chosen, np.where(week == 5, reward, 0.0), week, seed=1)
    assert (predicted[week == 5] == 0).all()
    assert (predicted[week == 6] > 0).all()


def test_too_few_weeks_and_negative_rewards_are_refused():
    context, chosen, reward, week, _ = sold(rows=600)
    with pytest.raises(ValueError, match="3 weeks"):
        predict_rewards(context, chosen, reward, week % 3, seed=0)
    with pytest.raises(ValueError, match="negative"):
        predict_rewards(context, chosen, reward - 5, week, seed=0)
