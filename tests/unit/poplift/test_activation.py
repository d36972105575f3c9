"""The short name of an activation is the activation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poplift.activation import CANDIDATES, NONE, Activation, parse_activation

activations = st.builds(
    Activation, display=st.booleans(), mailer=st.booleans(), price_cut=st.integers(0, 60).map(lambda cut: cut / 100)
)


@given(activations)
def test_a_short_name_gives_the_activation_back(activation: Activation) -> None:
    assert parse_activation(activation.name) == activation


@pytest.mark.parametrize(
    "name", ["", "Display", "mailer+display", "price_cut_99", "price_cut_0", "none+mailer", "coupon", "display+display"]
)
def test_a_name_that_is_no_activation_is_refused_with_the_form_of_one(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not an activation; one is called like"):
        parse_activation(name)


def test_the_standard_candidates_can_always_abstain_and_name_nothing_twice() -> None:
    assert NONE in CANDIDATES
    assert len({candidate.name for candidate in CANDIDATES}) == len(CANDIDATES)
