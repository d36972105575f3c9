"""The policy is a pure function of predictions: it abstains by declared rules and never sees an order."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from poplift.activation import NONE, Activation
from poplift.assumptions import Assumptions
from serving.policy import Policy, Predictions, rank

DISPLAY, CUT = Activation(display=True), Activation(price_cut=0.2)
PPGS = ("a", "b", "c", "d")


def policy(**changes: Any) -> Policy:
    free = Assumptions(display_cost_usd=0, mailer_cost_usd=0, transaction_value_usd=4.0)
    values = {"ppgs": PPGS, "sentinel_outlet": "1", "candidates": (NONE, DISPLAY, CUT), "assumptions": free}
    return Policy(**(values | changes))


def predictions(transactions: Any, low: Any = None, high: Any = None) -> Predictions:
    t = np.array(transactions, dtype=float)
    low = np.zeros_like(t) if low is None else np.array(low, dtype=float)
    high = np.ceil(t) + np.arange(t.shape[1]) if high is None else np.array(high, dtype=float)
    return Predictions(t, 2 * t, low, high)


def choose(made: Policy, predicted: Predictions, price: float = 1.0) -> list[Any]:
    names = PPGS[: len(predicted.transactions)]
    return rank(made, names, predicted, np.full(len(names), price))


def test_the_activation_with_the_largest_net_gain_is_chosen() -> None:
    (choice,) = choose(policy(), predictions([[1.0, 2.0, 1.5]]))
    assert choice.chosen == 1
    assert choice.abstained_because is None
    assert choice.gain.tolist() == [0.0, 1.0, 0.5]


def test_a_gain_below_the_declared_minimum_abstains() -> None:
    (choice,) = choose(policy(minimum_gain=0.5), predictions([[1.0, 1.4, 1.3]]))
    assert choice.chosen == 0
    assert "minimum" in choice.abstained_because


def test_intervals_that_do_not_separate_abstain() -> None:
    same = predictions([[1.0, 3.0, 3.0]], high=[[4, 4, 4]])
    (choice,) = choose(policy(), same)
    assert choice.chosen == 0
    assert "intervals" in choice.abstained_because


def test_disjoint_intervals_are_the_stricter_rule() -> None:
    shifted = predictions([[1.0, 3.0, 0.0]], low=[[0, 1, 0]], high=[[2, 5, 0]])
    assert choose(policy(), shifted)[0].chosen == 1
    assert choose(policy(separation="disjoint"), shifted)[0].chosen == 0
    apart = predictions([[1.0, 6.0, 0.0]], low=[[0, 3, 0]], high=[[2, 9, 0]])
    assert choose(policy(separation="disjoint"), apart)[0].chosen == 1


def test_a_declared_cost_is_taken_off_in_transactions() -> None:
    dear = Assumptions(display_cost_usd=4.0, transaction_value_usd=4.0)
    (choice,) = choose(policy(assumptions=dear), predictions([[1.0, 2.0, 1.9]]))
    assert choice.net_gain[1] == pytest.approx(0.0)
    # the cut gives away 20 % of 1 USD on 3.8 units: 0.76 USD, which is 0.19 transactions
    assert choice.net_gain[2] == pytest.approx(0.9 - 0.19)
    assert choice.chosen == 2


def test_a_price_cut_on_an_unknown_price_is_not_chosen() -> None:
    (choice,) = choose(policy(), predictions([[1.0, 1.0, 9.0]]), price=np.nan)
    assert choice.chosen == 0


def test_a_policy_without_none_or_with_a_candidate_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="none"):
        policy(candidates=(DISPLAY, CUT))
    with pytest.raises(ValidationError, match="twice"):
        policy(candidates=(NONE, DISPLAY, DISPLAY))


def test_none_is_always_among_the_declared_candidates() -> None:
    assert NONE in Policy(ppgs=("a",), sentinel_outlet="1").candidates


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (NONE, "none"),
        (DISPLAY, "display"),
        (CUT, "price_cut_20"),
        (Activation(display=True, mailer=True, price_cut=0.1), "display+mailer+price_cut_10"),
    ],
)
def test_an_activation_has_a_name_people_read(activation: Activation, name: str) -> None:
    assert activation.name == name


@given(
    order=st.permutations(range(4)),
    cells=st.lists(st.integers(0, 5).map(float), min_size=12, max_size=12),
)
def test_the_order_of_the_ppgs_never_changes_the_ranking(order: list[int], cells: list[float]) -> None:
    made, predicted = policy(), predictions(np.array(cells).reshape(4, 3))
    shuffled = Predictions(*(getattr(predicted, f)[order] for f in ("transactions", "units", "low", "high")))
    straight = rank(made, PPGS, predicted, np.ones(4))
    again = rank(made, [PPGS[i] for i in order], shuffled, np.ones(4))
    assert [(c.ppg_id, c.chosen) for c in straight] == [(c.ppg_id, c.chosen) for c in again]
