"""The real Evidently on small frames: what its pages say, how large they are, and that nothing leaves the house."""

import re
import sys

import numpy as np
import pandas as pd
import pytest

from monitoring import evidently_reports
from monitoring.drift import measure_drift
from monitoring.evidently_reports import MAX_BYTES, ReportError, drift_report, performance_report

COLUMNS = ["transactions_lag_1", "base_price_13w", "display_share_13w", "never_filled"]


def features(seed, rows=600):
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "transactions_lag_1": draw.poisson(0.4, rows).astype(np.float64),
            "base_price_13w": draw.normal(3, 0.5, rows),
            "display_share_13w": 0.2,
            "never_filled": np.nan,
        }
    )


def draw(old, new, path, columns, expected=()):
    return drift_report(old, new, drift=measure_drift(old, new, columns=columns, expected=expected), path=path)


def outcomes(seed, rows=600):
    draw = np.random.default_rng(seed)
    return pd.DataFrame({"transactions": draw.poisson(0.5, rows), "prediction": 0.75})


@pytest.fixture(scope="module")
def drift(tmp_path_factory):
    path = tmp_path_factory.mktemp("reports") / "drift.html"
    current = features(2).assign(base_price_13w=lambda f: f["base_price_13w"] + 1)
    current.loc[0, "transactions_lag_1"] = np.inf
    return draw(features(1), current, path, COLUMNS), path.read_text(encoding="utf-8")


def test_the_shifted_column_is_the_one_that_drifted(drift):
    result, page = drift
    assert result["drifted"] == ["base_price_13w"]
    assert result["left_out"] == ["never_filled"]
    assert result["sampled"] is False
    assert result["columns"]["display_share_13w"] == 0
    assert "1 of 4 inputs moved far from training: base_price_13w." in page


def test_every_drawn_column_is_in_the_page_and_the_left_out_one_is_told(drift):
    _, page = drift
    for column in COLUMNS[:3]:
        assert f'"{column}"' in page
    assert "Not drawn, because one side has no values: never_filled." in page


def test_the_page_shows_the_score_of_the_gate(drift):
    result, page = drift
    assert f'"drift_score":{result["columns"]["base_price_13w"]:.5g}' in page
    assert '"PSI"' in page


def test_what_the_calendar_moves_is_drawn_and_not_counted(tmp_path):
    moved = features(2).assign(base_price_13w=lambda f: f["base_price_13w"] + 1)
    result = draw(features(1), moved, tmp_path / "drift.html", COLUMNS[:3], expected=["base_price_13w"])
    page = (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert result["drifted"] == []
    assert "0 of 2 inputs moved far from training." in page
    assert "The calendar moves base_price_13w: shown, and not counted above." in page
    assert f'"drift_score":{result["columns"]["base_price_13w"]:.5g}' in page


@pytest.mark.parametrize(
    ("moved", "expected", "said"),
    [
        (1, 0, "Dataset Drift is NOT detected. Dataset drift detection threshold is 0.24"),  # 1 of 6 watched
        (2, 0, "Dataset Drift is detected."),  # 2 of 6
        (2, 1, "Dataset Drift is detected."),  # 1 of 5, the crowd exactly
        (2, 2, "Dataset Drift is NOT detected."),
    ],
)
def test_what_evidently_says_of_all_columns_is_what_the_gate_says(tmp_path, moved, expected, said):
    names = [f"x{at}" for at in range(5)]
    old, new = (pd.DataFrame(np.random.default_rng(s).normal(size=(600, 5)), columns=names) for s in (1, 2))
    new[names[:moved]] += 2
    measured = measure_drift(
        old.assign(empty=np.nan), new.assign(empty=np.nan), columns=[*names, "empty"], expected=names[:expected]
    )
    drift_report(old, new, drift=measured, path=tmp_path / "drift.html")
    page = (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert said in page
    assert (measured.state == "breach") == ("NOT" not in said)
    assert f"{moved - expected} of {6 - expected} inputs moved far" in page
    assert f"({moved - expected} out of 5)" in page


def test_the_page_needs_nothing_from_outside_and_stays_small(drift):
    _, page = drift
    assert len(page.encode()) < MAX_BYTES
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", page)


def test_no_telemetry_is_loaded_by_drawing_a_report(drift):
    assert drift
    assert "evidently.telemetry" not in sys.modules
    assert "iterative_telemetry" not in sys.modules


def test_the_performance_page_tells_error_and_direction_in_words(tmp_path):
    path = tmp_path / "performance.html"
    current = outcomes(2)
    result = performance_report(outcomes(1), current, target="transactions", prediction="prediction", path=path)
    error = 0.75 - current["transactions"]
    assert result["mean_error"] == pytest.approx(error.mean())
    assert result["mae"] == pytest.approx(error.abs().mean())
    assert result["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    page = path.read_text(encoding="utf-8")
    assert "In total predictions are too high" in page
    assert "Mean Error: Current" in page
    assert len(page.encode()) < MAX_BYTES


def test_large_frames_are_sampled_the_same_way_every_time_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(evidently_reports, "MAX_ROWS", 100)
    columns, moved = ["base_price_13w"], features(2).assign(base_price_13w=lambda f: f["base_price_13w"] + 0.1)
    first = draw(features(1), moved, tmp_path / "1.html", columns)
    again = draw(features(1), moved, tmp_path / "2.html", columns)
    assert first == again
    assert first["sampled"] is True
    page = (tmp_path / "1.html").read_text(encoding="utf-8")
    gate = measure_drift(features(1), moved, columns=columns).columns[0].psi
    assert f'"drift_score":{gate:.5g}' in page, "the gate's score, of all rows"
    assert "fixed random sample of at most 100 rows a side, out of 600 training rows, 600 current rows" in page


def test_nothing_to_draw_is_a_named_error_and_leaves_no_file(tmp_path):
    path = tmp_path / "drift.html"
    with pytest.raises(ReportError, match="no column has values"):
        draw(features(1), features(2), path, ["never_filled"])
    with pytest.raises(ReportError, match="no row has both transactions and prediction"):
        performance_report(outcomes(1), outcomes(2).head(0), target="transactions", prediction="prediction", path=path)
    assert not path.exists()


def test_a_page_over_the_limit_is_refused_and_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(evidently_reports, "MAX_BYTES", 1000)
    path = tmp_path / "drift.html"
    with pytest.raises(ReportError, match="draw fewer columns"):
        draw(features(1), features(2), path, ["base_price_13w"])
    assert not path.exists()
