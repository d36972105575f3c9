"""A serving process needs neither MLflow nor its artifacts, nor the libraries of training and feature store."""

import subprocess
import sys

import pytest

from poplift.settings import child_environment
from tests.served_home import served_home
from tests.unit.serving.conftest import train

PROGRAM = """
import sys, threading, time
import httpx, uvicorn
from poplift.settings import load_settings
from serving.app import create_app

server = uvicorn.Server(uvicorn.Config(create_app(load_settings()), port=0, log_level="error", ws="none"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.01)
try:
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        known = {"outlet_id": "367", "ppg_id": "m1208-soft-drinks-12-18-15pk-can-car"}
        for answer in (
            client.get("/readyz"),
            client.get("/v1/recommendations/367"),
            client.post("/v1/demand", json={"rows": [known]}),
            client.get("/metrics"),
            client.get("/openapi.json"),
            client.post("/v1/releases/rollback", json={"why": "drill", "release_id": "another"}),
        ):
            assert answer.status_code == (409 if "rollback" in str(answer.url) else 200), answer.text
finally:
    server.should_exit = True
    thread.join()
heavy = "pandas sklearn feast mlflow lightgbm ibis duckdb pyarrow sqlalchemy scipy prefect matplotlib".split()
# nobody asked for traces; redis-py takes the metrics of the SDK along where it is installed, the serving image has none
heavy += ["opentelemetry.sdk.trace", "opentelemetry.exporter", "requests", "grpc"]
assert not set(heavy) & set(sys.modules), set(heavy) & set(sys.modules)
"""


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return train(tmp_path_factory.mktemp("model") / "demand")


@pytest.fixture
def served(either_home, tmp_path, model_folder):
    return served_home(either_home.settings, tmp_path / "var", model_folder)


def test_a_process_starts_and_answers_without_mlflow_and_artifacts_and_loads_none_of_the_heavy_libraries(
    served, free_port
):
    away = {"POPLIFT_MLFLOW_URL": f"http://127.0.0.1:{free_port}", "POPLIFT_ARTIFACT_URL": "s3://nowhere"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=child_environment(served, **away),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
