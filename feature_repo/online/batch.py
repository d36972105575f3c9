"""Rows on their way into an online store: columns as they come, and the bytes that are stored."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.value_type import ValueType

from feature_repo.online.encoding import ColumnTypeError, as_declared, encode, finite
from feature_repo.online.layout import EntityKeyLayout, KeyKind
from feature_repo.online.rules import FUTURE, NOT_FINITE, NULL_KEY, NULL_TIME, UNKNOWN, Mask, Micros, micros

KEY_KINDS: Mapping[ValueType, KeyKind] = {
    ValueType.STRING: "string",
    ValueType.INT64: "int64",
    ValueType.INT32: "int32",
}


class BatchError(Exception):
    """Rows cannot be written at all; the message names view and column, nothing was written."""


@dataclass(frozen=True)
class Rows:
    """n rows as they are stored: serialised entity keys, serialised values by feature, times in microseconds.

    `created` is UNKNOWN where nobody said it. Duplicate keys may be among them.
    """

    keys: Sequence[bytes]
    values: Mapping[str, Sequence[bytes]]
    event: Micros
    created: Micros

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.keys)

    def take(self, positions: Iterable[int]) -> "Rows":
        """The rows at these positions, in this order."""
        at = list(positions)
        values = {name: [column[i] for i in at] for name, column in self.values.items()}
        return Rows([self.keys[i] for i in at], values, self.event[at], self.created[at])

    def chunks(self, size: int) -> Iterator["Rows"]:
        """The rows in their order, at most `size` at a time."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            values = {name: column[part] for name, column in self.values.items()}
            yield Rows(self.keys[part], values, self.event[part], self.created[part])


@dataclass(frozen=True)
class OnlineBatch:
    """n rows of one view as columns of n values: join keys, features by their declared type, event and created time.

    `created_us` is None when the source has no such column. A null feature is allowed and stored as a null; a null
    event time is UNKNOWN.
    """

    view: str
    layout: EntityKeyLayout
    columns: Mapping[str, pa.Array]
    features: Mapping[str, ValueType]
    event_us: Micros
    created_us: Micros | None

    @classmethod
    def of_table(cls, view: FeatureView, table: pa.Table | pa.RecordBatch) -> "OnlineBatch":
        """Rows with the columns of the view's source; raises BatchError naming the column that is missing or wrong.

        Timestamps without a zone are UTC.
        """
        types = {field.name: field.dtype.to_value_type() for field in (*view.entity_columns, *view.features)}
        source = view.batch_source
        times = [t for t in (source.timestamp_field, source.created_timestamp_column) if t]
        missing = [name for name in (*types, *times) if name not in table.schema.names]
        if missing:
            raise BatchError(
                f"view {view.name}: column {', '.join(missing)} is missing; there are {table.schema.names}"
            )
        columns = {name: _declared(view.name, name, _flat(table.column(name)), t) for name, t in types.items()}
        event, *created = [_micros(view.name, name, _flat(table.column(name))) for name in times]
        return cls(
            view=view.name,
            layout=layout_of(view),
            columns=columns,
            features={field.name: types[field.name] for field in view.features},
            event_us=event,
            created_us=created[0] if created else None,
        )

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.event_us)

    def admitted(self, *, latest_us: int) -> tuple[Rows, dict[str, int]]:
        """The rows that may be stored, encoded, and how many were refused by reason; a row is counted once."""
        nulls = [self.columns[key].is_null().to_numpy(zero_copy_only=False) for key in self.layout.join_keys]
        checks = [finite(self.columns[name], value_type) for name, value_type in self.features.items()]
        broken = [~check for check in checks if check is not None]
        good, refused = sift(
            len(self),
            {
                NULL_KEY: np.logical_or.reduce(nulls),
                NULL_TIME: self.event_us == UNKNOWN,
                FUTURE: self.event_us > latest_us,
                NOT_FINITE: np.logical_or.reduce(broken) if broken else np.zeros(len(self), dtype=bool),
            },
        )
        return self._encoded(None if good.all() else good), refused

    def _encoded(self, good: Mask | None) -> Rows:
        kept = self.columns if good is None else {n: c.filter(pa.array(good)) for n, c in self.columns.items()}
        event = self.event_us if good is None else self.event_us[good]
        created = np.full(len(self), UNKNOWN) if self.created_us is None else self.created_us
        return Rows(
            self.layout.encode({key: kept[key].to_pylist() for key in self.layout.join_keys}),
            {name: encode(kept[name], value_type) for name, value_type in self.features.items()},
            event,
            created if good is None else created[good],
        )


def layout_of(view: FeatureView) -> EntityKeyLayout:
    """How the entity keys of a view become bytes; raises BatchError for a key type that has no layout here."""
    kinds: dict[str, KeyKind] = {}
    for field in view.entity_columns:
        value_type = field.dtype.to_value_type()
        if value_type not in KEY_KINDS:
            raise BatchError(
                f"view {view.name}: join key {field.name} is {value_type.name}; string, int64 and int32 can be written"
            )
        kinds[field.name] = KEY_KINDS[value_type]
    return EntityKeyLayout.of(kinds)


def rows_of_protos(data: Sequence[Any], *, version: int, latest_us: int) -> tuple[Rows, dict[str, int]]:
    """The same for rows as Feast hands them on: entity key, value by feature, event time, created time or None."""
    broken, no_key = np.zeros(len(data), dtype=bool), np.zeros(len(data), dtype=bool)
    event, created = np.full(len(data), UNKNOWN), np.full(len(data), UNKNOWN)
    for at, (key, values, event_time, created_time) in enumerate(data):
        no_key[at] = any(v.WhichOneof("val") is None for v in key.entity_values)
        broken[at] = any(not np.isfinite(v.double_val) or not np.isfinite(v.float_val) for v in values.values())
        event[at] = UNKNOWN if pd.isna(event_time) else micros(event_time)
        created[at] = UNKNOWN if pd.isna(created_time) else micros(created_time)
    good, refused = sift(
        len(data),
        {NULL_KEY: no_key, NULL_TIME: event == UNKNOWN, FUTURE: event > latest_us, NOT_FINITE: broken},
    )
    kept = [data[at] for at in np.flatnonzero(good).tolist()]
    names = list(kept[0][1]) if kept else []
    return Rows(
        [serialize_entity_key(row[0], entity_key_serialization_version=version) for row in kept],
        {name: [row[1][name].SerializeToString() for row in kept] for name in names},
        event[good],
        created[good],
    ), refused


def sift(rows: int, reasons: Mapping[str, Mask]) -> tuple[Mask, dict[str, int]]:
    """Which of the rows have no reason against them, and how many the first reason of each refused."""
    good, refused = np.ones(rows, dtype=bool), {}
    for reason, mask in reasons.items():
        count = int((good & mask).sum())
        if count:
            refused[reason] = count
            good &= ~mask
    return good, refused


def _declared(view: str, name: str, column: pa.Array, value_type: ValueType) -> pa.Array:
    try:
        return as_declared(column, value_type)
    except ColumnTypeError as error:
        raise BatchError(f"view {view}, column {name}: {error}") from error


def _micros(view: str, name: str, column: pa.Array) -> Micros:
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    if not pa.types.is_timestamp(column.type):
        raise BatchError(f"view {view}, column {name}: {column.type} is not a timestamp")
    whole = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False).cast(pa.int64())
    times: Micros = pc.fill_null(whole, UNKNOWN).to_numpy(zero_copy_only=False)
    return times


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
