import numpy as np
import pandas as pd
import pytest

from poplift.settings import load_settings
from training.dataset import TrainingSet
from training.demand import load
from training.train import train


@pytest.fixture(scope="module")
def candidate(frame):
    lines: list[str] = []
    pins = {"data_digest": "d1", "first_week": 14, "last_week": 53, "as_of": "2018-01-02T05:00:00+00:00"}
    made = train(TrainingSet(frame(), pins), settings=load_settings(search_trials=1, threads=1), progress=lines.append)
    assert any("trial 1 of 1" in line for line in lines)
    return made


def test_a_candidate_was_judged_on_weeks_it_never_saw(candidate):
    assert candidate.model.plan["trained_through_week"] == 40
    assert sorted(candidate.evaluation.cells["week"].unique()) == list(range(41, 54))


def test_the_model_beats_the_baselines_where_the_activation_drives_demand(candidate):
    versus = candidate.evaluation.versus
    assert versus["mean_all"].high < 0
    assert set(versus) == {"all_zero", "mean_4w", "mean_13w", "mean_all", "poisson_glm"}
    assert "seasonal_naive" in candidate.evaluation.unavailable


def test_every_segment_adds_up_to_all_cells(candidate):
    cells = len(candidate.evaluation.cells)
    counted = candidate.evaluation.segments.query("forecast == 'demand'").groupby("segment")["cells"].sum()
    assert (counted == cells).all()
    assert set(counted.index) == {"promoted", "activation", "price", "outlet_size", "ppg_size"}


def test_metrics_are_flat_finite_numbers_with_names_that_a_tracker_takes(candidate):
    metrics = candidate.metrics()
    assert metrics["poisson_deviance"] < metrics["mean_all_poisson_deviance"]
    assert np.isfinite(list(metrics.values())).all()
    assert all(name.replace("_", "").isalnum() for name in metrics)


def test_the_artifacts_are_a_report_tables_and_a_model_that_loads(candidate, tmp_path):
    candidate.write_artifacts(tmp_path)
    page = (tmp_path / "report.html").read_text()
    zeros = (candidate.evaluation.cells["transactions"] == 0).mean()
    assert f"{100 * zeros:.0f} % of the held-out cells are zero" in page
    assert page.count("data:image/png;base64,") == 5
    assert "http" not in page.replace("<!doctype html>", "")
    assert "seasonal_naive: not available, needs 52 weeks of history" in page
    rows = candidate.training_set.frame.query("week == 45")
    pd.testing.assert_frame_equal(load(tmp_path / "model").predict(rows), candidate.model.predict(rows))
    assert {p.name for p in (tmp_path / "tables").iterdir()} == {
        "scores.csv",
        "segments.csv",
        "drivers.csv",
        "errors.csv",
        "surprises.csv",
    }


def test_the_drivers_that_made_the_demand_are_found(candidate):
    shares = candidate.drivers.drivers.set_index("driver")["share"]
    assert shares.sum() == pytest.approx(1.0)
    assert shares[["activation", "price"]].sum() > shares["season"]
    assert set(candidate.drivers.features["driver"]) == {"price", "activation", "season", "outlet", "history"}


def test_the_error_analysis_finds_the_planted_mistake(candidate):
    from training.error_analysis import analyse

    cells = candidate.evaluation.cells.copy()
    planted = (cells["week"] == 47) & (cells["ppg_id"] == "g2")
    cells.loc[planted, "transactions"] += 6
    errors = analyse(cells)
    assert errors.surprises.iloc[0][["ppg_id", "week"]].tolist() == ["g2", 47]
    assert any("Week 47, g2" in s and "deal that the plan does not tell" in s for s in errors.sentences)
    assert any(s.startswith("week 47 is forecast too little") for s in errors.sentences)
