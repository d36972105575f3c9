"""The ways to start a step agree: prefect.yaml, its flows and the `poplift` command; mistakes are told in one line."""

import importlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("feast", "mlflow", "prefect", "lightgbm", "pandas", "ibis", "duckdb", "fastapi", "evidently", "sklearn")
HELP_SECONDS = 0.3
HELP_SLACK = 3  # times: the machine that runs the tests does other things too
# Commands that are no step of a schedule.
NOT_FLOWS = {
    "init",
    "serve",
    "demo",
    "up",
    "rollback",
    "stream",
    "ledger",
    "trace",
    "off-policy",
    "cost",
    "keys",
    "simulate",
    "study",
    "loop",
    "experiment",
}


def deployments():
    return yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.fixture(scope="module")
def flows():
    """Flows of flows/deployments.py by name."""
    from prefect import Flow

    module = importlib.import_module("flows.deployments")
    return {f.name: f for f in vars(module).values() if isinstance(f, Flow)}


def poplift(*arguments, home, **environment):
    """Run the command as a person would, in a home of its own."""
    from poplift.settings import child_environment, load_settings

    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        env=child_environment(load_settings(home=home), **environment),
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_flow_is_deployed_and_every_deployment_is_a_flow(flows):
    deployed = {d["entrypoint"]: d["name"] for d in deployments()}
    assert deployed == {f"flows/deployments.py:{f.fn.__name__}": name for name, f in flows.items()}


def test_every_entrypoint_is_loaded_as_prefect_loads_it(flows, monkeypatch):
    from prefect.flows import load_flow_from_entrypoint

    monkeypatch.chdir(ROOT)
    for deployment in deployments():
        loaded = load_flow_from_entrypoint(deployment["entrypoint"])
        assert loaded.name == deployment["name"]
        assert loaded.description


def test_every_deployment_runs_alone_in_the_pool_that_the_worker_works(flows):
    from flows.worker import POOL

    for deployment in deployments():
        assert deployment["work_pool"]["name"] == POOL
        is_often = any("interval" in schedule for schedule in deployment.get("schedules", ()))
        strategy = "CANCEL_NEW" if is_often else "ENQUEUE"  # what came due while nothing ran must not queue up
        assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": strategy}


def test_every_flow_has_a_command_of_its_name(flows):
    from typer.main import get_command

    from flows.cli import app

    assert set(get_command(app).commands) == set(flows) | NOT_FLOWS


def test_the_first_page_lists_the_pages_of_other_steps_by_the_names_they_write():
    from flows.steps import effects, loop, monitor, release
    from serving.planner import publish

    written = {release.MODEL_PAGE, publish.PAGE, effects.REPORT, loop.PAGE}
    assert {page.href for page in monitor.PAGES} == written


def test_prefect_is_pinned_to_the_version_its_file_was_written_for():
    import prefect

    assert yaml.safe_load((ROOT / "prefect.yaml").read_text())["prefect-version"] == prefect.__version__


def test_help_names_every_command_at_once_and_imports_nothing_heavy(tmp_path, flows):
    program = (
        "import sys\nfrom flows import cli\nsys.argv = ['poplift', '--help']\n"
        "try:\n    cli.main()\nfinally:\n"
        f"    print('HEAVY', sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    took = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        took.append(time.perf_counter() - began)
    assert "HEAVY []" in done.stdout
    assert all(f" {name} " in done.stdout for name in set(flows) | NOT_FLOWS)
    assert min(took) < HELP_SECONDS * HELP_SLACK


def test_an_error_of_the_product_is_one_line_that_says_what_to_do(tmp_path):
    done = poplift("score", home=tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        f"error: {tmp_path}/releases: no release was activated yet; run `poplift release`\n",
    )


def test_an_order_of_steps_that_cannot_work_names_the_step_before(tmp_path):
    done = poplift("features", home=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: table ")
    assert done.stderr.endswith("run `poplift ingest` first\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("wrong", [["no-such-command"], ["score", "--no-such-option"], ["promote"]])
def test_wrong_usage_ends_with_two_and_names_what_was_wrong(tmp_path, wrong):
    done = poplift(*wrong, home=tmp_path)
    assert done.returncode == 2
    assert (wrong[-1] if len(wrong[-1]) > 8 else "--why") in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("POPLIFT_API_PORT", "eighty", "POPLIFT_API_PORT: "),
        ("POPLIFT_BUSINESS_TIME", "2018-01-02", "POPLIFT_BUSINESS_TIME: "),
        ("POPLIFT_PROFILE", "staging", "POPLIFT_PROFILE='staging' is not a profile; choose one of: local, production"),
        ("POPLIFT_PROFILE", "production", "profile 'production' needs POPLIFT_POSTGRES_URL, POPLIFT_REDIS_URL"),
        ("POPLIFT_HOEM", "x", "POPLIFT_HOEM"),
    ],
)
def test_a_wrong_setting_is_told_by_the_name_of_its_variable(tmp_path, variable, value, said):
    done = poplift("score", home=tmp_path, **{variable: value})
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_error_of_a_library_is_one_line_and_the_whole_of_it_is_kept(tmp_path):
    (tmp_path / "lake").write_text("a file where a folder should be")
    done = poplift("ingest", home=tmp_path)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("error: ")
    kept = Path(second.removeprefix("The whole of it is in "))
    assert "Traceback (most recent call last)" in kept.read_text()
    kept.unlink()
