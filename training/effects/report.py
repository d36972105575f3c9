"""The effects report: one self-contained HTML page with effects, how far to trust them, and what they rest on."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from training.effects.estimate import UNSETTLED

if TYPE_CHECKING:
    from training.effects.learn import Effects

TEMPLATES = Path(__file__).parents[1] / "templates"
LIMITS = (
    "Where nobody drew at random, all that made people promote and made people buy has to be among the controls.",
    "No test can show that it is; an experiment can show what an activation adds without it.",
    "What an activation takes from other makers' or other outlets' sales is not taken off.",
    "Figures are for an average week of the panel, with everything else as it was run.",
)
DRIVERS = "Drivers of the forecast beside causes"  # title of the table that a caller may add
THIN_PANEL = 1.0  # transactions per cell below which single outlets and ppgs say little


def render(effects: "Effects", *, extra: Mapping[str, pd.DataFrame]) -> str:
    """The report as HTML; needs nothing but itself to be shown."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("effects_report.html").render(
        averages=effects.table.averages.to_dict("records"),
        parameters=[(name, *effects.estimate.coefficient(name)) for name in effects.estimate.response.means],
        refutations=effects.refutations,
        opinions=effects.opinions,
        combined=effects.combined,
        sensitivity=effects.sensitivity.to_dict("split"),
        stock=effects.estimate.stock,
        assumptions=effects.assumptions.model_dump(),
        pins=effects.pins,
        sufficient=effects.sufficient_share,
        cannot_say=cannot_say(effects),
        extra={title: frame.round(3).to_dict("split") for title, frame in extra.items()},
        limits=LIMITS,
        drivers_title=DRIVERS,
    )


def cannot_say(effects: "Effects") -> list[str]:
    """What this panel cannot say, in plain words, each from a figure of this panel."""
    pins: Mapping[str, Any] = effects.pins
    said = [] if effects.estimate.is_settled else [f"Nothing here may be planned by: {UNSETTLED}."]
    if not pins.get("drawn_share"):
        said.append(
            "No cell was drawn at random: nothing here is experimental evidence, and all of it rests on the controls."
        )
    if not pins.get("flagged_empty_share"):
        said.append("No empty shelf is recorded: an activation that emptied the shelf looks weaker than it was.")
    if not pins.get("price_varies_within_a_week", True):
        said.append(
            "Price is one figure for the whole chain in a week, so depth is told from weeks alone: there are "
            f"{pins['last_week'] - pins['first_week'] + 1} of them, and what else was special about a week stays in."
        )
    if pins.get("transactions_per_cell", THIN_PANEL) < THIN_PANEL:
        said.append(
            f"{pins['zero_share']:.0%} of the cells sold nothing: an average over the chain can be told, and "
            "differences between single outlets hardly."
        )
    thin = [str(row["activation"]) for row in effects.table.averages.to_dict("records") if row["evidence"] == "thin"]
    if thin:
        said.append(
            f"Even on average the evidence is thin for {', '.join(thin)}: too little overlap, or zero is inside."
        )
    untried = [f"{one.name} ({one.failed})" for one in effects.refutations if one.failed]
    if untried:
        said.append(f"Could not be tried: {'; '.join(untried)}. Whether the estimate stands up to it is not known.")
    fallen = [one.name for one in effects.refutations if not (one.stands or one.failed)]
    if fallen:
        said.append(
            f"Did not stand up to: {', '.join(fallen)}. Take the effects as associations until that is explained."
        )
    return said
