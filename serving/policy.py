"""The policy of a release: which activations may be chosen, what is assumed of their cost, and who wins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from poplift.activation import CANDIDATES, NONE, Activation, Identifier
from poplift.assignment import EXPLORATION_SHARE, HOLDOUT_SHARE
from poplift.assumptions import Assumptions
from poplift.margin import placement_costs_usd

Floats = NDArray[np.float64]

BASIS = "predictive"
NOT_ENOUGH = "no activation reaches the declared minimum of predicted net gain"
NOT_USABLE = "features that a choice rests on are too old, missing or cannot be read, so nothing is spent"
NOT_APART = "the prediction intervals of the activations that gain enough do not separate from none's"
BASIS_SENTENCE = (
    "A predicted difference between two activations is what a model of past sales expects; "
    "it is not a measured lift and holds no proof that the activation causes it."
)


class Degradation(BaseModel):
    """What each route answers when features cannot be used; the table of it is in docs/concepts/serving.md."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    demand: Literal["defaults", "refuse"] = Field(
        default="defaults",
        description="Without the online store: predict from the release's defaults, or answer 503.",
    )
    recommendations: Literal["none", "refuse"] = Field(
        default="none",
        description="Without the online store: recommend none, or answer 503.",
    )
    spend_without: tuple[str, ...] = Field(
        default=(),
        description="Views that may be replaced by defaults and an activation still be recommended; without any other "
        "none is.",
    )

    @property
    def answers_without_store(self) -> bool:
        """Whether any route answers when the online store does not."""
        return self.demand != "refuse" or self.recommendations != "refuse"


class Policy(BaseModel):
    """Settings of the decision rule, frozen into the release."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = "predicted-difference"
    ppgs: tuple[Identifier, ...] = Field(min_length=1, max_length=1000, description="What is decided for.")
    sentinel_outlet: Identifier = Field(description="A known outlet; readiness asks the store for it.")
    candidates: tuple[Activation, ...] = CANDIDATES
    minimum_gain: float = Field(
        default=0.1, ge=0, description="Least predicted net gain, transactions a week, worth an activation."
    )
    separation: Literal["shifted", "disjoint"] = Field(
        default="shifted",
        description="When two prediction intervals count as apart. shifted: the upper bound is higher and "
        "the lower one not lower; disjoint: the lower bound is above the other's upper one.",
    )
    holdout_share: float = Field(
        default=HOLDOUT_SHARE, ge=0, le=0.5, description="Share of outlets, always the same, that get none."
    )
    exploration_share: float = Field(
        default=EXPLORATION_SHARE, ge=0, le=0.2, description="Share of recommendations drawn at random, to learn."
    )
    degradation: Degradation = Degradation()
    assumptions: Assumptions = Assumptions()

    @property
    def sentinel(self) -> dict[str, str]:
        """The entity that a filled online store always knows."""
        return {"outlet_id": self.sentinel_outlet, "ppg_id": self.ppgs[0]}

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
    is_usable: bool = True  # its features are; else none is run, whatever a draw would say


def rank(
    policy: Policy,
    ppg_ids: Sequence[str],
    predictions: Predictions,
    base_price: Floats,
    *,
    usable: NDArray[np.bool_] | None = None,
) -> list[Choice]:
    """Choose an activation for every ppg and order the ppgs by net gain, whatever order they came in.

    gain = predicted transactions under a candidate minus under none; net gain takes off the candidate's
    declared cost, in transactions by the declared value of one. `base_price` is USD per unit, one a ppg. Where
    the features of a ppg are not `usable`, none is chosen.
    """
    none = policy.candidates.index(NONE)
    gain = predictions.transactions - predictions.transactions[:, [none]]
    cost = costs_usd(policy, predictions.units, base_price)
    net = gain - cost / policy.assumptions.transaction_value_usd
    enough = net >= policy.minimum_gain
    eligible = enough & _separated(policy, predictions.low, predictions.high, none)
    eligible[:, none] = False
    trusted = np.ones(len(ppg_ids), dtype=bool) if usable is None else usable
    eligible &= trusted[:, None]
    # the cheaper of two equals, then the declared order: never the order of a request
    best = np.lexsort((cost, np.where(eligible, -net, np.inf)), axis=-1)[:, 0]
    found, some = np.asarray(eligible.any(axis=1)), np.asarray(enough.any(axis=1))
    choices = [
        Choice(ppg, row, chosen, gain[row], cost[row], net[row], None)
        if found[row]
        else Choice(ppg, row, none, gain[row], cost[row], net[row], because, is_usable=is_usable)
        for row, (ppg, chosen, because, is_usable) in enumerate(
            zip(ppg_ids, best.tolist(), _why_none(trusted, some), trusted.tolist(), strict=True)
        )
    ]
    return sorted(choices, key=lambda choice: (-choice.net_gain[choice.chosen], choice.ppg_id))


def costs_usd(policy: Policy, units: Floats, base_price: Floats) -> Floats:
    """Declared cost of every candidate at n ppgs: display, mailer, and what a price cut gives away."""
    candidates = policy.candidates
    cut = np.array([candidate.price_cut for candidate in candidates])
    # without a cut nothing is given away, known base price or not
    given = np.where(cut > 0, cut * base_price[:, None] * units, 0.0)
    return np.asarray(placement_costs_usd(candidates, assumptions=policy.assumptions) + given)


def _why_none(trusted: NDArray[np.bool_], enough: NDArray[np.bool_]) -> list[str]:
    return list(np.where(trusted, np.where(enough, NOT_APART, NOT_ENOUGH), NOT_USABLE).tolist())


def _separated(policy: Policy, low: Floats, high: Floats, none: int) -> NDArray[np.bool_]:
    if policy.separation == "disjoint":
        return np.asarray(low > high[:, [none]])
    return np.asarray((low >= low[:, [none]]) & (high > high[:, [none]]))
