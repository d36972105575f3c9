"""The door to Feast outside `feature_repo`: configuration, apply, materialise, training and online reads."""

import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from poplift.databases import exclusive
from poplift.feature_evolution import refuse_breaking
from poplift.settings import REPOSITORY, Settings
from poplift.spark import require_spark, spark_conf
from poplift.write_report import WriteReport

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from feast import FeatureStore

REPOSITORY_FOLDER = REPOSITORY / "feature_repo"
# Without these a Redis that does not answer hangs a request for ever; `retry=null` keeps redis-py from trying again.
READ_DEADLINE = "socket_timeout=0.25,socket_connect_timeout=0.25,retry=null"
# Feast reads, changes and writes whole objects of its registry without a row lock.
REGISTRY = "feast-registry"
FEAST_METRICS = "feast_metrics_"
WRITE_DEADLINE = "socket_timeout=30,socket_connect_timeout=5"


class FeatureStoreError(Exception):
    """Features cannot be had; the message says which and what to do."""


@dataclass(frozen=True)
class OnlineFeatures:
    """Rows in the order asked for: a value and a status per feature, an event time in UTC per view (NaT: none).

    Numbers are float64 with NaN where the status is not 1, texts are objects with None there. Statuses are Feast's:
    1 present, 2 null, 3 not found, 4 older than the view's age limit or later than business time.
    """

    values: Mapping[str, np.ndarray]
    event_timestamps: Mapping[str, np.ndarray]
    statuses: Mapping[str, np.ndarray]

    @property
    def found(self) -> np.ndarray:
        """Which rows every view knows."""
        present = [~np.isnat(times) for times in self.event_timestamps.values()]
        return np.asarray(np.logical_and.reduce(present))


def configuration(settings: Settings, *, redis_options: str = WRITE_DEADLINE) -> dict[str, Any]:
    """The content of feature_store.yaml; every path absolute."""
    return {
        "project": settings.database_prefix,
        "provider": "local",
        "registry": {
            "registry_type": "sql",
            "path": settings.database_url("registry"),
            "cache_ttl_seconds": 60,
            "serve_features_while_materializing": True,
        },
        "online_store": {**_online(settings, redis_options), "business_time": _present(settings)},
        **_engines(settings),
        "entity_key_serialization_version": 3,
    }


def _online(settings: Settings, redis_options: str) -> dict[str, Any]:
    if settings.online_store_kind == "redis":
        return {
            "type": "feature_repo.online.redis.GuardedRedisOnlineStore",
            "connection_string": f"{settings.redis_url},{redis_options}",
        }
    if settings.online_store_kind == "postgres":
        from sqlalchemy.engine import make_url

        url = make_url(settings.database_url("online"))
        return {
            "type": "feature_repo.online.postgres.GuardedPostgresOnlineStore",
            "host": url.host or "localhost",
            "port": url.port or 5432,
            "database": url.database,
            "user": url.username,
            "password": url.password or "",
            "sslmode": url.query.get("sslmode", "prefer"),
        }
    return {
        "type": "feature_repo.online.sqlite.GuardedSqliteOnlineStore",
        "path": str(settings.home / "online.db"),
    }


def _without_spark(settings: Settings) -> Settings:
    # What only reads or writes online, serving above all, needs neither Java nor PySpark.
    return settings.model_copy(update={"offline_engine": "duckdb"})


def _present(settings: Settings) -> str:
    return "now" if settings.business_clock == "wall" else settings.business_time.isoformat()


def _engines(settings: Settings) -> dict[str, Any]:
    engine: dict[str, Any] = {"business_time": _present(settings)}
    if settings.offline_engine == "duckdb":
        return {
            "offline_store": {"type": "feature_repo.offline.store.PointInTimeOfflineStore"},
            "batch_engine": {"type": "feature_repo.engine.BusinessTimeEngine", **engine},
        }
    conf = spark_conf(settings)
    return {
        "offline_store": {"type": "feature_repo.offline.spark.PointInTimeSparkOfflineStore", "spark_conf": conf},
        "batch_engine": {
            "type": "feature_repo.spark_engine.BusinessTimeSparkEngine",
            "spark_conf": conf,
            **engine,
        },
    }


def render(settings: Settings, path: Path = REPOSITORY_FOLDER / "feature_store.yaml") -> Path:
    """Write feature_store.yaml for the `feast` CLI; left alone when it says the same already."""
    import yaml

    header = "# Rendered by `poplift init` from the settings; not kept in git. Change the settings, not this file.\n"
    content = header + yaml.safe_dump(configuration(settings), sort_keys=False)
    if not path.exists() or path.read_text() != content:
        partial = path.with_suffix(".partial")
        partial.write_text(content)
        partial.replace(path)
    return path


def open_store(settings: Settings, *, redis_options: str = WRITE_DEADLINE) -> "FeatureStore":
    """A Feast store of these settings; imports Feast, which takes seconds."""
    if settings.offline_engine == "spark":
        require_spark()
    from feast import FeatureStore, RepoConfig

    config = RepoConfig(repo_path=REPOSITORY_FOLDER, **configuration(settings, redis_options=redis_options))
    store = FeatureStore(config=config)
    for variable in ("PROMETHEUS_MULTIPROCESS_DIR", "PROMETHEUS_MULTIPROC_DIR"):
        # Importing Feast sets them to a folder of its own, which would silence the /metrics of this process tree.
        if FEAST_METRICS in os.environ.get(variable, ""):  # noqa: TID251
            del os.environ[variable]  # noqa: TID251
    for engine in {store.registry.write_engine, store.registry.read_engine}:
        weakref.finalize(store, engine.dispose)  # Feast leaves the connections of its registry open
    return store


