"""The model card: what a model is for and not for, how good it is and for whom, from the run that made it."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from poplift.statistics import Interval
from poplift.verdicts import SignedVerdict
from training.evaluation import MODEL
from training.gate import calibration, fairness, slices
from training.report import LIMITS, templates
from training.train import Candidate

HTML, MARKDOWN, JSON = "model_card.html", "model_card.md", "model_card.json"
LONGEST_DESCRIPTION = 5000  # characters: the column of MLflow's database
INTENDED_USE = (
    "Forecast transactions and units of a ppg at an outlet in the coming week, for a planned activation.",
    "Rank candidate activations of one outlet and week by forecast, with an interval and a reason to abstain.",
    "Compare a week's sales with what was to be expected.",
)
NOT_FOR = (
    "Saying what an activation adds: two forecasts differ by more than that. Ask the effect table or an experiment.",
    "Decisions about people: shoppers enter as sums per outlet only, and nothing here says anything about one of them.",
    "Outlets, ppgs or weeks unlike those it was trained on: a new region or format, the first weeks of a new product.",
    "Setting prices below the deepest cut of its history; there it extrapolates.",
)


def model_card(candidate: Candidate, signed: SignedVerdict) -> dict[str, Any]:
    """Everything the card says, as JSON takes it; every figure is the evaluation's or the gate's."""
    evaluation, plan, record = candidate.evaluation, candidate.model.plan, signed.record
    cells = evaluation.cells
    return {
        "model": record["model"],
        "outcome": signed.outcome,
        "intended_use": list(INTENDED_USE),
        "not_for": list(NOT_FOR),
        "limits": list(LIMITS),
        "data": dict(candidate.training_set.pins),
        "trained_through_week": plan["trained_through_week"],
        "held_out": {
            "first_week": int(cells["week"].min()),
            "last_week": int(cells["week"].max()),
            "cells": len(cells),
            "transactions": int(cells["transactions"].sum()),
        },
        "recipe": {**plan["recipe"], "seed": plan["seed"], "features": len(plan["features"])},
        "scores": [
            {
                "forecast": str(name),
                "is_model": name == MODEL,
                **{score: _number(value) for score, value in row.items()},
                "model_against_it": _interval(evaluation.versus.get(str(name))),
            }
            for name, row in evaluation.table.iterrows()
        ],
        "unavailable": dict(evaluation.unavailable),
        "bias": _interval(evaluation.bias),
        "coverage": _interval(evaluation.coverage),
        "drivers": candidate.drivers.drivers.set_index("driver")["share"].to_dict(),
        "errors": list(candidate.errors.sentences),
        "findings": list(record["findings"]),
        "verdict": {
            "outcome": signed.outcome,
            "reasons": list(signed.reasons),
            "champion": signed.champion,
            "judged_at": record["judged_at"],
            "code": record["code"],
            "sha256": signed.sha256,
            "signature": signed.signature,
        },
    }


def write(card: dict[str, Any], folder: Path) -> None:
    """Write the card as HTML, Markdown and JSON into `folder`."""
    sections = {
        "Slices": [f for f in card["findings"] if f["check"] == slices.CHECK],
        "Fairness between groups of outlets": [f for f in card["findings"] if f["check"] == fairness.CHECK],
        "Calibration": [f for f in card["findings"] if f["check"] in (calibration.CHECK, calibration.INTERVAL_CHECK)],
    }
    shown = {finding["said"] for findings in sections.values() for finding in findings}
    others = [f for f in card["findings"] if f["said"] not in shown]
    for name in (HTML, MARKDOWN):
        (folder / name).write_text(templates().get_template(name).render(card=card, sections=sections, others=others))
    (folder / JSON).write_text(json.dumps(card, indent=1, allow_nan=False) + "\n")


def description(card: dict[str, Any]) -> str:
    """The card in short, as Markdown for the page of the version in MLflow."""
    text = templates().get_template("version_description.md").render(card=card)
    return text if len(text) <= LONGEST_DESCRIPTION else text[: LONGEST_DESCRIPTION - 2] + " …"


def _interval(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else asdict(interval)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
