"""The counters of /metrics move, by route template, also in a process that imported Feast."""

import subprocess
import sys
from typing import Any

import httpx
import pytest


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
