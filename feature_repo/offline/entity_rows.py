"""The rows features are asked for: any frame becomes Arrow, with instants in microseconds and keys by position."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.offline.errors import PointInTimeError

EVENT_TIMESTAMP = "event_timestamp"
INSTANT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class EntityRows:
    """A frame whose `event_column` is an instant in UTC, never null."""

    table: pa.Table
    event_column: str

    @classmethod
    def of(cls, frame: object) -> "EntityRows":
        """From a pandas DataFrame or an Arrow table; times without a zone are UTC. Raises PointInTimeError."""
        table = _arrow(frame)
        column = _event_column(table.schema)
        instants = _instants(table[column], column)
        return cls(table.set_column(table.column_names.index(column), column, instants), column)

    @cached_property
    def instants(self) -> pa.ChunkedArray:
        """The event times as microseconds since 1970."""
        return self.table[self.event_column].cast(pa.int64())

    @cached_property
    def span(self) -> tuple[int, int] | None:
        """The first and the last instant in microseconds; None of no rows."""
        edges = pc.min_max(self.instants).as_py()
        return (edges["min"], edges["max"]) if self.table.num_rows else None

    @property
    def range(self) -> tuple[datetime, datetime] | tuple[None, None]:
        """The first and the last instant as Feast's metadata wants them."""
        if self.span is None:
            return None, None
        first, last = (pd.Timestamp(edge, unit="us", tz=UTC).to_pydatetime() for edge in self.span)
        return first, last

    def answered(self) -> pa.Table:
        """The columns as DuckDB would hand them back: instants in UTC microseconds, categories as their values."""
        table = self.table
        for i, field in enumerate(table.schema):
            if pa.types.is_timestamp(field.type) and field.type.tz:
                table = table.set_column(i, field.name, table[i].cast(INSTANT, safe=False))
            elif pa.types.is_dictionary(field.type):
                table = table.set_column(i, field.name, table[i].cast(field.type.value_type))
        return table

    def is_empty(self, column: str) -> bool:
        """Whether a column has no value at all."""
        return bool(self.table[column].null_count == self.table.num_rows)

    def keyed(self, keys: Sequence[str]) -> pa.Table:
        """Columns `row` (position), `t` (microseconds) and `k0`, `k1`, ... (the key columns in the order of `keys`)."""
        # pandas gives a column without a value any type; as a text it can be compared with keys of every type.
        nothing = pa.nulls(self.table.num_rows, pa.string())
        columns = {f"k{i}": nothing if self.is_empty(key) else self.table[key] for i, key in enumerate(keys)}
        return pa.table({"row": np.arange(self.table.num_rows), "t": self.instants, **columns})


def _arrow(frame: object) -> pa.Table:
    if isinstance(frame, pa.Table):
        return frame
    if not isinstance(frame, pd.DataFrame):
        raise PointInTimeError(
            f"entity_df is {_kind(frame)}: hand over a pandas DataFrame or a pyarrow Table of the keys and an "
            f"{EVENT_TIMESTAMP} column; SQL and a range of dates without rows are not supported by this store"
        )
    try:
        return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise PointInTimeError(f"entity_df: a column has values of several types, make them one: {error}") from error


def _kind(frame: object) -> str:
    return "missing" if frame is None else f"a {type(frame).__name__}"


def _event_column(schema: pa.Schema) -> str:
    """`event_timestamp`, or the only column of timestamps, as Feast infers it."""
    if EVENT_TIMESTAMP in schema.names:
        return EVENT_TIMESTAMP
    timestamps = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    if len(timestamps) != 1:
        raise PointInTimeError(
            f"entity_df has no column {EVENT_TIMESTAMP} and {len(timestamps)} columns of timestamps "
            f"(columns: {', '.join(schema.names)}): name the instant each row asks at {EVENT_TIMESTAMP}"
        )
    return str(timestamps[0])


def _instants(values: pa.ChunkedArray, column: str) -> pa.ChunkedArray:
    if not pa.types.is_timestamp(values.type):
        values = _parsed(values, column)
    if values.null_count:
        raise PointInTimeError(
            f"entity_df: {values.null_count} of {len(values)} rows have no {column}: drop them or fill in when they ask"
        )
    zone = values.type.tz
    return values.cast(pa.timestamp("us", tz=zone), safe=False).cast(INSTANT)


def _parsed(values: pa.ChunkedArray, column: str) -> pa.ChunkedArray:
    """Text, dates and columns of no rows, as pandas reads them."""
    if len(values) and (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise PointInTimeError(f"entity_df: {column} is {values.type}, not a time: convert it with pandas.to_datetime")
    try:
        parsed = pd.to_datetime(values.to_pandas(), utc=True)
    except (ValueError, TypeError) as error:
        raise PointInTimeError(f"entity_df: {column} cannot be read as a time: {error}") from error
    return pa.chunked_array([pa.Array.from_pandas(parsed)])
