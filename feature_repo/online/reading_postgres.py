"""Reads serialised values out of Postgres: one statement per view."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from psycopg import Connection, sql

from feature_repo.online.layout import table_name
from feature_repo.online.plan import PlannedView, ReadPlan
from feature_repo.online.reader import RawView, gather

_CELLS = (
    "SELECT (extract(epoch FROM event_ts) * 1000000)::bigint, entity_key, feature_name, value FROM {} "
    "WHERE entity_key = ANY(%s) AND feature_name = ANY(%s)"
)


class PostgresValues:
    """The values behind connections that `connect` lends."""

    def __init__(self, connect: Callable[[], AbstractContextManager[Connection[Any]]]) -> None:
        self._connect = connect

    def fetch(self, plan: ReadPlan, keys: Sequence[Sequence[bytes]]) -> list[RawView]:
        """Every view of the plan, in order; errors of psycopg pass through."""
        asked = {place: group for lookup, group in zip(plan.lookups, keys, strict=True) for place in lookup.views}
        with self._connect() as connection:
            return [_view(connection, plan.project, view, asked[place]) for place, view in enumerate(plan.views)]


def _view(connection: Connection[Any], project: str, view: PlannedView, keys: Sequence[bytes]) -> RawView:
    statement = sql.SQL(_CELLS).format(sql.Identifier(table_name(project, view.stored)))
    names = [feature.name for feature in view.features]
    return gather(view, keys, connection.cursor(binary=True).execute(statement, [list(keys), names]))
