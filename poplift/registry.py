"""The door to MLflow: runs, registered versions, aliases, and the files of a version."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poplift.artifact_store import uploading
from poplift.databases import ensure_databases
from poplift.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

DEMAND = "demand"  # experiment and registered model of the forecast
EFFECTS = "effects"  # experiment and registered model of what activations add
CHAMPION = "champion"
CHALLENGER = "challenger"
GOLDEN = "golden_rows.json"  # run artifact: rows and what the model says of them
REPORT = "report.html"  # run artifact: the page of the model
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
    input_example: "pd.DataFrame | None" = None,
    register_as: str | None = None,
    description: str = "",
) -> LoggedRun:
    """Log one run with the files under `artifacts`; with `register_as`, its LightGBM `model` becomes a version.

    The version is logged in LightGBM's own text format, which loads without unpickling anything, with the signature
    of `input_example`. `description` is Markdown that the UI shows on the pages of the run and of the version.
    """
    mlflow_client = client(settings)
    with _run(
        settings,
        experiment=DEMAND,
        run_name=run_name,
        params=params,
        metrics=metrics,
        tags=tags,
        artifacts=artifacts,
        description=description,
    ) as run_id:
        version = None
        if register_as is not None and model is not None and input_example is not None:
            import mlflow
            import mlflow.lightgbm
            import pandas as pd

            signature = mlflow.models.infer_signature(
                input_example, pd.Series(model.predict(input_example), name="transactions")
            )
            with uploading(settings.mlflow_artifact_root):
                info = mlflow.lightgbm.log_model(
                    model,
                    name="model",
                    signature=signature,
                    registered_model_name=register_as,  # after its files are where they belong
                    pip_requirements=[f"lightgbm=={version_of('lightgbm')}"],  # inferring takes a process and seconds
                )
            version = str(info.registered_model_version)
            for key, value in tags.items():
                mlflow_client.set_model_version_tag(register_as, version, key, value)
            if description:
                mlflow_client.update_model_version(register_as, version, description)
        return LoggedRun(run_id, version)


def log_effects(
    settings: Settings,
    *,
    run_name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    artifacts: Path,
) -> LoggedRun:
    """Log a fit of effects and register it as a version of `effects`; no alias moves.

    There is no object to load: a version is the files under `artifacts`, its report and tables.
    """
    mlflow_client = client(settings)
    from mlflow.exceptions import MlflowException

    with _run(
        settings,
        experiment=EFFECTS,
        run_name=run_name,
        params=params,
        metrics=metrics,
        tags=tags,
        artifacts=artifacts,
    ) as run_id:
        source = f"{mlflow_client.get_run(run_id).info.artifact_uri}/tables"
    try:
        mlflow_client.get_registered_model(EFFECTS)
    except MlflowException:
        mlflow_client.create_registered_model(EFFECTS, description="Fits of what activations add; files, not code.")
    made = mlflow_client.create_model_version(EFFECTS, source=source, run_id=run_id, tags=dict(tags))
    return LoggedRun(run_id, str(made.version))


@contextmanager
def _run(
    settings: Settings,
    *,
    experiment: str,
    run_name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    artifacts: Path,
    description: str = "",
) -> Iterator[str]:
    """A run of an experiment with all that is known of it; its id."""
    mlflow_client = client(settings)
    import mlflow

    if mlflow_client.get_experiment_by_name(experiment) is None:
        mlflow_client.create_experiment(experiment, artifact_location=settings.mlflow_artifact_root)
    mlflow.set_experiment(experiment)
    with mlflow.start_run(run_name=run_name, description=description or None) as run:
        mlflow.log_params(dict(params))
        mlflow.log_metrics(dict(metrics))
        mlflow.set_tags(dict(tags))
        with uploading(settings.mlflow_artifact_root):
            mlflow.log_artifacts(str(artifacts))
        yield run.info.run_id


def by_alias(settings: Settings, *, name: str, alias: str) -> Version | None:
    """The version an alias points to, or None when model or alias do not exist."""
    mlflow_client = client(settings)
    found = _by_alias(mlflow_client, name, alias)
    return None if found is None else _version(mlflow_client, found)


def alias_version(settings: Settings, *, name: str, alias: str) -> str | None:
    """The number of that version alone: one question instead of two, for whoever asks every few seconds."""
    found = _by_alias(client(settings), name, alias)
    return None if found is None else str(found.version)


def by_number(settings: Settings, *, name: str, version: str) -> Version:
    """One registered version; RegistryError when there is none of that number."""
    mlflow_client = client(settings)
    from mlflow.exceptions import MlflowException

    try:
        return _version(mlflow_client, mlflow_client.get_model_version(name, version))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise RegistryError(f"model {name} has no version {version}; the MLflow page lists those it has") from error
        raise


def set_alias(settings: Settings, *, name: str, alias: str, version: str) -> None:
    """Point an alias to a version."""
    client(settings).set_registered_model_alias(name, alias, version)


def delete_alias(settings: Settings, *, name: str, alias: str) -> None:
    """Take an alias away from whatever version it points to."""
    client(settings).delete_registered_model_alias(name, alias)


def attach(settings: Settings, version: Version, *, artifact: str, text: str, tags: Mapping[str, str]) -> None:
    """Keep a text with the run of a version, in the place of an earlier one, then set tags of both."""
    mlflow_client = client(settings)
    mlflow_client.log_text(version.run_id, text, artifact)
    for key, value in tags.items():
        mlflow_client.set_tag(version.run_id, key, value)
        mlflow_client.set_model_version_tag(version.name, version.version, key, value)


def newest_run(settings: Settings, *, tag: str) -> dict[str, str] | None:
    """Tags of the finished run that started last among those that carry `tag`; None when there is none."""
    mlflow_client = client(settings)
    experiment = mlflow_client.get_experiment_by_name(DEMAND)
    if experiment is None:
        return None
    found = mlflow_client.search_runs(
        [experiment.experiment_id],
        filter_string=f"attributes.status = 'FINISHED' AND tags.`{tag}` LIKE '%'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return dict(found[0].data.tags) if found else None


def model_tag(settings: Settings, *, name: str, key: str) -> str | None:
    """A tag of a registered model; None when it, or the model, does not exist."""
    mlflow_client = client(settings)
    from mlflow.exceptions import MlflowException

    try:
        value = mlflow_client.get_registered_model(name).tags.get(key)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return None if value is None else str(value)


def set_model_tag(settings: Settings, *, name: str, key: str, value: str) -> None:
    """Set a tag of a registered model."""
    client(settings).set_registered_model_tag(name, key, value)


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


def _by_alias(mlflow_client: "MlflowClient", name: str, alias: str) -> Any | None:
    from mlflow.exceptions import MlflowException

    try:
        return mlflow_client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _version(mlflow_client: "MlflowClient", found: Any) -> Version:
    run = mlflow_client.get_run(found.run_id)
    return Version(found.name, str(found.version), found.run_id, dict(run.data.tags), dict(run.data.metrics))
