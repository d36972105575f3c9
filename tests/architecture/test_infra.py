"""The files of infra/ and .github pass their own linters and name only what exists."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from serving.metrics import Metrics

COMPOSE, ALERTS = "infra/compose.yaml", "infra/prometheus/alerts.yml"
FROM_PROMETHEUS = {"up"}  # written by Prometheus itself for every target


@pytest.fixture(scope="session")
def services(root: Path) -> dict[str, dict[str, Any]]:
    """The services of the team server."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((root / COMPOSE).read_text())["services"]
    return found


@pytest.fixture(scope="session")
def exported() -> set[str]:
    """Names of all series the API exports, from the registry itself."""
    names = set()
    for family in Metrics().series().collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "info": ["_info"]}
        names |= {family.name + suffix for suffix in suffixes.get(family.type, [""])}
    return names


def dashboard_panels(root: Path) -> Iterator[dict[str, Any]]:
    """Every panel of every dashboard that asks something."""
    for file in sorted((root / "infra/grafana/dashboards").glob("*.json")):
        yield from (p for p in json.loads(file.read_text())["panels"] if p["type"] != "row")


def expressions(root: Path) -> list[str]:
    """Every PromQL expression of the alert rules and the dashboards."""
    groups = yaml.safe_load((root / ALERTS).read_text())["groups"]
    alerts = [rule["expr"] for group in groups for rule in group["rules"]]
    panels = [t["expr"] for panel in dashboard_panels(root) for t in panel["targets"]]
    return [e.replace("$__rate_interval", "5m") for e in alerts + panels]


def run(*command: str, cwd: Path) -> None:
    """Fail with the linter's own words."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def program(name: str) -> str:
    """A linter installed beside the interpreter, or in the PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: pip or .ci/run brings it")
    return found


def test_every_yaml_file_passes_yamllint(root: Path, files: list[Path]) -> None:
    names = [str(f) for f in files if f.suffix in {".yaml", ".yml"}]
    run(program("yamllint"), "--strict", *names, cwd=root)


@pytest.mark.parametrize("image", ["serving", "platform"])
def test_every_dockerfile_passes_hadolint(root: Path, image: str) -> None:
    run(program("hadolint"), f"infra/images/{image}.Dockerfile", cwd=root)


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("vendor.compose-spec", COMPOSE),
        ("vendor.github-workflows", ".github/workflows/ci.yml"),
        ("vendor.github-workflows", ".github/workflows/newest.yml"),
        ("custom.github-workflows-require-timeout", ".github/workflows/ci.yml"),
        ("custom.github-workflows-require-timeout", ".github/workflows/newest.yml"),
    ],
)
def test_compose_and_workflows_keep_their_published_schema(root: Path, schema: str, file: str) -> None:
    run(program("check-jsonschema"), "--builtin-schema", schema, file, cwd=root)


def test_workflows_pass_a_security_linter(root: Path) -> None:
    run(program("zizmor"), "--offline", "--quiet", ".github/workflows", cwd=root)


def test_shell_scripts_pass_shellcheck(root: Path, texts: dict[Path, str]) -> None:
    scripts = [str(f) for f, text in texts.items() if re.match(r"#!.*\b(ba)?sh\b", text)]
    assert len(scripts) >= 2
    run(program("shellcheck"), *scripts, cwd=root)


