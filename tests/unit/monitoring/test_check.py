"""A monitoring run leaves pages, figures and a verdict, whatever breaks on the way."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from feature_repo.catalog import VIEWS
from monitoring.check import check
from monitoring.index_page import Link
from monitoring.performance import measure_accuracy
from monitoring.promise import Kept
from monitoring.skew import SkewSummary
from monitoring.verdict import Figure, Finding
from poplift.statistics import Interval

AS_OF = datetime(2018, 1, 2, 5, tzinfo=UTC)
COLUMNS = ["transactions_lag_1", "base_price_13w", "weeks_to_holiday"]


def features(seed):
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(600, 3)), columns=COLUMNS)


def outcomes():
    place = np.arange(600)
    sold = np.random.default_rng(5).poisson(1.0, 600)
    return pd.DataFrame(
        {"outlet_id": place % 60, "ppg_id": place // 60, "week": 53, "transactions": sold, "prediction": 1.0}
    )


@pytest.fixture
def inputs(tmp_path):
    fresh = {view.name: AS_OF - timedelta(days=1) for view in VIEWS}
    return {
        "reference": features(1),
        "current": features(2),
        "columns": COLUMNS,
        "evaluation": outcomes(),
        "outcomes": outcomes(),
        "promised": measure_accuracy(outcomes()),
        "views": VIEWS,
        "newest_offline": fresh,
        "newest_online": fresh,
        "skew": lambda: SkewSummary(10, 370, {}, ()),
        "reports_dir": tmp_path / "reports",
        "as_of": AS_OF,
        "progress": [].append,
    }


def figures(inputs):
    return json.loads((inputs["reports_dir"] / "monitoring.json").read_text(encoding="utf-8"))


def test_a_healthy_run_is_ok_and_writes_its_four_files(inputs):
    told = []
    verdict = check(**{**inputs, "progress": told.append})
    assert (verdict.status, verdict.reasons) == ("ok", ())
    names = sorted(path.name for path in inputs["reports_dir"].iterdir())
    assert names == ["drift.html", "index.html", "monitoring.json", "performance.html"]
    assert told[-1] == "Verdict: ok"


def test_the_figures_are_plain_json_with_ages_in_days(inputs):
    check(**inputs)
    written = figures(inputs)
    assert written["as_of"] == AS_OF.isoformat()
    assert written["holds_promotion"] is False
    assert {row["age"] for row in written["freshness"]} == {1.0}
    assert len(written["freshness"]) == 2 * len(VIEWS)
    assert [column["column"] for column in written["drift"]["columns"]].count("weeks_to_holiday") == 1
    assert written["performance"]["weeks"] == [53]


def test_the_season_moving_on_does_not_call_anybody(inputs):
    verdict = check(**{**inputs, "current": features(2).assign(weeks_to_holiday=1.0)})
    assert verdict.status == "ok"


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("outcomes", "Performance check failed: there are no outcomes yet."),
        ("promised", "Performance check failed: the release carries no promise."),
        ("evaluation", "Performance page failed: there are no evaluation rows."),
        ("newest_online", "Online freshness check failed: the online store was not read."),
        ("newest_offline", "Offline freshness check failed: the offline store was not read."),
    ],
)
def test_an_input_that_could_not_be_had_holds_promotion(inputs, missing, said):
    verdict = check(**{**inputs, missing: None})
    assert (verdict.status, verdict.holds) == ("unknown", True)
    assert said in verdict.reasons
    assert figures(inputs)["status"] == "unknown"


def test_one_store_that_is_down_does_not_hide_the_ages_of_the_other(inputs):
    check(**{**inputs, "newest_online": None})
    assert {row["store"] for row in figures(inputs)["freshness"]} == {"offline"}


def test_a_page_that_cannot_be_drawn_is_removed_and_not_left_from_last_week(inputs):
    check(**inputs)
    verdict = check(**{**inputs, "current": features(2).drop(columns="base_price_13w")})
    assert verdict.status == "unknown"
    assert verdict.reasons[0].startswith("Drift check failed: the current frame lacks base_price_13w")
    assert not (inputs["reports_dir"] / "drift.html").exists()
    assert "Not written yet." in (inputs["reports_dir"] / "index.html").read_text(encoding="utf-8")


def test_further_reports_are_listed_first(inputs):
    check(**inputs, links=[Link("Model report", "https://example.org/model", "scores")])
    page = (inputs["reports_dir"] / "index.html").read_text(encoding="utf-8")
    assert page.index("Model report") < page.index("As good as promised?")


def kept(state, reasons=()):
    change = Interval(0.3, 0.2, 0.4, 0.95)
    return Kept(
        "r1", 900, 800, (51, 53), 600, {"superseded": 100}, 0.7, 0.02, 0.8, 0.5, change, change, change, state, reasons
    )


def test_what_became_of_the_decisions_is_a_row_per_release_on_the_page_and_in_the_figures(inputs):
    verdict = check(**inputs, brought=lambda: (kept("ok"),), served="r1")
    assert verdict.status == "ok"
    page = (inputs["reports_dir"] / "index.html").read_text(encoding="utf-8")
    for said in (
        "What became of the decisions",
        "800 of 900",
        "100 superseded",
        "51 to 53",
        "+30.0% (+20.0% to +40.0%)",
    ):
        assert said in page
    assert figures(inputs)["decisions"][0]["deviance_change"]["low"] == 0.2


def test_a_promise_broken_by_the_release_that_serves_holds_promotion(inputs):
    verdict = check(**inputs, brought=lambda: (kept("breach", ("Decisions of release r1: worse.",)),), served="r1")
    assert (verdict.status, verdict.holds) == ("breach", True)
    assert verdict.reasons[0] == "Decisions of release r1: worse."


def test_a_further_check_has_a_say_and_one_that_breaks_is_unknown(inputs):
    tile = Figure("moves", "Moves", 1.0, "1", "", "breach")
    verdict = check(**inputs, further={"Ledger check": lambda: Finding("breach", ("nobody answers",), tile)})
    assert (verdict.status, verdict.reasons) == ("breach", ("nobody answers",))
    assert tile in verdict.figures
    verdict = check(**inputs, further={"Ledger check": lambda: 1 / 0})
    assert verdict.reasons == ("Ledger check failed: ZeroDivisionError: division by zero.",)
