"""Opens the online store for reading by a plan that was left beside it, without Feast and without its registry."""

import json
from pathlib import Path
from typing import Any

from feature_repo.online.known_answers import KnownAnswers
from feature_repo.online.plan import ReadPlan
from feature_repo.online.reader import PlanReader, StoredValues
from feature_repo.online.rules import ALLOWED_SKEW_SECONDS, micros
from poplift.feature_store import READ_DEADLINE, configuration, read_plan_path
from poplift.settings import Settings


def open_reader(settings: Settings, *, service: str, remembers: bool = False) -> PlanReader:
    """A reader of a feature service that follows its plan file; one that `remembers` takes an answer apart once.

    Raises FileNotFoundError where `poplift features` has left no plan yet, and PlanError for a file of another form.
    """
    plans = PlanFile(read_plan_path(settings, service))
    return PlanReader(
        plans.get,
        _stored_values(configuration(settings, redis_options=READ_DEADLINE)["online_store"]),
        present_us=lambda: micros(settings.now()),
        skew_us=round(ALLOWED_SKEW_SECONDS * 1e6),
        known=KnownAnswers() if remembers else None,
    )


class PlanFile:
    """One plan on disk, read again when the file is another one; one that vanishes leaves the last in place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen, self._plan = self._read()

    def get(self) -> ReadPlan:
        """The newest plan; raises PlanError when the file holds something else."""
        try:
            is_new = _identity(self._path) != self._seen
        except FileNotFoundError:
            return self._plan
        if is_new:
            self._seen, self._plan = self._read()
        return self._plan

    def _read(self) -> tuple[tuple[int, int], ReadPlan]:
        seen = _identity(self._path)  # before the content: a file replaced in between is then read once more
        return seen, ReadPlan.from_json(self._path.read_text())


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def _stored_values(online: dict[str, Any]) -> StoredValues:
    """The raw read behind the `online_store` of a feature_store.yaml."""
    if "connection_string" in online:
        from feature_repo.online.reading_redis import RedisValues

        return RedisValues(_redis(online["connection_string"]))
    if "path" in online:
        from feature_repo.online.reading_sqlite import SqliteValues

        return SqliteValues(Path(online["path"]))
    return _postgres(online)


def _redis(connection_string: str) -> Any:
    """A client of host:port with options after it, written as Feast wants them: name=value, the value in JSON."""
    from redis import Redis

    address, *options = connection_string.split(",")
    host, _, port = address.rpartition(":")
    given = (option.partition("=") for option in options)
    return Redis(host=host, port=int(port), **{name: _json_or_text(value) for name, _, value in given})


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _postgres(online: dict[str, Any]) -> StoredValues:
    from psycopg.conninfo import make_conninfo

    from feature_repo.online.reading_postgres import PostgresValues, TimelyConnections

    names = {"database": "dbname"}
    parts = ("host", "port", "database", "user", "password", "sslmode")
    address = make_conninfo(**{names.get(part, part): online[part] for part in parts if online[part] is not None})
    return PostgresValues(TimelyConnections(address).lent)
