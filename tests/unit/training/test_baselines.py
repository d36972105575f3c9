import numpy as np
import pytest

from poplift.statistics import poisson_deviance
from training.baselines import fit_baselines


def test_every_baseline_forecasts_every_cell_with_a_number(frame):
    past, held_out = frame().query("week <= 40"), frame().query("week > 40")
    forecasts = fit_baselines(past, target_weeks=(41, 53)).predict(held_out)
    assert set(forecasts) == {"all_zero", "mean_4w", "mean_13w", "mean_all", "poisson_glm"}
    for name, forecast in forecasts.items():
        assert forecast.shape == (len(held_out),), name
        assert np.isfinite(forecast).all(), name
        assert (forecast >= 0).all(), name


def test_the_regression_finds_what_the_means_cannot_know(frame):
    past, held_out = frame().query("week <= 40"), frame().query("week > 40")
    forecasts = fit_baselines(past, target_weeks=(41, 53)).predict(held_out)
    y = held_out["transactions"].to_numpy()
    assert (
        poisson_deviance(y, forecasts["poisson_glm"]).mean() < 0.9 * poisson_deviance(y, forecasts["mean_all"]).mean()
    )


def test_last_year_is_said_to_be_missing_until_there_is_one(frame):
    fitted = fit_baselines(frame().query("week <= 40"), target_weeks=(41, 53))
    assert "52 weeks of history" in fitted.unavailable["seasonal_naive"]


def test_last_year_is_the_same_week_a_year_ago(frame):
    past = frame(last_week=70)
    fitted = fit_baselines(past, target_weeks=(67, 70))
    target = past.query("week == 68")
    forecast = fitted.predict(target)["seasonal_naive"]
    year_ago = past.query("week == 16").set_index(["outlet_id", "ppg_id"])["transactions"]
    expected = [year_ago[key] for key in zip(target["outlet_id"], target["ppg_id"], strict=True)]
    assert forecast == pytest.approx(np.array(expected))
