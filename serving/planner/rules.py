"""What a plan must keep: the rules of a week, asked for by a person, and the policy on evidence, declared once."""

from statistics import NormalDist
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from poplift.activation import NONE, Identifier, parse_activation

TABLE_CONFIDENCE = 0.95  # of the intervals in the effect table
MOST_LINES = 1000
MOST_SETS = 20
MOST_SLOTS = 100


def _activation_name(name: str) -> str:
    if parse_activation(name) == NONE:
        raise ValueError("none is not an activation to run; leave the line out")
    return name


ActivationName = Annotated[
    str,
    Field(max_length=60, examples=["display+mailer"], description="Short name of an activation."),
    AfterValidator(_activation_name),
]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class MustRun(_Closed):
    """A line that was promised: it is in the plan whatever it brings, or there is no plan."""

    outlet_id: Identifier
    ppg_id: Identifier
    activation: ActivationName


class NeverRun(_Closed):
    """What is not possible or not wanted; a field left out means any. `mechanic` is a part of an activation."""

    outlet_id: Identifier | None = None
    ppg_id: Identifier | None = None
    activation: ActivationName | None = None
    mechanic: Literal["display", "mailer", "price_cut"] | None = None

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self == NeverRun.model_construct():
            raise ValueError(
                "name an outlet, a ppg, an activation or a mechanic: nothing at all would forbid everything"
            )
        return self


class PlanRules(_Closed):
    """The rules of one week. Without a budget no activation is planned, not even one that costs nothing."""

    budget_usd: Annotated[
        float | None,
        Field(
            ge=0, le=1e9, description="What the activations may cost together; absent: nothing is spent, nothing runs."
        ),
    ] = None
    max_displays: Annotated[int | None, Field(ge=0, le=MOST_SLOTS, description="Displays per outlet.")] = None
    max_mailers: Annotated[int | None, Field(ge=0, le=MOST_SLOTS, description="Mailer places per outlet.")] = None
    max_activated_ppgs: Annotated[
        int | None, Field(ge=0, le=MOST_SLOTS, description="Ppgs per outlet with any activation.")
    ] = None
    exclusive_ppgs: Annotated[
        tuple[Annotated[tuple[Identifier, ...], Field(min_length=2, max_length=200, strict=False)], ...],
        Field(
            max_length=MOST_SETS,
            strict=False,
            description="Sets of ppgs of which an outlet may run at most one at a time.",
        ),
    ] = ()
    minimum_gap_weeks: Annotated[
        int, Field(ge=0, le=26, description="Full weeks without activation before a ppg runs again in an outlet.")
    ] = 0
    minimum_net_margin_usd: Annotated[
        float | None, Field(ge=0, le=1e6, description="Least margin of a line after its cost.")
    ] = None
    must_run: Annotated[tuple[MustRun, ...], Field(max_length=MOST_LINES, strict=False)] = ()
    never_run: Annotated[tuple[NeverRun, ...], Field(max_length=MOST_LINES, strict=False)] = ()


class PlanPolicy(_Closed):
    """How evidence becomes a decision: ranked by the estimate, eligible only where it stands clear of zero.

    Ranking by the lower bound instead prefers what is known best to what is best, and costs value the noisier the
    estimates are; not asking for an interval at all spends money on activations that may lose it.
    """

    name: str = "net-margin"
    confidence: float = Field(
        default=TABLE_CONFIDENCE,
        gt=0,
        lt=1,
        description="Level of the interval of the incremental margin that must lie above zero.",
    )
    accepts_thin_evidence: bool = Field(
        default=False,
        description="Whether an activation of thin evidence may be planned: comparable cells hardly ever had the "
        "choice, or the interval of its transactions holds zero.",
    )

    @property
    def widening(self) -> float:
        """Width of an interval at this confidence as a share of the table's, for errors that are about normal."""
        mine, tables = (NormalDist().inv_cdf(0.5 + level / 2) for level in (self.confidence, TABLE_CONFIDENCE))
        return mine / tables
