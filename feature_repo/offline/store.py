"""The offline store class that feature_store.yaml names."""

from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig


class PointInTimeOfflineStoreConfig(DuckDBOfflineStoreConfig):  # type: ignore[misc]
    """Named in feature_store.yaml as `offline_store`."""

    type: str = "feature_repo.offline.store.PointInTimeOfflineStore"


class PointInTimeOfflineStore(DuckDBOfflineStore):  # type: ignore[misc]
    """Feast's DuckDB store with an as-of join of its own."""
