"""The model report: one self-contained HTML page with scores, pictures, drivers, errors and limits."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.drivers import Drivers
from training.error_analysis import ErrorAnalysis
from training.evaluation import MODEL, Evaluation
from training.pictures import pictures

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
LIMITS = (
    "The interval of a forecast says how transactions scatter, not what an activation adds.",
    "SHAP and forecasts under different activations describe what was seen together; they are no causal lift.",
    "Sales are taken for demand: an empty shelf looks like nobody wanting. The Complete Journey records none.",
    "A household panel such as The Complete Journey holds what its members bought, not all that an outlet sold.",
    "A ppg has one price a week in the whole chain; in The Complete Journey its median on what was bought.",
)


def templates() -> "Environment":
    """The pages of this package; HTML is escaped, Markdown is not."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(
    *, evaluation: Evaluation, drivers: Drivers, errors: ErrorAnalysis, plan: dict[str, Any], pins: dict[str, Any]
) -> str:
    """The report as HTML; needs nothing but itself to be shown."""
    return (
        templates()
        .get_template("model_report.html")
        .render(
            model=MODEL,
            evaluation=evaluation,
            table=evaluation.table.to_dict("index"),
            segments=evaluation.segments.to_dict("records"),
            drivers=drivers,
            errors=errors,
            plan=plan,
            pins=pins,
            pictures=pictures(evaluation, drivers),
            limits=LIMITS,
            zeros=float((evaluation.cells["transactions"] == 0).mean()),
        )
    )
