"""The offline store class that feature_store.yaml names when Spark is the engine: Feast's, with its traps closed."""

from typing import Any

import pandas as pd
import pyarrow as pa
from feast import FeatureView, RepoConfig
from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
    SparkOfflineStore,
    SparkOfflineStoreConfig,
    SparkRetrievalJob,
)
from feast.infra.registry.base_registry import BaseRegistry

from poplift.spark import spark_session


class AmbiguousEntityError(ValueError):
    """Feast's Spark join would take two entity rows for one."""


class PointInTimeSparkOfflineStoreConfig(SparkOfflineStoreConfig):  # type: ignore[misc]
    """Named in feature_store.yaml as `offline_store`; `spark_conf` is rendered from the settings."""

    type: str = "feature_repo.offline.spark.PointInTimeSparkOfflineStore"


class ArrowJob(SparkRetrievalJob):  # type: ignore[misc]
    """Hands rows over as Arrow with their time zone; Feast's goes through naive nanoseconds in pandas."""

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002 # Feast's signature
        return self.to_spark_df().toArrow()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return frame


class PointInTimeSparkOfflineStore(SparkOfflineStore):  # type: ignore[misc]
    """Feast's Spark store in a session of ours; entity rows come as pandas and are left as they were."""

    @staticmethod
    def get_historical_features(  # noqa: PLR0917 # Feast's signature
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **kwargs: Any,
    ) -> ArrowJob:
        """Lazy join of `entity_df` with the views; raises AmbiguousEntityError for keys that Feast would mix up."""
        session = spark_session(config.offline_store.spark_conf)
        if isinstance(entity_df, pd.DataFrame):
            for view in feature_views:
                _refuse_ambiguous(entity_df, [c.name for c in view.entity_columns], view.name)
            entity_df = entity_df.copy()
        job = SparkOfflineStore.get_historical_features(
            config, feature_views, feature_refs, entity_df, registry, project, full_feature_names, **kwargs
        )
        return ArrowJob(session, job.query, full_feature_names, config, job.on_demand_feature_views, job.metadata)


def _refuse_ambiguous(entities: pd.DataFrame, keys: list[str], view: str) -> None:
    # Feast's query tells rows of the entity frame apart by their keys written one after the other, nothing between.
    distinct = entities[keys].drop_duplicates().astype(str)
    joined = distinct.agg("".join, axis=1)
    twins = distinct[joined.duplicated(keep=False)]
    if len(twins):
        raise AmbiguousEntityError(
            f"{view}: {twins.head(2).to_dict('records')} read the same when {keys} are written without a separator, "
            "and Feast's Spark store would mix them up: pad the keys to one length, or use DuckDB"
        )
