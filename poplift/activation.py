"""An activation: what can be run at an outlet for a ppg in a week, its short name, and the standard candidates."""

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Identifier = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
_CUT = re.compile(r"^price_cut_(\d{1,2})$")


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

# What is weighed against `none` wherever nobody says otherwise: by the policy, the market and the effect table.
CANDIDATES: tuple[Activation, ...] = (
    NONE,
    Activation(display=True),
    Activation(mailer=True),
    Activation(display=True, mailer=True),
    Activation(price_cut=0.1),
    Activation(price_cut=0.2),
    Activation(price_cut=0.3),
    Activation(display=True, mailer=True, price_cut=0.2),
)


def parse_activation(name: str) -> Activation:
    """The activation of a short name; ValueError that shows the form for anything else."""
    display, mailer, cut = False, False, 0.0
    for part in () if name == NONE.name else name.split("+"):
        depth = _CUT.match(part)
        if depth:
            cut = int(depth.group(1)) / 100
        display, mailer = display or part == "display", mailer or part == "mailer"
    made = Activation(display=display, mailer=mailer, price_cut=cut) if cut <= 0.6 else NONE
    if made.name != name:
        raise ValueError(f"{name!r} is not an activation; one is called like display+mailer+price_cut_20, or none")
    return made