def apply(settings: Settings, objects: Sequence[Any]) -> tuple[str, ...]:
    """Register Feast objects and remove views and services that are no longer defined; returns the names.

    Raises BreakingChangeError, and changes nothing, when a registered service would not hand out what it does now.
    """
    with exclusive(settings, REGISTRY):
        store = open_store(settings)
        kept = {o.name for o in objects}
        registered = _registered(store)
        refuse_breaking(registered, objects)
        gone = [o for o in registered if o.name not in kept]
        store.apply(list(objects), objects_to_delete=gone, partial=False)
        _keep_read_plans(settings, store)
    return tuple(sorted(kept))


def read_plan_path(settings: Settings, service: str) -> Path:
    """The file that holds all that reading a feature service online needs of the registry; `apply` writes it."""
    return settings.read_plans_dir / f"{service}.json"


def _keep_read_plans(settings: Settings, store: "FeatureStore") -> None:
    plans: Mapping[str, str] = store.provider.online_store.read_plans(store.config, store.registry)
    settings.read_plans_dir.mkdir(parents=True, exist_ok=True)
    for left in settings.read_plans_dir.glob("*.json"):
        if left.stem not in plans:
            left.unlink()
    for service, plan in plans.items():
        path = read_plan_path(settings, service)
        if not path.exists() or path.read_text() != plan:
            partial = path.with_suffix(".partial")
            partial.write_text(plan)
            partial.replace(path)


def refuse_breaking_changes(settings: Settings, objects: Sequence[Any]) -> None:
    """What `apply` refuses, for who registers objects without it; raises BreakingChangeError."""
    refuse_breaking(_registered(open_store(settings)), objects)


def _registered(store: "FeatureStore") -> list[Any]:
    return [*store.list_feature_services(), *store.list_all_feature_views()]


def materialize(settings: Settings, *, views: Sequence[str] | None = None) -> None:
    """Bring the online store up to business time, for these views or all of them.

    Everything within the age limit is written again and not only what came since the last time: a correction of a
    week that was written before would never arrive, and a new feature would stay empty.
    """
    with exclusive(settings, REGISTRY):
        store = open_store(settings)
        oldest = max((v.ttl for v in store.list_feature_views() if v.ttl), default=timedelta(0))
        end = settings.now()
        store.materialize(end - oldest, end, feature_views=None if views is None else list(views))


class OnlineWriter:
    """Writes rows of one view into the online store; made once per process, the registry is read once."""

    def __init__(self, settings: Settings, *, view: str) -> None:
        self._store = open_store(_without_spark(settings))
        try:
            self._view = self._store.get_feature_view(view)
        except Exception as error:
            raise FeatureStoreError(
                f"feature view {view} is not in the registry: run `poplift features` ({error})"
            ) from error

    def write(self, frame: "pd.DataFrame | pa.Table") -> WriteReport:
        """Write rows with the columns of the view's source, under the write contract; returns what became of them.

        A NaN of pandas is a null, and nulls are written, so that what was known before is no longer served; Feast's
        own push drops a frame of nothing but nulls. Raises BatchError naming a column that is missing or wrong.
        """
        report: WriteReport = self._store.provider.online_store.write_table(self._store.config, self._view, frame)
        return report


def write_online(settings: Settings, *, view: str, frame: "pd.DataFrame | pa.Table") -> WriteReport:
    """One write with a store of its own: for scripts and tests; a stream keeps an OnlineWriter."""
    return OnlineWriter(settings, view=view).write(frame)


def historical_features(settings: Settings, *, entities: "pd.DataFrame", service: str) -> "pd.DataFrame":
    """Point-in-time features as known at each row's event_timestamp; rows and their order are those of `entities`.

    `entities` holds the entity keys, event_timestamp (UTC) and the request fields. Raises FeatureStoreError when a
    row would be lost.
    """
    store = open_store(settings)
    asked = entities.assign(_row=np.arange(len(entities)))
    job = store.get_historical_features(
        entity_df=asked, features=store.get_feature_service(service), filter_by_created_timestamp=True
    )
    frame: pd.DataFrame = job.to_df().sort_values("_row", ignore_index=True)
    if len(frame) != len(entities):
        raise FeatureStoreError(f"service {service}: {len(entities)} rows asked for, {len(frame)} came back")
    return frame.drop(columns="_row").set_axis(entities.index, axis=0)


class OnlineReader:
    """Reads one feature service from the online store; made once per process, the registry is never asked again."""

    def __init__(self, settings: Settings, *, service: str) -> None:
        store = open_store(_without_spark(settings), redis_options=READ_DEADLINE)
        try:
            self._reader = store.provider.online_store.reader(
                store.config, store.registry, project=store.project, service=service
            )
        except Exception as error:
            raise FeatureStoreError(
                f"feature service {service} is not in the registry: run `poplift features` ({error})"
            ) from error

    def read(self, entities: Sequence[Mapping[str, str]]) -> OnlineFeatures:
        """One row per entity, in order; errors of the store pass through."""
        features: OnlineFeatures = self._reader.read(entities)
        return features


def online_features(settings: Settings, *, service: str, entities: Sequence[Mapping[str, str]]) -> OnlineFeatures:
    """One read with a store of its own: for scripts and tests; serving keeps an OnlineReader."""
    return OnlineReader(settings, service=service).read(entities)
