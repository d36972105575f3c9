"""The story of a fit: refutations that a good fit stands and a bad one does not, a second opinion, an honest page."""

import re
from dataclasses import replace

import numpy as np
import pytest

from poplift.assumptions import Assumptions
from training.effects import refutation
from training.effects.estimate import EstimateError
from training.effects.learn import describe, learn
from training.effects.refutation import refute


@pytest.fixture(scope="module")
def fit(known):
    observations = known.observations()
    return learn(observations, assumptions=Assumptions(), pins=describe(observations), seed=1, threads=1)


def test_an_honest_fit_stands_all_attempts_to_refute_it(fit):
    assert [one.name for one in fit.refutations] == ["placebo", "future", "random common cause", "subset"]
    assert all(one.stands for one in fit.refutations), fit.refutations


def test_sales_that_follow_an_activation_of_another_week_do_not_stand_the_placebo(known):
    observations = known.observations()
    # whatever is planned a quarter later already sells today: no cause, and it must be seen
    later = np.roll(observations.treatment[..., 0], -13, axis=0)
    sold = np.round(observations.transactions * np.exp(1.5 * later))
    (future,) = [
        one for one in refute(replace(observations, transactions=sold), seed=1, threads=1) if one.name == "future"
    ]
    assert not future.stands


def test_an_attempt_that_cannot_be_made_is_reported_and_the_fit_is_kept(known, monkeypatch, tmp_path):
    real = refutation.estimate

    def without_a_future(panel, **asked):
        if not panel.explored.any():  # both placebos forget what was drawn
            raise EstimateError("two components always ran together")
        return real(panel, **asked)

    monkeypatch.setattr(refutation, "estimate", without_a_future)
    observations = known.observations()
    kept = learn(observations, assumptions=Assumptions(), pins=describe(observations), seed=1, threads=1)
    assert [one.name for one in kept.refutations if one.failed] == ["placebo", "future"]
    assert [one.stands for one in kept.refutations] == [False, False, True, True]
    assert all(np.isfinite(value) for value in kept.metrics().values())
    kept.write_artifacts(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Could not be tried: placebo (two components always ran together)" in page
    assert "Did not stand up to" not in page


def test_of_an_estimate_that_did_not_settle_all_evidence_is_thin_and_the_page_says_so(known, monkeypatch, tmp_path):
    monkeypatch.setattr("training.effects.estimate.MOST_STEPS", 1)
    monkeypatch.setattr("training.effects.estimate.FIRST_STEPS", 1)
    observations = known.observations()
    rough = learn(observations, assumptions=Assumptions(), pins=describe(observations), seed=1, threads=1)
    assert rough.metrics()["settled"] == 0
    assert rough.sufficient_share == 0
    assert set(rough.table.averages.set_index("activation")["evidence"].drop("none")) == {"thin"}
    assert all(one.failed for one in rough.refutations)
    rough.write_artifacts(tmp_path)
    assert "Nothing here may be planned by: the estimate did not settle" in (tmp_path / "report.html").read_text()


def test_an_estimate_of_a_panel_that_tells_everything_settles(fit):
    assert fit.metrics()["settled"] == 1


def test_econml_agrees_on_what_a_display_adds_to_its_ppg(fit):
    display = next(one for one in fit.opinions if one.activation == "display")
    assert display.econml == pytest.approx(display.ours, rel=0.3)


def test_the_page_says_what_was_found_and_what_the_data_cannot_say(fit, tmp_path):
    fit.write_artifacts(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "display+mailer+price_cut_20" in page
    assert "No empty shelf is recorded" in page
    assert "Declared, not measured" in page
    assert not re.search(r"(src|href)=\"http", page)
    assert {p.name for p in (tmp_path / "tables").iterdir()} == {
        "averages.csv",
        "effects.parquet",
        "sensitivity.csv",
        "parameters.csv",
    }


def test_every_metric_is_a_finite_number(fit):
    metrics = fit.metrics()
    assert all(np.isfinite(value) for value in metrics.values())
    assert metrics["parameter_display"] == pytest.approx(fit.estimate.coefficient("display")[0])
