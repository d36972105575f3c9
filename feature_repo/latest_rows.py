"""The newest known row of every entity of a Parquet source, streamed out of DuckDB in bounded memory."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import duckdb
import pyarrow as pa
from feast import FeatureView

from feature_repo.offline.parquet_source import ParquetSource, identifier, literal
from feature_repo.online.batch import BatchError, layout_of
from feature_repo.online.layout import EntityKeyLayout, KeyKind
from feature_repo.online.rules import UNKNOWN

# Both are what keeps the whole process under 500 MB beside Feast itself; DuckDB goes to disk beyond.
_MEMORY = "160MB"
_BATCH_ROWS = 8 * 2048
# Number of the file and of the row in it, in one integer: 2^40 rows a file.
_PLACE = "(file_index::BIGINT << 40) | file_row_number"
_EVENT_WEIGHT = "18446744073709551616::HUGEINT"


@dataclass(frozen=True)
class Latest:
    """How many entities there are, and their rows as record batches, in the order of their stored keys."""

    count: int
    batches: Iterator[pa.RecordBatch]


@contextmanager
def latest_rows(
    view: FeatureView, source: ParquetSource, *, start: datetime, end: datetime, known_by: datetime
) -> Iterator[Latest]:
    """Per entity the row with the newest event time within start and end, both included, that was known by `known_by`.

    At the same event time the later created time wins. Columns carry the names of the view. Raises BatchError naming
    a column that the source has not.
    """
    with tempfile.TemporaryDirectory(prefix="poplift-latest-") as spill:
        connection = duckdb.connect(config={"memory_limit": _MEMORY, "threads": 2, "temp_directory": spill})
        try:
            connection.execute("SET TimeZone = 'UTC'")
            relation = source.relation(connection)
            columns = _columns(view, source.types(connection, relation))
            _find(connection, relation, view, columns, _Bounds(start, end, known_by))
            count = connection.execute("SELECT count(*) FROM latest").fetchone()
            yield Latest(count[0] if count else 0, _stream(connection, relation, view, columns))
        finally:
            connection.close()


@dataclass(frozen=True)
class _Bounds:
    start: datetime
    end: datetime
    known_by: datetime


def _columns(view: FeatureView, types: dict[str, str]) -> dict[str, str]:
    """SQL name in the source of every column that the view names."""
    batch = view.batch_source
    in_source = {name: original for original, name in batch.field_mapping.items()}
    times = [t for t in (batch.timestamp_field, batch.created_timestamp_column) if t]
    names = [*(field.name for field in (*view.entity_columns, *view.features)), *times]
    wanted = {name: in_source.get(name, name) for name in names}
    missing = sorted(original for original in wanted.values() if original not in types)
    if missing:
        raise BatchError(
            f"view {view.name}: {batch.path} has no column {', '.join(missing)}; it has {', '.join(sorted(types))}"
        )
    return {name: identifier(original) for name, original in wanted.items()}


def _find(
    connection: duckdb.DuckDBPyConnection, relation: str, view: FeatureView, columns: dict[str, str], bounds: _Bounds
) -> None:
    batch = view.batch_source
    event = f"{columns[batch.timestamp_field]}::TIMESTAMPTZ"
    conditions = [f"{event} BETWEEN {_instant(bounds.start)} AND {_instant(bounds.end)}"]
    order = f"epoch_us({event}) * {_EVENT_WEIGHT}"
    if batch.created_timestamp_column:
        created = f"{columns[batch.created_timestamp_column]}::TIMESTAMPTZ"
        conditions.append(f"coalesce({created} <= {_instant(bounds.known_by)}, true)")
        order += f" + coalesce(epoch_us({created}), {UNKNOWN + 1})"
    keys = ", ".join(columns[field.name] for field in view.entity_columns)
    # Only places are kept per entity, not rows: memory follows the entities, however long their history. One thread,
    # so that of two rows with the same times every run takes the same one.
    connection.execute("SET threads = 1")
    connection.execute(
        f"CREATE TEMPORARY TABLE latest AS SELECT arg_max({_PLACE}, {order}) AS place FROM {relation} "
        f"WHERE {' AND '.join(conditions)} GROUP BY {keys}"
    )
    connection.execute("SET threads = 2")


def _stream(
    connection: duckdb.DuckDBPyConnection, relation: str, view: FeatureView, columns: dict[str, str]
) -> Iterator[pa.RecordBatch]:
    selected = ", ".join(f"{original} AS {identifier(name)}" for name, original in columns.items())
    order = ", ".join(_stored_order(layout_of(view), columns))
    reader = connection.sql(
        f"SELECT {selected} FROM {relation} SEMI JOIN latest ON {_PLACE} = latest.place ORDER BY {order}"
    ).to_arrow_reader(_BATCH_ROWS)
    yield from reader


def _stored_order(layout: EntityKeyLayout, columns: dict[str, str]) -> Iterator[str]:
    """The order of the bytes of entity keys: a table that is written in its own order keeps its pages together."""
    for name, kind in layout.kinds:
        yield from _bytes_order(columns[name], kind)


def _bytes_order(column: str, kind: KeyKind) -> list[str]:
    if kind == "string":
        return [f"strlen({column})", column]
    width = 8 if kind == "int64" else 4
    return [f"({column} >> {8 * byte}) & 255" for byte in range(width)]


def _instant(moment: datetime) -> str:
    return f"{literal(moment.isoformat())}::TIMESTAMPTZ"