@pytest.mark.slow
def test_promtool_accepts_the_configuration_and_its_alert_tests(root: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(root / "infra/prometheus", tmp_path / "prometheus")
    (folder / "scrape.key").write_text("a key")  # whoever sets the server up makes it
    run(program("promtool"), "check", "config", "prometheus.yml", cwd=folder)
    run(program("promtool"), "test", "rules", "alerts_test.yml", cwd=folder)


def test_every_alert_is_seen_to_fire_and_to_stay_silent(root: Path) -> None:
    groups = yaml.safe_load((root / ALERTS).read_text())["groups"]
    cases = yaml.safe_load((root / "infra/prometheus/alerts_test.yml").read_text())["tests"]
    looks = [look for case in cases for look in case["alert_rule_test"]]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    assert {look["alertname"] for look in looks if look["exp_alerts"]} == alerts
    assert {look["alertname"] for look in looks if not look["exp_alerts"]} == alerts


def test_every_expression_is_promql_over_series_that_exist(root: Path, exported: set[str]) -> None:
    asked = expressions(root)
    assert len(asked) > 20
    for expression in asked:
        promql_parser.parse(expression)
    named = {name for e in asked for name in re.findall(r"\b(?:poplift_\w+|up)\b", e)}
    assert named - exported == FROM_PROMETHEUS


def test_every_series_the_api_exports_is_looked_at(root: Path, exported: set[str]) -> None:
    named = set(re.findall(r"poplift_\w+", " ".join(expressions(root))))
    watched = {name for name in exported if not name.endswith(("_sum", "_count"))}
    assert watched - named == set()


def test_every_panel_is_explained_and_has_its_own_place(root: Path) -> None:
    panels = list(dashboard_panels(root))
    assert len(panels) == len({p["id"] for p in panels}) >= 10
    assert [p["title"] for p in panels if not p["description"] or not p["targets"]] == []
    sources = yaml.safe_load((root / "infra/grafana/provisioning/datasources/prometheus.yml").read_text())
    uids = {source["uid"] for source in sources["datasources"]}
    assert {p["datasource"]["uid"] for p in panels} <= uids
    spots = [p["gridPos"] for p in panels]
    assert all(s["x"] + s["w"] <= 24 for s in spots)
    cells = [(x, y) for s in spots for x in range(s["x"], s["x"] + s["w"]) for y in range(s["y"], s["y"] + s["h"])]
    assert len(cells) == len(set(cells)), "panels overlap"


def test_every_service_restarts_and_tells_its_health(services: dict[str, dict[str, Any]]) -> None:
    expected = {"postgres", "redis", "mlflow", "prefect", "worker", "follower", "api", "prometheus", "grafana"}
    assert set(services) == expected
    assert [n for n, s in services.items() if s.get("restart") != "unless-stopped"] == []
    assert [n for n, s in services.items() if "healthcheck" not in s] == []


def test_every_image_is_pinned_to_a_version(services: dict[str, dict[str, Any]], root: Path) -> None:
    dockerfiles = "".join(p.read_text() for p in (root / "infra/images").glob("*.Dockerfile"))
    bases = re.findall(r"^FROM (\S+)", dockerfiles, re.MULTILINE)
    images = [s["image"] for s in services.values() if "build" not in s] + bases
    assert len(bases) >= 4
    assert [i for i in images if not re.search(r":v?\d+\.\d+", i)] == []


def test_nothing_is_published_beyond_this_machine(services: dict[str, dict[str, Any]]) -> None:
    ports = [port for s in services.values() for port in s.get("ports", [])]
    assert ports
    assert [p for p in ports if not p.startswith("127.0.0.1:")] == []
    assert "ports" not in services["postgres"]
    assert "ports" not in services["redis"]


def test_no_server_of_feast_is_run_or_reachable(services: dict[str, dict[str, Any]], root: Path) -> None:
    # They answer whoever asks, pushes and all: features are read and written through the API, the CLI and flows.
    commands = {n: " ".join(map(str, s.get("command", []))) for n, s in services.items()}
    assert [n for n, command in commands.items() if re.search(r"\bfeast\b", command)] == []
    images = [p.read_text() for p in (root / "infra/images").glob("*.Dockerfile")]
    assert [i for i in images if re.search(r"^(CMD|ENTRYPOINT).*feast", i, re.MULTILINE)] == []
    started = re.compile(
        r"serve_registry|serve_offline|serve_transformations|feast\.feature_server|[\"' ]feast[\"', ]+serve\b"
    )
    product = [
        f
        for p in ("poplift", "feature_repo", "serving", "training", "monitoring", "flows")
        for f in (root / p).rglob("*.py")
    ]
    assert [f.name for f in product if started.search(f.read_text())] == []
    (shown,) = [f for f in product if "feast.cli.cli" in f.read_text() and '"ui"' in f.read_text()]
    assert re.search(r'"ui"\),\n\s+\*\("--host", local,', shown.read_text()), "the page of features is for this machine"


def test_no_secret_is_written_down_and_every_one_is_explained(root: Path) -> None:
    compose, example = (root / COMPOSE).read_text(), (root / "infra/.env.example").read_text()
    asked = set(re.findall(r"\$\{([A-Z_]+)", compose))
    offered = dict(re.findall(r"^([A-Z_]+)=(.*)$", example, re.MULTILINE))
    assert asked == set(offered)
    plain = {"POPLIFT_VERSION", "POPLIFT_BUSINESS_TIME", "POPLIFT_SOURCE"}
    assert {name for name, value in offered.items() if value} == plain
    ignored = (root / ".gitignore").read_text().split()
    assert {"infra/.env", "infra/prometheus/scrape.key"} <= set(ignored), "filled in, they must never be committed"
    without_default = set(re.findall(r"\$\{([A-Z_]+):\?", compose))
    assert without_default == asked - plain


def test_redis_never_evicts_and_survives_a_restart(services: dict[str, dict[str, Any]]) -> None:
    command = " ".join(services["redis"]["command"])
    for option in ("--requirepass", "--appendonly yes", "--maxmemory-policy noeviction"):
        assert option in command


def test_images_do_not_run_as_root(root: Path) -> None:
    for file in (root / "infra/images").glob("*.Dockerfile"):
        assert re.findall(r"^USER (\S+)$", file.read_text(), re.MULTILINE)[-1:] == ["10001"], file


def test_the_serving_image_holds_only_what_serving_may_import(root: Path) -> None:
    text = (root / "infra/images/serving.Dockerfile").read_text()
    assert set(re.findall(r"^COPY (\w+) /build/", text, re.MULTILINE)) == {"poplift", "feature_repo", "serving"}
    assert re.findall(r"-r (\S+)", text.split("AS packages")[1]) == ["/build/requirements-serving.lock"]


def test_what_builds_the_serving_wheel_is_in_the_lock(root: Path) -> None:
    text = (root / "infra/images/serving.Dockerfile").read_text()
    (builders,) = re.findall(r"/\^\(([a-z|-]+)\)==/", text)
    lock = (root / "requirements.lock").read_text()
    assert [b for b in builders.split("|") if not re.search(rf"^{b}==", lock, re.MULTILINE)] == []
