"""The response: its gradient is its derivative, and what runs elsewhere or earlier takes from it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from poplift.activation import CANDIDATES
from training.effects.response import Response, earlier


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_gradient_is_the_derivative_of_the_log_effect(known, seed):
    response = Response.of(known.observations())
    random = np.random.default_rng(seed)
    parameters = response.start + random.normal(0, 0.1, len(response.names))
    columns = response.columns(response.observations.treatment)
    lift, effect = response.effect(parameters)
    at = int(random.integers(len(parameters)))
    moved = parameters.copy()
    moved[at] += 1e-6
    numeric = (response.effect(moved)[1] - effect) / 1e-6
    assert np.allclose(response.gradient(parameters, columns, lift)[..., at], numeric, atol=1e-4)


def test_an_activation_takes_from_its_ppg_later_and_from_the_others_now(known):
    observations = known.observations()
    response = Response.of(observations)
    parameters = np.zeros(len(response.names))
    for name, value in {"display": 1.0, "dip_1w": 0.1, "dip_2w": 0.05, "switching": 0.2}.items():
        parameters[response.means[name]] = value
    observations.treatment[...] = 0.0
    observations.treatment[10, 0, 0, 0] = 1.0
    _, effect = response.effect(parameters)
    assert np.allclose(effect[10, 0], [1.0, -0.1, -0.1])
    assert np.allclose(effect[11:13, 0, 0], [-0.1, -0.05])
    effect[10:13, 0] = 0.0
    assert not effect.any()


def test_none_lifts_nothing_and_a_deeper_cut_lifts_more(known):
    response = Response.of(known.observations())
    lifts = response.candidate_lift(response.start, CANDIDATES)
    assert not lifts[..., 0].any()
    assert (np.diff(lifts[..., 4:7], axis=-1) > 0).all()


@given(weeks=st.integers(1, 3))
def test_what_was_before_the_first_week_is_nothing(weeks):
    cube = np.arange(1.0, 13.0).reshape(6, 2, 1)
    moved = earlier(cube, weeks)
    assert not moved[:weeks].any()
    assert np.array_equal(moved[weeks:], cube[:-weeks])
