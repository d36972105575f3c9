"""The whole loop on the full demo data, in both profiles: the same answers, and nothing done twice."""

import json
import re

import httpx
import pandas as pd
import pytest

from feature_repo.build import table_path
from flows.api_process import free_port, running_api
from poplift import registry
from serving.release import HEADS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

KEYS = ["outlet_id", "ppg_id"]
OUTLETS = 8


def release_folder(profile):
    return profile.settings.releases_dir / json.loads(profile.first.state.release)["id"]


def scores(profile):
    (file,) = profile.settings.predictions_dir.rglob("*.parquet")
    return pd.read_parquet(file)


def outlets(profile):
    cells = pd.read_parquet(table_path(profile.settings.features_dir, "outlet_ppg_sales"), columns=KEYS)
    return sorted(set(cells["outlet_id"]))


def told(profile):
    """Answers of a real API for some outlets, without what names the run."""
    answers = []
    with running_api(profile.settings, port=free_port()) as client:
        for outlet in outlets(profile)[:: 108 // OUTLETS]:
            answer = client.get(f"/v1/recommendations/{outlet}", params={"limit": 100})
            assert answer.status_code == httpx.codes.OK, answer.text
            answers.append(answer.json())
        metrics = client.get("/metrics").text
    return [without_names(a) for a in answers], metrics


def without_names(value):
    names = {"request_id", "decision_id", "release"}
    if isinstance(value, dict):
        return {k: without_names(v) for k, v in value.items() if k not in names}
    return [without_names(v) for v in value] if isinstance(value, list) else value


def test_the_demo_ends_with_a_summary_and_without_a_warning(profile):
    output = profile.first.output
    steps = re.findall(r"✓ (.*?) [\d.]+ s", output)
    assert steps[0] == "Ingest and validate"
    assert steps[-1] == "Ask the API for recommendations over HTTP"
    assert re.search(r"promoted: demand version 1 is champion", output)
    assert re.search(r"Gate on the Poisson GLM: (refuse|not enough evidence)", output)
    assert re.search(r"Done in \d+ s\.", output)
    assert "Traceback" not in output
    assert "Warning" not in output


def test_a_second_demo_changes_nothing(profile):
    assert profile.second.state == profile.first.state
    assert profile.second.state.versions == ("1",)
    assert "nothing new: complete_journey with this content is in the lake already" in profile.second.output
    assert "nothing to train" in profile.second.output


def test_the_coming_week_is_scored_for_every_managed_cell_and_every_candidate(profile):
    frame = scores(profile)
    policy = json.loads((release_folder(profile) / "policy.json").read_text())
    assert len(frame) == 108 * 27 * len(policy["candidates"])
    assert not frame.duplicated([*KEYS, "activation"]).any()
    assert set(frame["week_start"].astype(str)) == {"2018-01-01"}
    assert set(frame["status"]) == {"scored"}
    assert not frame["degraded"].any()
    assert (frame["transactions_low"] <= frame["transactions_high"]).all()


def test_the_reports_are_whole_pages_that_fetch_nothing_from_outside(profile):
    pages = {p.name: p.read_text() for p in profile.settings.reports_dir.rglob("*.html")}
    assert {"index.html", "model.html"} <= set(pages)
    for name, page in pages.items():
        assert page.rstrip().lower().endswith("</html>"), name
        assert not re.findall(r"<(?:script|link|img)\b[^>]*\b(?:src|href)=\"?https?://[^\" >]*", page), name


@pytest.mark.services
def test_both_profiles_train_the_same_model_byte_for_byte(local, production):
    first, second = release_folder(local), release_folder(production)
    for name in [*(f"{head}.lgb" for head in HEADS), "plan.json", "policy.json", "golden.json"]:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


@pytest.mark.services
def test_both_profiles_forecast_the_same_coming_week(local, production):
    names = ["release_id", "model_version"]
    pd.testing.assert_frame_equal(
        scores(local).drop(columns=names), scores(production).drop(columns=names), check_exact=True
    )


@pytest.mark.services
def test_both_profiles_recommend_the_same_over_http(local, production):
    here, metrics = told(local)
    there, _ = told(production)
    assert here == there
    assert sum(len(a["recommendations"]) for a in here) > OUTLETS
    assert not any(a["degraded"] for a in here)
    counted = re.findall(r"^poplift_\w*recommendations_total\{.*\} ([\d.]+)$", metrics, re.MULTILINE)
    assert sum(map(float, counted)) == sum(len(a["recommendations"]) for a in here)


@pytest.mark.services
def test_production_keeps_its_state_in_the_servers_and_none_in_sqlite(production, redis_url):
    import redis

    settings = production.settings
    assert list(settings.home.rglob("*.db")) == []
    host, port = redis_url.split(":")
    with redis.Redis(host=host, port=int(port), socket_timeout=5) as client:
        keys = sum(1 for _ in client.scan_iter(f"*{settings.database_prefix}*", count=5000))
    assert keys >= 108 * 27
    assert registry.by_alias(settings, name="demand", alias=registry.CHAMPION).version == "1"


def test_the_served_forecast_is_the_batch_forecast(local):
    frame = scores(local)
    asked = frame[(frame["activation"] == "none")].head(50)
    with running_api(local.settings, port=free_port()) as client:
        rows = [{"outlet_id": o, "ppg_id": p} for o, p in asked[KEYS].itertuples(index=False)]
        answer = client.post("/v1/demand", json={"rows": rows})
    assert answer.status_code == httpx.codes.OK, answer.text
    served = pd.DataFrame(answer.json()["rows"])
    for name in ("transactions", "transactions_low", "transactions_high", "units"):
        assert served[name].tolist() == pytest.approx(asked[name].tolist(), rel=1e-9), name
