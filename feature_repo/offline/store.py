"""The offline store that feature_store.yaml names: Feast's DuckDB store with an as-of join of its own."""

from typing import Any

from feast import FeatureView
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig

from feature_repo.offline.entity_rows import EntityRows
from feature_repo.offline.errors import PointInTimeError
from feature_repo.offline.parquet_source import ParquetSource, is_parquet
from feature_repo.offline.retrieval import PointInTimeRetrievalJob
from feature_repo.offline.view_join import ViewJoin


class PointInTimeOfflineStoreConfig(DuckDBOfflineStoreConfig):  # type: ignore[misc]
    """Named in feature_store.yaml as `offline_store`.

    `memory_limit` ("2GB") is what the join may take before it spills to `temp_directory` (the system's by default);
    DuckDB's own defaults, four fifths of the memory and all cores, hold where nothing is said. The answer comes on top.
    """

    type: str = "feature_repo.offline.store.PointInTimeOfflineStore"
    threads: int | None = None
    memory_limit: str | None = None
    temp_directory: str | None = None


class PointInTimeOfflineStore(DuckDBOfflineStore):  # type: ignore[misc]
    """Feast's DuckDB store; only training sets are made differently, and come back in the order they were asked in."""

    @staticmethod
    def get_historical_features(  # noqa: PLR0917 - the signature is Feast's
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: object,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **unsupported: Any,
    ) -> RetrievalJob:
        """A job whose rows are those of `entity_df`, a pandas DataFrame or an Arrow table, in its order.

        Sources other than Parquet, and on-demand views in Substrait, are left to Feast's store. Raises
        PointInTimeError, here or when the job runs, when rows and sources do not fit.
        """
        if unsupported:
            raise PointInTimeError(
                f"{', '.join(unsupported)}: this store, like Feast's DuckDB store, has no range of dates without rows; "
                "hand over an entity_df"
            )
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        if not all(is_parquet(view.batch_source) for view in feature_views) or "substrait" in {
            v.mode for v in on_demand
        }:
            return DuckDBOfflineStore.get_historical_features(
                config,
                feature_views,
                feature_refs,
                entity_df,
                registry,
                project,
                full_feature_names,
                filter_by_created_timestamp,
            )
        repo_path = str(config.repo_path or "")
        return PointInTimeRetrievalJob(
            rows=EntityRows.of(entity_df),
            joins=[_join(view, feature_refs, repo_path, full_names=full_feature_names) for view in feature_views],
            as_known=filter_by_created_timestamp,
            on_demand=on_demand,
            full_feature_names=full_feature_names,
            feature_refs=feature_refs,
            config=config,
        )


def _join(view: FeatureView, feature_refs: list[str], repo_path: str, *, full_names: bool) -> ViewJoin:
    source, projection = view.batch_source, view.projection
    asked = [name for reference, name in (r.split(":") for r in feature_refs) if reference == projection.name_to_use()]
    prefix = f"{projection.name_alias or view.name}__" if full_names else ""
    return ViewJoin(
        source=ParquetSource(view.name, source, repo_path),
        keys={
            column.name: projection.join_key_map.get(column.name, column.name)
            for column in view.entity_columns
            if column.name != DUMMY_ENTITY_ID
        },
        features={name: f"{prefix}{name}" for name in asked},
        event=source.timestamp_field,
        created=source.created_timestamp_column or None,
        ttl=view.ttl,
        files={new: old for old, new in source.field_mapping.items()},
    )
