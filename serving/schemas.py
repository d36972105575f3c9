"""What the API takes and gives: closed, bounded and finite."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from poplift.activation import Activation, Identifier
from poplift.assignment import Arm
from poplift.assumptions import Assumptions
from serving.policy import BASIS_SENTENCE

MAX_ROWS = 1000

Outlet = Annotated[Identifier, Field(description="Selling location.", examples=["367"])]
Ppg = Annotated[
    Identifier,
    Field(description="Promoted product group.", examples=["m1208-soft-drinks-12-18-15pk-can-car"]),
]


class Request(BaseModel):
    """A closed request: unknown fields, text for numbers, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Answer(BaseModel):
    """A closed answer: an infinite or missing number is never sent as a number."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class DemandRow(Request):
    """One question: demand of a ppg at an outlet in the coming week under a planned activation."""

    outlet_id: Outlet
    ppg_id: Ppg
    activation: Activation = Activation()


class DemandRequest(Request):
    """Up to 1000 questions, answered in the order asked."""

    rows: Annotated[list[DemandRow], Field(min_length=1, max_length=MAX_ROWS)]


class RecommendationRequest(Request):
    """Which activations to run at one outlet in the coming week."""

    outlet_id: Outlet
    ppg_ids: Annotated[
        list[Ppg] | None,
        Field(min_length=1, max_length=MAX_ROWS, description="Which ppgs; all of the policy's if absent."),
    ] = None
    limit: Annotated[int, Field(ge=1, le=100, description="How many of the best to return.")] = 10


class OutletsRequest(Request):
    """Which activations to run at many outlets in the coming week."""

    outlet_ids: Annotated[list[Outlet], Field(min_length=1, max_length=100, description="Which outlets.")]
    limit: Annotated[int, Field(ge=1, le=100, description="How many of the best to return of each outlet.")] = 10


class ReleaseAnswer(Answer):
    """Which release answered."""

    id: str
    model_name: str
    model_version: str
    policy: str


class FeatureAge(Answer):
    """How old a view's rows are at business time; the oldest row of the answer."""

    view: str
    oldest_event_time: datetime | None = Field(description="null: no row of the answer has this view.")
    age_hours: float | None


class Envelope(Answer):
    """What every answer says about itself."""

    request_id: str
    release: ReleaseAnswer
    business_time: datetime
    week_start: date = Field(description="First local day of the week the answer is about.")
    basis: Literal["predictive"]
    basis_note: str = BASIS_SENTENCE
    degraded: bool = Field(description="At least one row was answered without all of its features.")
    feature_ages: list[FeatureAge]


class Prediction(Answer):
    """Predicted sales of the coming week under an activation."""

    activation: Activation
    activation_name: str
    price_usd: float | None = Field(description="Price per unit under the activation; null: base price unknown.")
    transactions: float = Field(description="Predicted transactions a week.")
    transactions_low: float = Field(description="Lower bound of the 80 % prediction interval.")
    transactions_high: float = Field(description="Upper bound of the 80 % prediction interval.")
    units: float = Field(description="Predicted units a week.")


class DemandPrediction(Prediction):
    """The answer to one question."""

    decision_id: str
    outlet_id: str
    ppg_id: str
    degraded: bool
    flags: list[str] = Field(
        description="stale:, gaps:, expired:, missing:, future: or unavailable: and the view concerned."
    )


class DemandAnswer(Envelope):
    """Answers in the order asked."""

    rows: list[DemandPrediction]


class Candidate(Prediction):
    """One activation that could have been chosen."""

    predicted_gain: float = Field(description="Transactions a week more than under none.")
    assumed_cost_usd: float | None = Field(description="Under the declared assumptions.")
    net_gain: float | None = Field(description="Gain less assumed cost, in transactions.")
    propensity: float = Field(description="Probability with which this candidate was to be recommended.")


class ReasonAnswer(Answer):
    """One contribution to the prediction under the recommended activation."""

    feature: str
    value: float | None
    unit: str
    effect: float
    scale: Literal["times", "plus"]
    text: str


class Recommendation(Answer):
    """What to run for one ppg, against what else could be run."""

    rank: int
    decision_id: str
    ppg_id: str
    recommended: Candidate
    arm: Arm = Field(description="What decided.")
    arm_note: str = Field(description="The same in a sentence.")
    experiment: str | None = Field(description="Which experiment decided, if one did.")
    propensity: float = Field(description="Probability with which this was to be recommended.")
    abstained: bool = Field(description="none is recommended, for the reason given.")
    abstained_because: str | None
    reasons: list[ReasonAnswer]
    candidates: list[Candidate]
    degraded: bool
    flags: list[str]


class NotDecided(Answer):
    """A ppg of the policy that this outlet cannot be advised on."""

    ppg_id: str
    reason: str


class RecommendationAnswer(Envelope):
    """The best activations of the outlet, by predicted net gain."""

    outlet_id: str
    assumptions: Assumptions
    recommendations: list[Recommendation]
    not_decided: list[NotDecided]


class UnknownOutlet(Answer):
    """An outlet that cannot be advised on."""

    outlet_id: str
    reason: str


class OutletsAnswer(Answer):
    """Many outlets, in the order asked; outlets and unknown are together those asked for."""

    request_id: str
    outlets: list[RecommendationAnswer]
    unknown: list[UnknownOutlet]


class Problem(BaseModel):
    """An error in the form of RFC 9457."""

    type: str = Field(examples=["urn:poplift:problem:unknown-entity"])
    title: str
    status: int
    detail: str
    request_id: str | None = None
    errors: list[dict[str, str]] | None = Field(default=None, description="Where and what, field by field.")
