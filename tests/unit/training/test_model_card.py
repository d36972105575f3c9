"""The card says what the run and the gate measured, in three formats, and nothing that was not measured."""

import json
from html import unescape

import pytest

from poplift.settings import load_settings
from poplift.verdicts import sign
from training import model_card
from training.dataset import TrainingSet
from training.train import train

FINDINGS = [
    {"check": "accuracy", "outcome": "pass", "said": "deviance -3.3% against poisson_glm", "figures": {}},
    {"check": "slices", "outcome": "pass", "said": "deviance -3.7% where promoted", "figures": {}},
    {"check": "fairness", "outcome": "pass", "said": "bias +4.8% apart between <b>small</b> and large", "figures": {}},
    {"check": "calibration", "outcome": "pass", "said": "bias -3.8% in total", "figures": {}},
]
RECORD = {
    "model": "demand",
    "outcome": "pass",
    "reasons": ["deviance -3.3% against poisson_glm"],
    "findings": FINDINGS,
    "files": {},
    "champion": "4",
    "judged_at": "2018-01-02T05:00:00+00:00",
    "code": {"digest": "c0de", "commit": "abc"},
}


@pytest.fixture(scope="module")
def made(frame):
    pins = {"data_digest": "d1", "first_week": 14, "last_week": 53, "as_of": "2018-01-02T05:00:00+00:00"}
    candidate = train(TrainingSet(frame(), pins), settings=load_settings(search_trials=1, threads=1))
    signed = sign(RECORD, key="k")
    return candidate, signed, model_card.model_card(candidate, signed)


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    model_card.write(made[2], folder)
    return folder


@pytest.mark.parametrize("name", [model_card.HTML, model_card.MARKDOWN])
def test_every_page_tells_scores_findings_limits_uses_and_the_signature(made, folder, name):
    candidate, signed, card = made
    page = unescape((folder / name).read_text())
    deviance = candidate.evaluation.table.loc["demand", "poisson_deviance"]
    told = [f"{deviance:.4f}", signed.sha256, signed.signature, "data_digest=d1", "champion version 4", "c0de"]
    told += [f["said"] for f in FINDINGS] + card["limits"] + card["not_for"] + card["intended_use"] + card["errors"]
    assert [what for what in told if what not in page] == []
    assert "seasonal_naive: not available" in page


def test_the_html_stands_alone_and_escapes_what_it_is_told(folder):
    page = (folder / model_card.HTML).read_text()
    assert "<b>small</b>" not in page
    assert "http" not in page
    assert page.count("<table>") == page.count("</table>") == 5


def test_the_json_holds_the_figures_of_the_evaluation(made, folder):
    candidate, _, card = made
    stored = json.loads((folder / model_card.JSON).read_text())
    assert stored == json.loads(json.dumps(card))
    scores = {row["forecast"]: row for row in stored["scores"]}
    assert scores["mean_all"]["model_against_it"]["estimate"] == candidate.evaluation.versus["mean_all"].estimate
    assert [row["is_model"] for row in stored["scores"]].count(True) == 1
    assert stored["coverage"]["estimate"] == candidate.evaluation.coverage.estimate
    assert sum(stored["drivers"].values()) == pytest.approx(1.0)


def test_the_description_of_a_version_fits_where_mlflow_keeps_it(made):
    card = made[2]
    assert "**Gate: pass.**" in model_card.description(card)
    assert card["not_for"][0] in model_card.description(card)
    long = {**card, "verdict": {**card["verdict"], "reasons": ["x" * 300] * 40}}
    assert len(model_card.description(long)) == model_card.LONGEST_DESCRIPTION
