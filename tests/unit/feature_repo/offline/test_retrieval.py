"""A join larger than the memory it may take goes through the disk, in a folder of its own."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from feast import FileSource
from feast.data_format import ParquetFormat

from feature_repo.offline.entity_rows import EntityRows
from feature_repo.offline.errors import PointInTimeError
from feature_repo.offline.parquet_source import ParquetSource
from feature_repo.offline.retrieval import _connection
from feature_repo.offline.store import PointInTimeOfflineStoreConfig
from feature_repo.offline.view_join import ViewJoin

FEATURES = [f"f{i}" for i in range(8)]


@pytest.fixture
def join(tmp_path: Path) -> ViewJoin:
    """400,000 versions of 1,000 outlets: 30 MB of values, and as much again while they are sorted."""
    path = tmp_path / "features.parquet"
    values = ", ".join(f"random() AS {name}" for name in FEATURES)
    duckdb.sql(f"""
        COPY (SELECT i % 1000 AS outlet_id, make_timestamp((i // 1000) * 1000000) AS event_timestamp, {values}
        FROM range(400000) AS r(i)) TO '{path}' (FORMAT parquet)""")
    source = ParquetSource("sales", FileSource(path=str(path), file_format=ParquetFormat()), "")
    return ViewJoin(
        source=source,
        keys={"outlet_id": "outlet_id"},
        features={name: name for name in FEATURES},
        event="event_timestamp",
        created=None,
        ttl=None,
        files={},
    )


@pytest.fixture
def rows() -> EntityRows:
    asked = duckdb.sql(
        "SELECT i % 1000 AS outlet_id, make_timestamp(i * 4000) AS event_timestamp FROM range(100000) AS r(i)"
    )
    return EntityRows.of(asked.to_arrow_table())


def read(join: ViewJoin, rows: EntityRows, *, allowed_on_disk: str | None = None, **options: object) -> pa.Table:
    with _connection(PointInTimeOfflineStoreConfig(threads=1, **options)) as connection:
        if allowed_on_disk is not None:
            connection.execute(f"SET max_temp_directory_size = '{allowed_on_disk}'")
        return join.read(connection, rows, as_known=False)


def test_a_join_larger_than_its_memory_spills_and_gives_the_same_answer(join, rows, tmp_path):
    spill = tmp_path / "spill"
    spill.mkdir()
    small = {"memory_limit": "32MB", "temp_directory": str(spill)}
    assert read(join, rows, **small).equals(read(join, rows))
    assert list(spill.iterdir()) == []
    with pytest.raises(PointInTimeError, match="view sales: the join failed: Out of Memory"):
        read(join, rows, allowed_on_disk="0KB", **small)
