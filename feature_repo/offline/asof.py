"""The SQL of one as-of join: for every entity row the newest version of its features at that instant."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from feature_repo.offline.parquet_source import identifier

EARLIEST, LATEST, HIGHEST = -(2**63) + 1, 2**63 - 1, 2**64 - 1


@dataclass(frozen=True)
class AsOf:
    """Columns are those of the files; times and `ttl` are microseconds, `span` the first and last instant asked for."""

    relation: str
    keys: Sequence[str]
    event: str
    event_type: str
    created: str | None
    features: Sequence[str]
    ttl: int | None
    span: tuple[int, int]

    def sql(self, *, as_known: bool) -> str:
        """One row per row of `entity` (row, t, k0, k1, ...), in its order, with f0, f1, ...

        The newest row wins by event time, then by creation, then by a hash of its values, so that the answer does
        not depend on the order of files. `as_known` lets a row count only from when it has both happened and been
        created; a row that arrives behind a newer event is then never the newest, and is dropped before the join.
        """
        by_creation = as_known and self.created is not None
        keys = [f"k{i}" for i in range(len(self.keys))]
        features = [f"f{i}" for i in range(len(self.features))]
        fresh = f"version.event >= instant.t - {self.ttl}" if self.ttl else "true"
        return f"""
            WITH asked AS MATERIALIZED (
                SELECT (row_number() OVER ())::INTEGER AS id, * FROM (SELECT DISTINCT {_list(keys) or 1} FROM entity)
            ),
            instant AS (
                SELECT entity."row", entity.t, asked.id
                FROM entity LEFT JOIN asked ON {_all(f"entity.{k} = asked.{k}" for k in keys)}
            ),
            candidate AS ({self._candidates(by_creation=by_creation)}),
            version AS (
                SELECT * FROM candidate {self._newest_on_arrival() if by_creation else ""}
            )
            SELECT {_list(f"CASE WHEN {fresh} THEN version.{f} END AS {f}" for f in features)}
            FROM instant ASOF LEFT JOIN version ON instant.id = version.id AND
                {{'visible': instant.t, 'event': {LATEST}, 'created': {LATEST}, 'content': {HIGHEST}::UBIGINT}} >=
                {{'visible': version.visible, 'event': version.event, 'created': version.created,
                  'content': version.content}}
            ORDER BY instant."row"
        """

    def _candidates(self, *, by_creation: bool) -> str:
        """Versions of the keys asked for, with times as microseconds; keys become small integers, quicker to sort."""
        event = f"epoch_us(source.{identifier(self.event)})"
        created = f"epoch_us(source.{identifier(self.created)})" if self.created else "NULL"
        values = [f"source.{identifier(feature)}" for feature in self.features]
        conditions = [f"source.{identifier(key)} = asked.k{i}" for i, key in enumerate(self.keys)]
        known = [f"{created} IS NOT NULL"] if by_creation else []
        return f"""
            SELECT asked.id, {event} AS event, coalesce({created}, {EARLIEST}) AS created,
                {f"greatest({event}, {created})" if by_creation else event} AS visible,
                hash({_list(values)}) AS content, {_list(f"{v} AS f{i}" for i, v in enumerate(values))}
            FROM {self.relation} AS source JOIN asked ON {_all(conditions)}
            WHERE {_all([f"{event} IS NOT NULL", *known, *self._bounds(event)])}
        """

    def _newest_on_arrival(self) -> str:
        return "QUALIFY event >= max(event) OVER (PARTITION BY id ORDER BY visible, event ROWS UNBOUNDED PRECEDING)"

    def _bounds(self, event: str) -> Iterable[str]:
        """Nothing after the last instant or expired at the first; on the bare column Parquet's statistics help."""
        first, last = self.span
        column, instant = event, "{}"
        if self.event_type in BARE:
            column, instant = f"source.{identifier(self.event)}", BARE[self.event_type] + "({})"
        yield f"{column} <= {instant.format(last)}"
        if self.ttl:
            yield f"{column} >= {instant.format(first - self.ttl)}"


BARE = {"TIMESTAMP": "make_timestamp", "TIMESTAMP WITH TIME ZONE": "make_timestamptz"}


def _list(parts: Iterable[str]) -> str:
    return ", ".join(parts)


def _all(conditions: Iterable[str]) -> str:
    return " AND ".join(conditions) or "true"
