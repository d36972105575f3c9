"""Assignment: sticky for ever, balanced within strata, and with probabilities that add up to one."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poplift.assignment import EXPLORED, assign_arms, certain, explore, is_held_out, is_in_canary, position

OUTLETS = [str(n) for n in range(4000)]
# Written down once: another version that gives others moves outlets out of the holdout and between arms.
FROZEN = {"367": 0.36033914797875477, "406": 0.22784885690254464, "o1": 0.5762059134622692}


def test_the_hash_is_the_same_in_every_version_and_process():
    code = (
        "from poplift.assignment import position; print([position(o, purpose='holdout') for o in ('367', '406', 'o1')])"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(list(FROZEN.values()))
    assert [position(o, purpose="holdout") for o in FROZEN] == list(FROZEN.values())
    arms = assign_arms(dict.fromkeys("abcd", "s"), experiment="frozen", share=0.5)
    assert sorted(o for o, arm in arms.items() if arm == "treatment") == ["a", "b"]


def test_positions_are_uniform_and_two_purposes_are_independent():
    holdout = np.array([position(o, purpose="holdout") for o in OUTLETS])
    arm = np.array([position(o, purpose="arm") for o in OUTLETS])
    deciles = Counter((holdout * 10).astype(int))
    assert set(deciles) == set(range(10))
    assert all(330 < count < 470 for count in deciles.values())
    assert abs(np.corrcoef(holdout, arm)[0, 1]) < 0.05


def test_names_are_not_confused_with_their_concatenation():
    assert position("ab", "c", purpose="p") != position("a", "bc", purpose="p")


def test_a_larger_holdout_keeps_every_outlet_of_the_smaller_one():
    small = {o for o in OUTLETS if is_held_out(o, share=0.05)}
    large = {o for o in OUTLETS if is_held_out(o, share=0.10)}
    assert small < large
    assert 150 < len(small) < 250


@given(
    st.lists(st.sampled_from(["a|1", "a|2", "b|1"]), min_size=1, max_size=60),
    st.sampled_from([0.1, 0.25, 0.5, 0.8]),
    st.text("abc", min_size=1, max_size=5),
)
def test_the_arms_differ_from_their_share_by_less_than_one_outlet_in_every_stratum(strata, share, experiment):
    of = {str(place): stratum for place, stratum in enumerate(strata)}
    arms = assign_arms(of, experiment=experiment, share=share)
    assert set(arms) == set(of)
    for stratum in set(strata):
        members = [arms[o] for o in of if of[o] == stratum]
        assert abs(members.count("treatment") - share * len(members)) < 1
    assert assign_arms(dict(reversed(of.items())), experiment=experiment, share=share) == arms


def test_every_outlet_is_treated_with_the_promised_probability():
    of = {str(n): "s" for n in range(7)}
    treated = Counter(
        outlet
        for n in range(2000)
        for outlet, arm in assign_arms(of, experiment=f"e{n}", share=0.3).items()
        if arm == "treatment"
    )
    assert all(abs(treated[outlet] / 2000 - 0.3) < 0.05 for outlet in of)


def test_a_share_that_leaves_an_arm_empty_is_refused():
    with pytest.raises(ValueError, match="experiment x: the treated share is 1"):
        assign_arms({"a": "s"}, experiment="x", share=1)


@given(st.integers(1, 12), st.data(), st.floats(0, 1))
def test_propensities_add_up_to_one_and_are_those_of_the_draw(candidates, data, share):
    preferred = data.draw(st.integers(0, candidates - 1))
    draw = explore(preferred, candidates=candidates, names=("o", "p", "w"), share=share)
    assert sum(draw.propensities) == pytest.approx(1)
    assert draw.propensity == draw.propensities[draw.chosen] > 0 or share == 0
    assert draw == explore(preferred, candidates=candidates, names=("o", "p", "w"), share=share)


def test_what_is_drawn_occurs_as_often_as_its_propensity_says():
    drawn = [explore(2, candidates=4, names=(o, "cola", "2018-01-01"), share=0.1) for o in OUTLETS]
    counts = Counter(d.chosen for d in drawn)
    for candidate, promised in enumerate(drawn[0].propensities):
        assert counts[candidate] / len(drawn) == pytest.approx(promised, abs=0.015)
    assert 300 < sum(d.arm == EXPLORED for d in drawn) < 500


def test_what_is_certain_has_probability_one():
    assert certain(1, candidates=3, arm="holdout").propensities == (0, 1, 0)


def test_a_choice_outside_the_candidates_is_refused():
    with pytest.raises(ValueError, match="candidate 3 of 3"):
        explore(3, candidates=3, names=("o",))


@given(st.floats(0, 1), st.floats(0, 1), st.text(min_size=1))
def test_a_larger_canary_keeps_every_outlet_of_a_smaller_one_and_another_release_has_others(one, two, outlet):
    small, large = sorted((one, two))
    assert is_in_canary(outlet, release_id="r", share=large) or not is_in_canary(outlet, release_id="r", share=small)
    assert not is_in_canary(outlet, release_id="r", share=0.0)
    assert is_in_canary(outlet, release_id="r", share=1.0)


def test_a_canary_has_its_share_of_outlets_and_does_not_pick_the_same_ones_for_every_release():
    chosen = {r: {o for o in OUTLETS if is_in_canary(o, release_id=r, share=0.1)} for r in ("a", "b")}
    assert all(330 < len(outlets) < 470 for outlets in chosen.values())
    assert len(chosen["a"] & chosen["b"]) < 80
