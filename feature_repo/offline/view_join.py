"""The point-in-time join of one feature view: does its source fit the entity rows, and what are its features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import duckdb
import pyarrow as pa

from feature_repo.offline.asof import AsOf
from feature_repo.offline.entity_rows import EntityRows
from feature_repo.offline.errors import PointInTimeError
from feature_repo.offline.parquet_source import ParquetSource

MICROSECOND = timedelta(microseconds=1)
# From here on a double cannot tell two whole numbers apart.
LARGEST_EXACT = 2**53
FIXED_WIDTH = {"number", "instant", "DATE", "BOOLEAN"}


@dataclass(frozen=True)
class ViewJoin:
    """One view of a request: `keys` maps its keys to columns of the entity rows, `features` to columns of the answer.

    The names of the source are those of the view; `files` says how the files name those that a field mapping renames.
    """

    source: ParquetSource
    keys: Mapping[str, str]
    features: Mapping[str, str]
    event: str
    created: str | None
    ttl: timedelta | None
    files: Mapping[str, str]

    def read(self, connection: duckdb.DuckDBPyConnection, rows: EntityRows, *, as_known: bool) -> pa.Table:
        """The features of every entity row, in their order; raises PointInTimeError when source and rows do not fit."""
        self._check_rows(rows)
        connection.register("entity", rows.keyed(list(self.keys.values())))
        relation = self.source.relation(connection)
        types = self.source.types(connection, relation)
        self._check_columns(types)
        self._check_keys(connection, rows, types)
        as_of = AsOf(
            relation=relation,
            keys=[self._column(key) for key in self.keys],
            event=self._column(self.event),
            event_type=types[self._column(self.event)],
            created=self._column(self.created) if self.created else None,
            features=[self._column(feature) for feature in self.features],
            ttl=self.ttl // MICROSECOND if self.ttl else None,
            span=rows.span or (0, 0),
            by_creation=as_known and self.created is not None,
            has_texts=any(_family(types[self._column(feature)]) not in FIXED_WIDTH for feature in self.features),
        )
        try:
            answer = as_of.join(connection)
        except duckdb.Error as error:
            raise self._error(f"the join failed: {error}") from error
        if answer.num_rows != rows.table.num_rows:
            raise self._error(f"{rows.table.num_rows} rows asked for, {answer.num_rows} came back")
        return answer.rename_columns(list(self.features.values()))

    def _column(self, name: str) -> str:
        return self.files.get(name, name)

    def _error(self, message: str) -> PointInTimeError:
        return PointInTimeError(f"feature view {self.source.view}: {message}")

    def _check_rows(self, rows: EntityRows) -> None:
        for key, column in self.keys.items():
            if column not in rows.table.column_names:
                raise self._error(
                    f"entity_df has no column {column} for key {key} (columns: {', '.join(rows.table.column_names)}): "
                    "add it, or map the key with with_join_key_map"
                )

    def _check_columns(self, types: Mapping[str, str]) -> None:
        times = [self.event, *([self.created] if self.created else [])]
        for name in (*self.keys, *times, *self.features):
            if self._column(name) not in types:
                raise self._error(
                    f"{self.source.path} has no column {self._column(name)} (columns: {', '.join(types)}): "
                    "build the source again, or correct the view or its field_mapping"
                )
        for column in map(self._column, times):
            if not types[column].startswith(("TIMESTAMP", "DATE")):
                raise self._error(f"column {column} is {types[column]}, not a time: write it as a timestamp")
        self._check_files([self._column(name) for name in (*self.keys, *times)])

    def _check_files(self, columns: Sequence[str]) -> None:
        """A feature may be younger than a file; a row without its key or time would silently never be found."""
        names = self.source.columns_by_file()
        for column in columns:
            lacking = [file for file, present in names.items() if column not in present]
            if 0 < len(lacking) < len(names):
                raise self._error(
                    f"column {column} is missing in {lacking[0]} ({len(lacking)} of {len(names)} files): "
                    "write these files again, or move them away"
                )

    def _check_keys(self, connection: duckdb.DuckDBPyConnection, rows: EntityRows, types: Mapping[str, str]) -> None:
        asked = {name: kind for name, kind, *_ in connection.execute("DESCRIBE entity").fetchall()}
        for i, (key, column) in enumerate(self.keys.items()):
            ours, theirs = asked[f"k{i}"], types[self._column(key)]
            fits = rows.is_empty(column) or _family(ours) == _family(theirs)
            if fits and _is_fraction(ours) and not _is_fraction(theirs):
                largest = connection.execute(f"SELECT max(abs(k{i})) FROM entity").fetchall()[0][0]
                fits = largest is None or largest < LARGEST_EXACT
            if not fits:
                raise self._error(
                    f"key {key} is {theirs} in {self.source.path}, but column {column} of entity_df is {ours}: "
                    "convert one of the two, they cannot be compared"
                )


def _family(kind: str) -> str:
    """Types whose values compare as people expect: whole numbers of any width, texts, instants; else the type."""
    if kind.endswith("INT") or kind == "INTEGER" or _is_fraction(kind):
        return "number"
    return "instant" if kind.startswith("TIMESTAMP") else kind


def _is_fraction(kind: str) -> bool:
    return kind in {"FLOAT", "DOUBLE"} or kind.startswith("DECIMAL")
