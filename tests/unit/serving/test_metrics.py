"""The counters of /metrics move, by route template, also in a process that imported Feast."""

import re
import shutil
import subprocess
import sys
import time
from typing import Any

import httpx
import numpy as np
import pytest

from poplift.assumptions import CPU_HOUR_USD
from serving.metrics import Metrics


def sample(client: httpx.Client, line: str) -> float:
    text = client.get("/metrics").text
    found = [row.rsplit(" ", 1)[1] for row in text.splitlines() if row.startswith(line + " ")]
    return float(found[0]) if found else 0.0


def test_requests_are_counted_by_route_template_and_status(client: httpx.Client) -> None:
    for outlet in ("367", "406", "nowhere"):
        client.get(f"/v1/recommendations/{outlet}")
    client.get("/nothing/here")
    route = 'poplift_http_requests_total{method="GET",route="/v1/recommendations/{outlet_id}"'
    assert sample(client, route + ',status="200"}') == 2
    assert sample(client, route + ',status="404"}') == 1
    assert sample(client, 'poplift_http_requests_total{method="GET",route="unmatched",status="404"}') == 1
    assert "nowhere" not in client.get("/metrics").text


def test_ages_gaps_answers_and_the_release_are_shown(client: httpx.Client, store: Any, active: Any) -> None:
    store.rows["outlet_trend", "367"]["outlet_baskets_4w"] = float("nan")
    client.get("/v1/recommendations/367?limit=4")
    assert sample(client, 'poplift_feature_age_seconds{view="ppg_trend"}') == 86400.0
    assert sample(client, 'poplift_feature_missing_total{view="outlet_trend"}') == 27
    assert sample(client, 'poplift_answers_total{degraded="false",kind="recommendation"}') == 4
    assert sample(client, f'poplift_release_info{{id="{active.id}",model="demand",version="1"}}') == 1
    assert sample(client, "poplift_release_current") == 1


def test_the_parts_of_an_answer_are_timed_and_together_they_are_most_of_it(client: httpx.Client) -> None:
    for _ in range(5):
        client.get("/v1/recommendations/367")
    stages = ("feature_read", "model", "policy", "explain", "answer")
    counts = [sample(client, f'poplift_stage_duration_seconds_count{{stage="{stage}"}}') for stage in stages]
    assert counts == [5] * 5
    parts = sum(sample(client, f'poplift_stage_duration_seconds_sum{{stage="{stage}"}}') for stage in stages)
    route = 'method="GET",route="/v1/recommendations/{outlet_id}"'
    whole = sample(client, f"poplift_http_request_duration_seconds_sum{{{route}}}")
    assert 0.3 * whole < parts < whole


def test_rows_answered_with_defaults_are_counted_by_view_and_reason(client: httpx.Client, store: Any) -> None:
    store.events["ppg_trend"] = np.datetime64("2017-06-01T05:00:00", "us")
    del store.rows["outlet_trend", "367"]
    client.get("/v1/recommendations/367")
    client.get("/v1/recommendations/nowhere")
    assert sample(client, 'poplift_feature_fallbacks_total{reason="expired",view="ppg_trend"}') == 27
    assert sample(client, 'poplift_feature_fallbacks_total{reason="missing",view="outlet_trend"}') == 27


def test_processor_time_and_what_decisions_cost_are_shown(client: httpx.Client) -> None:
    assert "\npoplift_cost_per_million_decisions_usd " not in client.get("/metrics").text
    client.get("/v1/recommendations/367")
    seconds = sample(client, "poplift_process_cpu_seconds_total")
    assert 0 < seconds <= time.process_time()
    cost = sample(client, "poplift_cost_per_million_decisions_usd")
    rows = sample(client, 'poplift_answers_total{degraded="false",kind="recommendation"}')
    assert cost == pytest.approx(seconds / rows * 1e6 / 3600 * CPU_HOUR_USD, rel=0.2)
    assert sample(client, "poplift_cpu_hour_price_usd") == CPU_HOUR_USD


UNITS = ("_seconds", "_usd", "_total", "_info")
WITHOUT_UNIT = {  # a count of now, and yes or no
    "poplift_http_requests_in_flight",
    "poplift_release_current",
    "poplift_online_store_breaker_open",
}


def test_every_series_is_named_by_the_conventions_of_prometheus() -> None:
    families = list(Metrics().series().collect())
    for family in families:
        assert re.fullmatch(r"poplift_[a-z][a-z_]*[a-z]", family.name), family.name
        assert family.documentation.endswith("."), family.name
        name = family.name + "_total" * (family.type == "counter")
        assert name.endswith(UNITS) or name in WITHOUT_UNIT, name
        assert not name.endswith("_total") or family.type == "counter", name
    assert len(families) == len({family.name for family in families}) > 15


@pytest.mark.slow
def test_promtool_finds_nothing_to_say_about_the_names(client: httpx.Client) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: .ci/run brings it")
    client.get("/v1/recommendations/367")
    text = client.get("/metrics").text
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


FEAST_FIRST = """
import feast
from serving.metrics import Metrics
metrics = Metrics()
metrics.decisions_written.inc(3)
metrics.requests.labels("GET", "/x", "200").inc()
text = metrics.render().decode()
assert "poplift_decisions_written_total 3.0" in text, text
assert 'poplift_http_requests_total{method="GET",route="/x",status="200"} 1.0' in text, text
"""
METRICS_FIRST = FEAST_FIRST.replace("import feast\n", "").replace(
    "metrics = Metrics()", "import feast\nmetrics = Metrics()"
)


@pytest.mark.parametrize("program", [FEAST_FIRST, METRICS_FIRST], ids=["feast first", "metrics first"])
def test_the_counters_move_whichever_of_feast_and_the_metrics_is_imported_first(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
