"""What sales and activations are worth and cost under the declared assumptions, in USD."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from poplift.activation import Activation
from poplift.assumptions import Assumptions

Floats = NDArray[np.float64]


def margin_usd(units: Floats, *, base_price: Floats, price_cut: Floats, assumptions: Assumptions) -> Floats:
    """Margin of units sold: the declared share of the base price, less what the price cut gives away on each."""
    margin: Floats = units * base_price * (assumptions.unit_margin - price_cut)
    return margin


def placement_cost_usd(display: Floats, mailer: Floats, *, assumptions: Assumptions) -> Floats:
    """Declared cost of displays and mailer places for one week; what a price cut gives away comes on top."""
    cost: Floats = assumptions.display_cost_usd * display + assumptions.mailer_cost_usd * mailer
    return cost


def placement_costs_usd(activations: Sequence[Activation], *, assumptions: Assumptions) -> Floats:
    """The same of activations, one figure each."""
    display, mailer = (np.array([float(getattr(a, name)) for a in activations]) for name in ("display", "mailer"))
    return placement_cost_usd(display, mailer, assumptions=assumptions)


def give_away_usd(units: Floats, *, base_price: Floats, price_cut: Floats) -> Floats:
    """What a price cut gives away on the units bought at it; a budget pays it, the margin has lost it already."""
    given: Floats = units * base_price * price_cut
    return given
