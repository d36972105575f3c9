"""The policy of a release: which activations may be chosen, what is assumed of their cost, and who wins."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

Floats = NDArray[np.float64]
Identifier = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

BASIS = "predictive"
BASIS_SENTENCE = (
    "A predicted difference between two activations is what a model of past sales expects; "
    "it is not a measured lift and holds no proof that the activation causes it."
)


class Activation(BaseModel):
    """An action at one outlet and ppg in the coming week; all fields at their defaults mean `none`."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"display": True, "mailer": False, "price_cut": 0.1}]},
    )

    display: bool = Field(default=False, description="A secondary placement in the outlet.")
    mailer: bool = Field(default=False, description="The ppg is in the outlet's mailer.")
    price_cut: float = Field(
        default=0.0, ge=0.0, le=0.6, description="Depth of the price cut as a share of the base price."
    )

    @property
    def name(self) -> str:
        """Short name, such as `display+mailer+price_cut_20`."""
        cut = f"price_cut_{round(self.price_cut * 100)}" if self.price_cut else ""
        parts = ["display" if self.display else "", "mailer" if self.mailer else "", cut]
        return "+".join(part for part in parts if part) or "none"


NONE = Activation()


class Assumptions(BaseModel):
    """What the data does not hold and the policy therefore declares; shown where a figure depends on it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    display_cost_usd: float = Field(default=1.0, ge=0, description="Cost of one display for one week.")
    mailer_cost_usd: float = Field(default=0.5, ge=0, description="Cost of one mailer place for one outlet.")
    transaction_value_usd: float = Field(
        default=4.0, gt=0, description="What one more transaction is worth before activation cost."
    )
    note: str = Field(
        default="Declared, not measured: the sales data holds no margin and no activation cost.",
        description="Where these figures come from.",
    )


class Policy(BaseModel):
    """Settings of the decision rule, frozen into the release."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = "predicted-difference"
    ppgs: tuple[Identifier, ...] = Field(min_length=1, max_length=1000, description="What is decided for.")
    sentinel_outlet: Identifier = Field(description="A known outlet; readiness asks the store for it.")
    candidates: tuple[Activation, ...] = (
        NONE,
        Activation(display=True),
        Activation(mailer=True),
        Activation(display=True, mailer=True),
        Activation(price_cut=0.1),
        Activation(price_cut=0.2),
        Activation(price_cut=0.3),
        Activation(display=True, mailer=True, price_cut=0.2),
    )
    minimum_gain: float = Field(
        default=0.1, ge=0, description="Least predicted net gain, transactions a week, worth an activation."
    )
    separation: Literal["shifted", "disjoint"] = Field(
        default="shifted",
        description="When two prediction intervals count as apart. shifted: the upper bound is higher and "
        "the lower one not lower; disjoint: the lower bound is above the other's upper one.",
    )
    assumptions: Assumptions = Assumptions()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if NONE not in self.candidates:
            raise ValueError("candidates must hold the activation 'none': abstaining is always possible")
        for name, values in (("candidates", self.candidates), ("ppgs", self.ppgs)):
            if len(set(values)) != len(values):
                raise ValueError(f"{name} names something twice")
        return self


@dataclass(frozen=True)
class Predictions:
    """Served predictions of n rows x k candidates: transactions and units a week, and the 80 % interval."""

    transactions: Floats
    units: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Choice:
    """What the policy chose for one ppg; arrays have one value per candidate of the policy."""

    ppg_id: str
    row: int
    chosen: int
    gain: Floats
    cost_usd: Floats
    net_gain: Floats
    abstained_because: str | None


def rank(policy: Policy, ppg_ids: Sequence[str], predictions: Predictions, base_price: Floats) -> list[Choice]:
    """Choose an activation for every ppg and order the ppgs by net gain, whatever order they came in.

    gain = predicted transactions under a candidate minus under none; net gain takes off the candidate's
    declared cost, in transactions by the declared value of one. `base_price` is USD per unit, one a ppg.
    """
    choices = [_choose(policy, ppg, row, predictions, base_price) for row, ppg in enumerate(ppg_ids)]
    return sorted(choices, key=lambda choice: (-choice.net_gain[choice.chosen], choice.ppg_id))


def costs_usd(policy: Policy, units: Floats, base_price: float) -> Floats:
    """Declared cost of every candidate at one ppg: display, mailer, and what a price cut gives away."""
    assumed = policy.assumptions
    return np.array(
        [
            assumed.display_cost_usd * candidate.display
            + assumed.mailer_cost_usd * candidate.mailer
            + (candidate.price_cut * base_price * sold if candidate.price_cut else 0.0)
            for candidate, sold in zip(policy.candidates, units, strict=True)
        ]
    )


def _choose(policy: Policy, ppg_id: str, row: int, predictions: Predictions, base_price: Floats) -> Choice:
    none = policy.candidates.index(NONE)
    transactions = predictions.transactions[row]
    gain = transactions - transactions[none]
    cost = costs_usd(policy, predictions.units[row], float(base_price[row]))
    net = gain - cost / policy.assumptions.transaction_value_usd
    apart = _separated(policy, predictions.low[row], predictions.high[row], none)
    enough = net >= policy.minimum_gain
    eligible = [k for k in range(len(net)) if k != none and apart[k] and enough[k]]
    if eligible:
        # the cheaper of two equals, then the declared order: never the order of a request
        best = max(eligible, key=lambda k: (net[k], -cost[k], -k))
        return Choice(ppg_id, row, best, gain, cost, net, None)
    reason = (
        "no activation reaches the declared minimum of predicted net gain"
        if not enough.any()
        else "the prediction intervals of the activations that gain enough do not separate from none's"
    )
    return Choice(ppg_id, row, none, gain, cost, net, reason)


def _separated(policy: Policy, low: Floats, high: Floats, none: int) -> NDArray[np.bool_]:
    if policy.separation == "disjoint":
        return np.asarray(low > high[none])
    return np.asarray((low >= low[none]) & (high > high[none]))


def finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: a missing number is null."""
    return {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
