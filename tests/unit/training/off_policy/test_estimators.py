"""Off-policy value: right where the log speaks, refused where it does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poplift.assignment import propensities
from training.off_policy.estimators import Log, OffPolicyError, effective_share, evaluate
from training.off_policy.policies import all_on, always, none, random_at_budget, volume_ranked

K = 3
TRUE = np.array([2.0, 3.0, 5.0])


def world(seed=0, *, outlets=80, weeks=30, share=0.3, plan=1):
    """A log that prefers `plan` and explores; the reward of a candidate is Poisson around TRUE times the outlet's size."""
    random = np.random.default_rng(seed)
    outlet, week = (a.ravel() for a in np.meshgrid(np.arange(outlets), np.arange(weeks), indexing="ij"))
    size = random.uniform(0.5, 1.5, outlets)[outlet]
    logged = np.tile(propensities(plan, candidates=K, share=share), (len(outlet), 1))
    chosen = (random.uniform(size=len(outlet))[:, None] > np.cumsum(logged, axis=1)).sum(axis=1).clip(max=K - 1)
    means = size[:, None] * TRUE
    reward = random.poisson(np.take_along_axis(means, chosen[:, None], axis=1)[:, 0]).astype(float)
    return Log(reward, chosen, logged, outlet, week), means


@pytest.mark.parametrize("predictions", ["right", "wrong", "absent"])
def test_the_value_is_right_although_the_predictions_are_wrong(predictions):
    errors, inside = [], 0
    for seed in range(40):
        log, means = world(seed)
        predicted = {"right": means, "wrong": means[:, ::-1], "absent": np.zeros_like(means)}[predictions]
        target = random_at_budget(len(means), candidates=K, budget=0.5)
        true = (target * means).sum(axis=1).mean()
        found = evaluate(log, target, predicted, draws=300, seed=seed)
        errors.append(found.doubly_robust.estimate / true - 1)
        inside += found.doubly_robust.low <= true <= found.doubly_robust.high
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(40) + 1e-3
    assert np.abs(errors).mean() < 0.06
    assert inside >= 35


def test_good_predictions_make_the_interval_narrower():
    log, means = world()
    target = all_on(len(means), candidates=K, on=2)
    good, bad = (evaluate(log, target, q, draws=300, seed=1).doubly_robust for q in (means, 0 * means))
    assert good.high - good.low < 0.9 * (bad.high - bad.low)


def test_with_right_propensities_every_estimator_agrees_on_the_logged_policy():
    log, means = world()
    found = evaluate(log, log.propensities, means, seed=0)
    mean = log.reward.mean()
    for interval in (found.doubly_robust, found.switch, found.self_normalised):
        assert interval.estimate == pytest.approx(mean, rel=0.02)
    assert found.effective_share == pytest.approx(1.0)


def test_rare_actions_are_left_to_the_predictions_by_switch_dr():
    log, means = world(share=0.2)
    target = 0.7 * all_on(len(means), candidates=K, on=2) + 0.3 * log.propensities
    found = evaluate(log, target, means, seed=0)
    widths = [i.high - i.low for i in (found.switch, found.doubly_robust)]
    assert widths[0] < 0.5 * widths[1]
    assert found.switch.estimate == pytest.approx((target * means).sum(axis=1).mean(), rel=0.02)


def test_a_policy_that_was_hardly_ever_run_is_refused_with_the_share():
    log, means = world(share=0.1)
    with pytest.raises(OffPolicyError, match=r"effective sample is 3\.3% of 2,400 decisions, at least 10% is needed"):
        evaluate(log, all_on(len(means), candidates=K, on=2), means, seed=0)


def test_a_policy_that_could_not_be_run_is_refused_by_its_rows():
    log, means = world(share=0.0)
    with pytest.raises(OffPolicyError, match="2,400 rows the policy may run what could not be run"):
        evaluate(log, none(len(means), candidates=K), means, seed=0)


@given(st.floats(0, 1), st.floats(0.01, 1))
def test_the_effective_share_lies_between_0_and_1(budget, share):
    log, means = world(outlets=4, weeks=3, share=share)
    assert 0 < effective_share(log, random_at_budget(len(means), candidates=K, budget=budget)) <= 1 + 1e-9


def test_the_same_seed_gives_the_same_interval():
    log, means = world()
    target = random_at_budget(len(means), candidates=K, budget=0.5)
    assert evaluate(log, target, means, seed=3) == evaluate(log, target, means, seed=3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"propensities": np.full((4, K), 0.3)}, "do not add up to one"),
        ({"propensities": np.tile([1.0, 0.0, 0.0], (4, 1)), "chosen": np.array([0, 1, 0, 0])}, "propensity 0"),
        ({"reward": np.array([1.0, np.nan, 1.0, 1.0])}, "not finite"),
        ({"week": np.arange(3)}, "all are of one length"),
    ],
)
def test_a_log_that_contradicts_itself_is_refused(change, said):
    good = {
        "reward": np.ones(4),
        "chosen": np.zeros(4, dtype=int),
        "propensities": np.tile([0.8, 0.1, 0.1], (4, 1)),
        "outlet": np.arange(4),
        "week": np.arange(4),
    }
    with pytest.raises(OffPolicyError, match=said):
        Log(**(good | change))


@pytest.mark.parametrize(("row", "said"), [([0.5, 0.2, 0.2], "add up to one"), ([1.5, -0.5, 0.0], "none below zero")])
def test_what_is_no_policy_is_refused(row, said):
    log, means = world(outlets=2, weeks=2)
    with pytest.raises(OffPolicyError, match=said):
        evaluate(log, np.tile(row, (4, 1)), means, seed=0)


def test_the_policies_to_beat_are_probabilities_at_their_budget():
    volume, week = np.arange(40.0), np.repeat([1, 2], 20)
    ranked = volume_ranked(volume, week, candidates=K, budget=0.25, on=2)
    for policy in (ranked, none(40, candidates=K), random_at_budget(40, candidates=K, budget=0.25)):
        assert policy.shape == (40, K)
        assert np.allclose(policy.sum(axis=1), 1)
    assert ranked[:, 2].reshape(2, 20).sum(axis=1).tolist() == [5, 5]
    assert ranked[[19, 39], 2].tolist() == [1, 1]
    assert random_at_budget(40, candidates=K, budget=0.25)[:, 1:].sum() == pytest.approx(10)
    assert always(np.array([1, 0]), candidates=2).tolist() == [[0, 1], [1, 0]]
