"""The model report: one self-contained HTML page with scores, pictures, drivers, errors and limits."""

from pathlib import Path
from typing import Any

from training.drivers import Drivers
from training.error_analysis import ErrorAnalysis
from training.evaluation import MODEL, Evaluation
from training.pictures import pictures

TEMPLATES = Path(__file__).parent / "templates"
LIMITS = (
    "The interval of a forecast says how transactions scatter, not what an activation adds.",
    "SHAP and forecasts under different activations describe what was seen together; they are no causal lift.",
    "Observed sales are what was on the shelf: the source records no stock-outs.",
    "The panel is the purchases of the recorded households, not of everybody who shops at the outlet.",
    "Price is the ppg's chain-wide median of the week, read off the shelf prices of what was bought.",
)


def render(
    *, evaluation: Evaluation, drivers: Drivers, errors: ErrorAnalysis, plan: dict[str, Any], pins: dict[str, Any]
) -> str:
    """The report as HTML; needs nothing but itself to be shown."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("model_report.html").render(
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
    )
