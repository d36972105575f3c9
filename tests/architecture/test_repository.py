"""The repository agrees with itself: locks with pyproject, CI with compose, the wheel with the tree."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

TOP_LEVEL = {
    ".ci", ".github", ".gitignore", ".pre-commit-config.yaml", ".dockerignore", ".yamllint.yaml", "CHANGELOG.md",
    "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md", "benchmarks", "docs", "feature_repo",
    "flows", "infra", "monitoring", "poplift", "prefect.yaml", "pyproject.toml", "requirements.lock",
    "requirements-installer.lock", "requirements-serving.lock", "requirements-spark.lock", "serving", "tests", "training",
}  # fmt: skip
# Written so that this file does not match itself.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|Users|opt/pypi\S*|tmp/e|tmp/bash_jobs\S*)/")
LOCKS = ["requirements.lock", "requirements-serving.lock"]
IN_LOCK = {
    "requirements.lock": ("production", "serving", "training", "monitoring", "flows", "development"),
    "requirements-serving.lock": ("production", "serving"),
}


def locked(root: Path, lock: str) -> dict[str, list[tuple[str, list[str]]]]:
    """Versions and hashes a lock offers for every distribution (a universal lock may fork by platform)."""
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", (root / lock).read_text()):
        if match := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", block):
            hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}", block)
            found.setdefault(canonicalize_name(match[1]), []).append((match[2], hashes))
    return found


def asked(project: dict[str, Any], extras: tuple[str, ...]) -> Iterator[Requirement]:
    """Direct dependencies of the project with these extras."""
    table = project["project"]
    lines = table["dependencies"] + [line for e in extras for line in table["optional-dependencies"][e]]
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(dict(default_environment())):
            yield requirement


def test_no_lock_names_an_index_or_a_url(texts: dict[Path, str]) -> None:
    locks = {file: text for file, text in texts.items() if file.suffix == ".lock"}
    assert len(locks) >= len(LOCKS)
    banned = re.compile(r"://|^-|--(extra-)?index|find-links| @ ")
    assert [f"{f}: {line}" for f, text in locks.items() for line in text.splitlines() if banned.search(line)] == []


def test_everything_in_every_lock_has_a_hash(root: Path, files: list[Path]) -> None:
    for lock in [str(f) for f in files if f.suffix == ".lock"]:
        versions = locked(root, lock)
        assert versions, lock
        assert [name for name, offers in versions.items() for _, hashes in offers if not hashes] == [], lock


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_every_direct_dependency_at_an_allowed_version(
    root: Path, project: dict[str, Any], lock: str
) -> None:
    versions = locked(root, lock)
    wrong = [
        f"{requirement}: {offers or 'missing'}"
        for requirement in asked(project, IN_LOCK[lock])
        for offers in [[version for version, _ in versions.get(canonicalize_name(requirement.name), [])]]
        if not offers or not all(requirement.specifier.contains(Version(v)) for v in offers)
    ]
    assert not wrong, f"run `make lock`; {lock} disagrees with pyproject.toml:\n" + "\n".join(wrong)


def test_every_group_is_in_the_lock_or_deliberately_not(project: dict[str, Any]) -> None:
    assert set(project["project"]["optional-dependencies"]) == {*IN_LOCK["requirements.lock"], "spark"}


def test_the_serving_lock_leaves_out_what_serving_never_needs(root: Path) -> None:
    unwanted = {"prefect", "evidently", "mlflow", "scikit-learn", "optuna", "shap", "pytest", "honcho", "pyspark"}
    assert unwanted & set(locked(root, "requirements-serving.lock")) == set()


def test_what_both_locks_hold_they_hold_at_the_same_version(root: Path) -> None:
    whole, serving = (locked(root, lock) for lock in LOCKS)
    versions = {name: {v for v, _ in offers} for name, offers in serving.items()}
    different = {n: v for n, v in versions.items() if not v <= {w for w, _ in whole.get(n, [])}}
    assert different == {}


def test_everything_the_serving_image_imports_is_in_its_lock(root: Path) -> None:
    graph = grimp.build_graph("poplift", "feature_repo", "serving", include_external_packages=True, cache_dir=None)
    imported = {m for m in graph.modules if graph.is_module_squashed(m)} - set(sys.stdlib_module_names)
    imported -= {"pyspark"}  # where the settings choose Spark; what serves reads online only and does without
    home = packages_distributions()
    lock = set(locked(root, "requirements-serving.lock"))
    providers = {m: {canonicalize_name(d) for d in home.get(m, [m])} for m in imported}
    assert {"fastapi", "feast"} <= imported
    assert {m: names for m, names in providers.items() if not names & lock} == {}


@pytest.mark.parametrize("image", ["postgres", "redis"])
def test_ci_and_compose_run_the_same_servers(root: Path, image: str) -> None:
    compose = yaml.safe_load((root / "infra/compose.yaml").read_text())["services"]
    workflow = yaml.safe_load((root / ".github/workflows/ci.yml").read_text())
    in_ci = {s["image"] for job in workflow["jobs"].values() for s in job.get("services", {}).values()}
    tags = {i for i in in_ci if i.startswith(f"{image}:")}
    assert tags == {compose[image]["image"]}


def test_the_top_level_is_the_declared_one(files: list[Path]) -> None:
    assert {f.parts[0] for f in files} - TOP_LEVEL == set()


def test_no_file_names_a_place_on_the_machine_of_its_author(texts: dict[Path, str]) -> None:
    named = [
        f"{file}:{number}: {line.strip()[:80]}"
        for file, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert not named, "\n".join(named)


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names inside the wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return set(zipfile.ZipFile(next(folder.glob("*.whl"))).namelist())


def test_the_wheel_holds_every_module_and_profile(
    wheel: set[str], files: list[Path], packages: tuple[str, ...]
) -> None:
    shipped = {str(f) for f in files if f.parts[0] in packages and f.suffix in {".py", ".toml", ".html"}}
    assert shipped - wheel == set()


def test_the_wheel_holds_nothing_but_the_packages(wheel: set[str], packages: tuple[str, ...]) -> None:
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == set(packages)


def test_every_tool_that_make_and_ci_call_can_be_executed(root: Path) -> None:
    assert (root / ".ci/run").stat().st_mode & 0o111
    workflow = (root / ".github/workflows/ci.yml").read_text()
    assert ".ci/run" in workflow
    assert "make test" in (root / ".ci/run").read_text()
