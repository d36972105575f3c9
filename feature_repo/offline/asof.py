"""The SQL of one as-of join: for every entity row the newest version of its features at that instant."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from feature_repo.offline.overtaken import overtaken
from feature_repo.offline.parquet_source import identifier

EARLIEST = -(2**63) + 1
# Time columns of these types are compared as they are, so that Parquet's statistics spare reading what is too old.
CONSTRUCTORS = {"TIMESTAMP": "make_timestamp", "TIMESTAMP WITH TIME ZONE": "make_timestamptz"}
# How many versions are looked through at a time before the join: at most 100 bytes each.
ROWS_AT_A_TIME = 10_000_000


@dataclass(frozen=True)
class AsOf:
    """Columns are those of the files; times and `ttl` are microseconds, `span` the first and last instant asked for.

    The newest row wins by event time, then by creation, then by a hash of its values, so that the answer does not
    depend on the order of files. `by_creation` lets a row count only from when it has both happened and been created;
    a row that arrives behind a newer event is then never the newest.
    """

    relation: str
    keys: Sequence[str]
    event: str
    event_type: str
    created: str | None
    features: Sequence[str]
    ttl: int | None
    span: tuple[int, int]
    by_creation: bool
    has_texts: bool
    """Whether a feature is of no fixed width; more than 2 GB of such values can only be put in order by DuckDB."""

    def join(self, connection: duckdb.DuckDBPyConnection) -> pa.Table:
        """Columns f0, f1, ..., one row per row of the table `entity` (row, t, k0, k1, ...), in its order."""
        keys = [f"k{i}" for i in range(len(self.keys))]
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE asked AS
            SELECT (row_number() OVER ())::INTEGER AS id, * FROM (SELECT DISTINCT {_list(keys) or 1} FROM entity)
        """)
        columns = [f"f{i}" for i in range(len(self.features))]
        never_newest, has_ties = self._looked_through(connection)
        connection.register("overtaken", never_newest)
        fresh = f"version.event >= instant.t - {self.ttl}" if self.ttl else "true"
        answer = connection.sql(f"""
            WITH instant AS (
                SELECT entity."row", entity.t, asked.id
                FROM entity LEFT JOIN asked ON {_all(f"entity.{k} = asked.{k}" for k in keys)}
            ),
            candidate AS ({self._candidates()}),
            version AS (
                SELECT * FROM candidate
                {"ANTI JOIN overtaken USING (id, visible, event)" if never_newest.num_rows else ""}
                {_LAST_OF_INSTANT if has_ties else ""}
            )
            SELECT instant."row", {_list(f"CASE WHEN {fresh} THEN version.{c} END AS {c}" for c in columns)}
            FROM instant ASOF LEFT JOIN version ON instant.id = version.id AND instant.t >= version.visible
            {'ORDER BY instant."row"' if self.has_texts else ""}
        """).to_arrow_table()
        rows = answer["row"].to_numpy()
        answer = answer.drop("row")
        return answer if self.has_texts else answer.take(np.argsort(rows))

    def _candidates(self) -> str:
        """Versions of the keys asked for, from when each is visible; keys become small integers, quicker to sort."""
        event = f"epoch_us(source.{identifier(self.event)})"
        created = f"epoch_us(source.{identifier(self.created)})" if self.created else "NULL"
        values = [f"source.{identifier(feature)}" for feature in self.features]
        conditions = [f"source.{identifier(key)} = asked.k{i}" for i, key in enumerate(self.keys)]
        known = [f"{created} IS NOT NULL"] if self.by_creation else []
        return f"""
            SELECT asked.id, {event} AS event, coalesce({created}, {EARLIEST}) AS created,
                {f"greatest({event}, {created})" if self.by_creation else event} AS visible,
                hash({_list(values)}) AS content, {_list(f"{v} AS f{i}" for i, v in enumerate(values))}
            FROM {self.relation} AS source JOIN asked ON {_all(conditions)}
            WHERE {_all([f"{event} IS NOT NULL", *known, *self._bounds(event)])}
        """

    def _bounds(self, event: str) -> Iterable[str]:
        """Nothing after the last instant asked for, nothing that had expired at the first."""
        first, last = self.span
        column, instant = event, ""
        if self.event_type in CONSTRUCTORS:
            column, instant = f"source.{identifier(self.event)}", CONSTRUCTORS[self.event_type]
        yield f"{column} <= {instant}({last})"
        if self.ttl:
            yield f"{column} >= {instant}({first - self.ttl})"

    def _looked_through(self, connection: duckdb.DuckDBPyConnection) -> tuple[pa.Table, bool]:
        """Versions that are never the newest (id, visible, event), and whether two others share key and instant.

        Ties are rare, and dear to sort out. Sorting a few numbers in numpy is several times quicker than windows over
        whole rows in DuckDB; equal hashes of different instants only cost time.
        """
        ((rows,),) = connection.execute(f"SELECT count(*) FROM {self.relation}").fetchall()
        parts = rows // ROWS_AT_A_TIME + 1
        columns = "id, visible, event" if self.by_creation else "hash(id, visible) AS h"
        has_ties, found = False, [_NONE_OVERTAKEN]
        for part in range(parts):
            version = connection.sql(
                f"SELECT {columns} FROM ({self._candidates()}) WHERE id % {parts} = {part}"
            ).to_arrow_table()
            if self.by_creation:
                is_overtaken, is_tied = overtaken(*(version[name].to_numpy() for name in version.column_names))
                found.append(version.filter(pa.array(is_overtaken)))
            else:
                hashes = np.sort(version["h"].to_numpy())
                is_tied = bool((hashes[1:] == hashes[:-1]).any())
            has_ties |= is_tied
        return pa.concat_tables(found), has_ties


_NONE_OVERTAKEN = pa.table(
    {"id": pa.array([], pa.int32()), "visible": pa.array([], pa.int64()), "event": pa.array([], pa.int64())}
)
_LAST_OF_INSTANT = """
    WINDOW w AS (PARTITION BY id ORDER BY visible, created, content)
    QUALIFY lead(visible) OVER w IS DISTINCT FROM visible"""


def _list(parts: Iterable[str]) -> str:
    return ", ".join(parts)


def _all(conditions: Iterable[str]) -> str:
    return " AND ".join(conditions) or "true"
