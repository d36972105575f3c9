"""The door to MLflow: runs, registered versions, aliases, and the files of a version."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from poplift.databases import ensure_databases
from poplift.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "demand"
CHAMPION = "champion"
CHALLENGER = "challenger"
FILES = "model"  # run artifacts: every head and the plan, beside MLflow's own format of the first head


class RegistryError(Exception):
    """The model registry does not have what was asked for; the message says what to do."""


@dataclass(frozen=True)
class Version:
    """One registered version with the tags and metrics of the run that made it."""

    name: str
    version: str
    run_id: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class LoggedRun:
    """What was logged: the run, its page in the UI, and the registered version if there is one."""

    run_id: str
    version: str | None


def client(settings: Settings) -> "MlflowClient":
    """A client of these settings' tracking store; makes the database when it is missing."""
    ensure_databases(settings)
    import mlflow

    mlflow.set_tracking_uri(settings.mlflow_tracking_uri)
    mlflow.set_registry_uri(settings.mlflow_tracking_uri)
    return mlflow.MlflowClient()


def log_run(
    settings: Settings,
    *,
    run_name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    artifacts: Path,
    model: Any | None = None,
    input_example: pd.DataFrame | None = None,
    register_as: str | None = None,
) -> LoggedRun:
    """Log one run with the files under `artifacts`; with `register_as`, its LightGBM `model` becomes a version.

    The version is logged in LightGBM's own text format, which loads without unpickling anything, with the signature
    of `input_example`.
    """
    mlflow_client = client(settings)
    import mlflow
    import mlflow.lightgbm

    if mlflow_client.get_experiment_by_name(EXPERIMENT) is None:
        mlflow_client.create_experiment(EXPERIMENT, artifact_location=settings.mlflow_artifact_root)
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(run_name=run_name) as run:
        mlflow.log_params(dict(params))
        mlflow.log_metrics(dict(metrics))
        mlflow.set_tags(dict(tags))
        mlflow.log_artifacts(str(artifacts))
        version = None
        if register_as is not None and model is not None and input_example is not None:
            info = mlflow.lightgbm.log_model(
                model,
                name="model",
                signature=mlflow.models.infer_signature(
                    input_example, pd.Series(model.predict(input_example), name="transactions")
                ),
                registered_model_name=register_as,
                pip_requirements=[f"lightgbm=={version_of('lightgbm')}"],  # inferring them takes a process and seconds
            )
            version = str(info.registered_model_version)
            for key, value in tags.items():
                mlflow_client.set_model_version_tag(register_as, version, key, value)
        return LoggedRun(run.info.run_id, version)


def by_alias(settings: Settings, *, name: str, alias: str) -> Version | None:
    """The version an alias points to, or None when model or alias do not exist."""
    mlflow_client = client(settings)
    from mlflow.exceptions import MlflowException

    try:
        found = mlflow_client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    run = mlflow_client.get_run(found.run_id)
    return Version(name, str(found.version), found.run_id, dict(run.data.tags), dict(run.data.metrics))


def set_alias(settings: Settings, *, name: str, alias: str, version: str) -> None:
    """Point an alias to a version."""
    client(settings).set_registered_model_alias(name, alias, version)


def copy_artifact(settings: Settings, version: Version, artifact: str, *, to: Path) -> None:
    """Put one artifact of a version's run at `to`, replaced as a whole; RegistryError when the run has none."""
    if artifact not in {a.path for a in client(settings).list_artifacts(version.run_id)}:
        raise RegistryError(f"model {version.name} version {version.version}: its run has no artifact {artifact}")
    with tempfile.TemporaryDirectory(prefix="poplift-artifact-") as folder:
        found = client(settings).download_artifacts(version.run_id, artifact, folder)
        partial = to.with_suffix(".partial")
        shutil.copy(found, partial)
        partial.replace(to)


@contextmanager
def model_files(settings: Settings, version: Version) -> Iterator[Path]:
    """The complete files of a version in a folder that is gone afterwards; RegistryError when they are not there."""
    mlflow_client = client(settings)
    folder = Path(tempfile.mkdtemp(prefix="poplift-model-"))
    try:
        if not mlflow_client.list_artifacts(version.run_id, FILES):
            raise RegistryError(
                f"model {version.name} version {version.version}: its run {version.run_id} has no artifacts under "
                f"{FILES}/, so no release can be built. Register a version that `poplift train` made."
            )
        yield Path(mlflow_client.download_artifacts(version.run_id, FILES, str(folder)))
    finally:
        shutil.rmtree(folder)
