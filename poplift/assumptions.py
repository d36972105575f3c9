"""The one home of what the data does not hold and the platform therefore declares: costs, margins, values."""

from pydantic import BaseModel, ConfigDict, Field

CPU_HOUR_USD = 0.04  # about what large clouds ask for one virtual processor on demand; POPLIFT_CPU_HOUR_USD says yours


class Assumptions(BaseModel):
    """Declared figures; every answer, table and page whose figures depend on them shows them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    display_cost_usd: float = Field(default=1.0, ge=0, description="Cost of one display for one week.")
    mailer_cost_usd: float = Field(default=0.5, ge=0, description="Cost of one mailer place for one outlet.")
    transaction_value_usd: float = Field(
        default=4.0, gt=0, description="What one more transaction is worth before activation cost."
    )
    unit_margin: float = Field(
        default=0.5, gt=0, le=1, description="Margin of one unit as a share of its base price, before a price cut."
    )
    note: str = Field(
        default="Declared, not measured: the sales data holds no margin and no activation cost.",
        description="Where these figures come from.",
    )
