"""Reads serialised values out of Postgres: one statement per view, none waited for longer than its deadline."""

import select
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from psycopg import Connection, OperationalError, sql
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from feature_repo.online.layout import table_name
from feature_repo.online.plan import PlannedView, ReadPlan
from feature_repo.online.reader import RawView, Stored, gather

_CELLS = (
    "SELECT (extract(epoch FROM event_ts) * 1000000)::bigint, entity_key, feature_name, value FROM {} "
    "WHERE entity_key = ANY(%s) AND feature_name = ANY(%s)"
)
STATEMENT_SECONDS = 0.5
_CONNECT_SECONDS = 2  # psycopg takes no less
_T = TypeVar("_T")


class TimelyConnection(Connection[Any]):
    """A connection that raises OperationalError and is closed when a statement is not answered within its deadline.

    A server that is frozen, or a network that swallows what it is given, breaks no connection: neither the server's
    own `statement_timeout` nor TCP's timeouts end the wait.
    """

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = STATEMENT_SECONDS) -> _T:
        """Wait for an answer of the server, as psycopg does, but not for ever."""
        try:
            return super().wait(gen, interval, timeout)
        except OperationalError as error:
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            late = OperationalError(f"Postgres at {self.info.host} did not answer within {timeout:g} s")
            self.close()  # its answer would be taken for that of the next statement
            raise late from error


class TimelyConnections:
    """Connections to one database, lent to one thread at a time, as many as there are threads that read.

    They are made by whoever reads: a pool's own attempts to reconnect grow rarer the longer the server was away.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._idle: deque[TimelyConnection] = deque()
        weakref.finalize(self, _close, self._idle)

    @contextmanager
    def lent(self) -> Iterator[TimelyConnection]:
        """An open connection; raises OperationalError where none can be made within two seconds."""
        connection = self._taken()
        try:
            yield connection
        finally:
            if not connection.closed:
                self._idle.append(connection)

    def _taken(self) -> TimelyConnection:
        while self._idle:
            connection = self._idle.pop()
            if not _has_something_to_say(connection):
                return connection
            connection.close()
        return TimelyConnection.connect(self._address, autocommit=True, connect_timeout=_CONNECT_SECONDS)


def _has_something_to_say(connection: TimelyConnection) -> bool:
    # Nothing was asked: it is the farewell of a server that has ended the connection since the last read.
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))


def _close(connections: Iterable[TimelyConnection]) -> None:
    for connection in connections:
        connection.close()


class PostgresValues:
    """The values behind connections that `connect` lends."""

    def __init__(self, connect: Callable[[], AbstractContextManager[Connection[Any]]]) -> None:
        self._connect = connect

    def fetch(
        self,
        plan: ReadPlan,
        keys: Sequence[Sequence[bytes]],
        *,
        unless: bytes | None = None,  # noqa: ARG002 - every row is needed to tell
    ) -> Stored:
        """Every view of the plan, in order, whatever it held earlier; errors of psycopg pass through."""
        asked = {place: group for lookup, group in zip(plan.lookups, keys, strict=True) for place in lookup.views}
        with self._connect() as connection:
            views = [_view(connection, plan.project, view, asked[place]) for place, view in enumerate(plan.views)]
        return Stored(views)


def _view(connection: Connection[Any], project: str, view: PlannedView, keys: Sequence[bytes]) -> RawView:
    statement = sql.SQL(_CELLS).format(sql.Identifier(table_name(project, view.stored)))
    names = [feature.name for feature in view.features]
    return gather(view, keys, connection.cursor(binary=True).execute(statement, [list(keys), names]))
