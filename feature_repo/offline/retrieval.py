"""The job Feast hands to whoever asked for a training set: it joins view by view and answers in Arrow."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import ibis
import pandas as pd
import pyarrow as pa
from feast.infra.offline_stores.duckdb import _write_data_source
from feast.infra.offline_stores.ibis import IbisRetrievalJob
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from feast.saved_dataset import SavedDatasetStorage

from feature_repo.offline.entity_rows import EntityRows
from feature_repo.offline.view_join import ViewJoin


class PointInTimeRetrievalJob(RetrievalJob):  # type: ignore[misc]
    """Runs anew at every call of to_df or to_arrow, as Feast's own jobs do."""

    def __init__(
        self,
        *,
        rows: EntityRows,
        joins: Sequence[ViewJoin],
        as_known: bool,
        on_demand: list[OnDemandFeatureView],
        full_feature_names: bool,
        feature_refs: list[str],
        config: RepoConfig,
    ) -> None:
        super().__init__()
        self._rows, self._joins, self._as_known = rows, joins, as_known
        self._on_demand, self._full_feature_names, self._config = on_demand, full_feature_names, config
        first, last = rows.range
        keys = [name for name in rows.table.column_names if name != rows.event_column]
        self._metadata = RetrievalMetadata(feature_refs, keys, first, last)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        del timeout
        table = self._rows.answered()
        for join in self._joins:
            with _connection(self._config.offline_store) as connection:
                features = join.read(connection, self._rows, as_known=self._as_known)
            for name, column in zip(features.column_names, features.columns, strict=True):
                table = table.append_column(name, column)
        return table

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return frame

    @property
    def full_feature_names(self) -> bool:
        """Whether features carry the name of their view."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """What Feast computes from the answer."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata:
        """What was asked for."""
        return self._metadata

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the answer, on-demand features included, as Feast's DuckDB store writes."""
        self._as_feast_job(timeout).persist(storage, allow_overwrite=allow_overwrite)

    def supports_remote_storage_export(self) -> bool:
        """Whether a staging location is configured."""
        return self._config.offline_store.staging_location is not None

    def to_remote_storage(self) -> list[str]:
        """Write the answer to the staging location as Feast's DuckDB store does."""
        files: list[str] = self._as_feast_job(None).to_remote_storage()
        return files

    def _as_feast_job(self, timeout: int | None) -> IbisRetrievalJob:
        return IbisRetrievalJob(
            table=ibis.memtable(self.to_arrow(timeout=timeout)),
            on_demand_feature_views=[],
            full_feature_names=self._full_feature_names,
            metadata=self._metadata,
            data_source_writer=_write_data_source,
            staging_location=self._config.offline_store.staging_location,
            staging_location_endpoint_override=self._config.offline_store.staging_location_endpoint_override,
            repo_path=str(self._config.repo_path),
        )


@contextmanager
def _connection(config: Any) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of its own that spills to a folder of its own: two in one folder would overwrite each other's files."""
    with tempfile.TemporaryDirectory(prefix="poplift-spill-", dir=config.temp_directory) as spill:
        options = {"temp_directory": spill, "threads": config.threads, "memory_limit": config.memory_limit}
        with duckdb.connect(config={name: value for name, value in options.items() if value is not None}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            # DuckDB takes an Arrow table for one row, and would join it by a loop over all history.
            connection.execute("SET asof_loop_join_threshold = 0")
            yield connection
