"""Arms that lost outlets, or swapped them, are noticed before any effect is shown."""

import numpy as np
import pytest

from monitoring.experiments.sample_ratio import sample_ratio

ARMS = {f"o{n:03d}": ("treatment" if n % 2 else "control") for n in range(100)}


def test_all_outlets_in_their_arms_is_no_alarm():
    found = sample_ratio(ARMS, frozenset(ARMS), share=0.5)
    assert not found.is_broken
    assert found.p_value == found.p_missing == 1
    assert found.said == "50 of 50 treatment outlets and 50 of 50 control outlets have outcomes (p = 1.000)"


def test_an_arm_that_lost_a_quarter_of_its_outlets_is_noticed_although_the_counts_are_close():
    gone = {o for o in ARMS if ARMS[o] == "treatment"} - set(sorted(ARMS)[27:])
    found = sample_ratio(ARMS, frozenset(ARMS) - gone, share=0.5)
    assert found.p_value > 0.01
    assert found.is_broken
    assert "37 of 50 treatment outlets" in found.said
    assert "p < 0.001" in found.said


def test_outlets_in_another_share_than_designed_are_noticed():
    mostly = {f"o{n}": ("treatment" if n % 4 else "control") for n in range(100)}
    assert sample_ratio(mostly, frozenset(mostly), share=0.5).is_broken
    assert not sample_ratio(mostly, frozenset(mostly), share=0.75).is_broken


def test_an_outlet_that_was_served_the_other_arm_is_named():
    served = {"o001": "control", "o002": "control", "elsewhere": "treatment"}
    found = sample_ratio(ARMS, frozenset(ARMS), share=0.5, served=served)
    assert found.moved == ("o001",)
    assert found.is_broken
    assert "1 outlets were served another arm, o001" in found.said


def test_outlets_lost_at_random_hardly_ever_raise_the_alarm():
    random = np.random.default_rng(3)
    alarms = 0
    for _ in range(300):
        seen = frozenset(o for o in ARMS if random.uniform() > 0.1)
        alarms += sample_ratio(ARMS, seen, share=0.5).is_broken
    assert alarms <= 3


@pytest.mark.parametrize("seen", [frozenset(), frozenset({"stranger"})])
def test_nobody_seen_is_not_an_error(seen):
    assert sample_ratio(ARMS, seen, share=0.5).seen == {"control": 0, "treatment": 0}
