"""The import contracts of pyproject.toml hold, and they bite."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Homes of one module: a contract complains when the module it makes an exception for is gone.
HOMES = {
    "poplift/registry.py": "mlflow",
    "poplift/feature_store.py": "feast",
    "poplift/spark.py": "pyspark",
    "poplift/stream.py": "redis",
    "monitoring/evidently_reports.py": "evidently",
    "serving/access/tokens.py": "jwt",
}
RUN_CONTRACTS = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run every contract of the pyproject.toml in `folder` on the packages in `folder`."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {RUN_CONTRACTS}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def empty_house(tmp_path_factory: pytest.TempPathFactory, root: Path, packages: tuple[str, ...]) -> Path:
    """The contracts over packages that hold nothing but the homes of one library."""
    house = tmp_path_factory.mktemp("house")
    shutil.copy(root / "pyproject.toml", house)
    for package in packages:
        (house / package).mkdir()
        (house / package / "__init__.py").write_text('"""Empty."""\n')
    for package in ("poplift/sources", "poplift/sources/market", "serving/access"):
        (house / package).mkdir()
        (house / package / "__init__.py").write_text('"""Empty."""\n')
    for module, library in HOMES.items():
        (house / module).write_text(f'"""Home of {library}."""\n\nimport {library}\n')
    return house


def test_every_import_of_the_repository_keeps_its_contract(root: Path) -> None:
    result = lint(root)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]


def test_a_house_with_every_library_at_home_keeps_every_contract(empty_house: Path) -> None:
    result = lint(empty_house)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("poplift/lake.py", "import feature_repo"),
        ("feature_repo/build.py", "import training"),
        ("training/story.py", "import serving"),
        ("serving/app.py", "import monitoring"),
        ("monitoring/verdict.py", "import training"),
        ("serving/app.py", "import flows"),
        ("training/story.py", "import prefect"),
        ("poplift/processes.py", "import honcho"),
        ("serving/app.py", "import typer"),
        ("serving/app.py", "import jwt"),
        ("flows/up.py", "import uvicorn"),
        ("monitoring/page.py", "import fastapi"),
        ("training/page.py", "from starlette import requests"),
        ("poplift/counters.py", "import prometheus_client"),
        ("monitoring/verdict.py", "import evidently"),
        ("training/story.py", "import mlflow"),
        ("flows/train.py", "from mlflow import MlflowClient"),
        ("serving/features.py", "import feast"),
        ("poplift/lake.py", "from feast import FeatureStore"),
        ("serving/event_door.py", "import redis"),
        ("poplift/lake.py", "import pyspark"),
        ("flows/train.py", "from pyspark.sql import SparkSession"),
        ("serving/app.py", "import sklearn"),
        ("flows/train.py", "import optuna"),
        ("monitoring/drivers.py", "import optuna"),
        ("monitoring/score.py", "import lightgbm"),
        ("monitoring/lift.py", "import econml"),
        ("training/story.py", "import poplift.sources.market"),
        ("monitoring/lift.py", "from poplift.sources import market"),
        ("flows/score.py", "def score():\n    import lightgbm"),
    ],
)
def test_a_forbidden_import_breaks_a_contract(empty_house: Path, tmp_path: Path, module: str, statement: str) -> None:
    house = tmp_path / "house"
    shutil.copytree(empty_house, house)
    (house / module).write_text(f'"""One wrong import."""\n\n{statement}\n')
    result = lint(house)
    assert result.returncode == 1, result.stdout[-3000:] + result.stderr[-2000:]
    assert "BROKEN" in result.stdout


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("flows/train.py", "import prefect\nimport training\nimport serving\nimport monitoring"),
        ("serving/app.py", "import fastapi\nimport lightgbm\nimport feature_repo\nimport poplift"),
        ("feature_repo/engine.py", "import feast"),
        ("training/demand.py", "import lightgbm\nimport sklearn\nimport optuna"),
    ],
)
def test_every_library_is_welcome_in_its_home(empty_house: Path, tmp_path: Path, module: str, statement: str) -> None:
    house = tmp_path / "house"
    shutil.copytree(empty_house, house)
    (house / module).write_text(f'"""The right imports."""\n\n{statement}\n')
    result = lint(house)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-2000:]


def test_the_contracts_know_every_package_that_ships(project: dict[str, Any]) -> None:
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(project["tool"]["importlinter"]["root_packages"]) == set(shipped)
