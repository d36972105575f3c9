"""A materialisation in a process of its own that dies in the middle of its k-th batch; started by the tests beside it."""

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, String

from feature_repo.online.guard import GuardedStore

PRESENT = datetime(2026, 1, 1, tzinfo=UTC)
FEATURES = ("visits", "baskets")


def store(home, online):
    """A store of the table in `home` with the view registered."""
    path = str(home / "table.parquet")
    config = RepoConfig(
        project="killed",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{home}/registry.db"},
        offline_store={"type": "duckdb"},
        online_store=online,
        batch_engine={"type": "feature_repo.engine.BusinessTimeEngine", "business_time": PRESENT.isoformat()},
        entity_key_serialization_version=3,
        repo_path=home,
    )
    opened = FeatureStore(config=config)
    entity = Entity(name="outlet", join_keys=["outlet_id"], value_type=ValueType.STRING)
    source = FileSource(path=path, timestamp_field="event_timestamp", created_timestamp_column="created_timestamp")
    schema = [Field(name="outlet_id", dtype=String), *(Field(name=f, dtype=Float64) for f in FEATURES)]
    opened.apply([entity, FeatureView(name="visits", entities=[entity], ttl=None, schema=schema, source=source)])
    return opened


def online_store(home, redis_url):
    """Configuration of the guarded store: Redis where there is one, else SQLite in `home`."""
    own = {"business_time": PRESENT.isoformat()}
    if redis_url:
        return {"type": "feature_repo.online.redis.GuardedRedisOnlineStore", "connection_string": redis_url, **own}
    return {
        "type": "feature_repo.online.sqlite.GuardedSqliteOnlineStore",
        "path": str(home / "online.db"),
        **own,
    }


def die_in_batch(number):
    """Let the process be killed after the cells of its batch `number` were sent, before they are made to count."""
    written = 0
    write = GuardedStore._write_atomically

    def counted(self, config, view, rows):
        nonlocal written
        written += 1
        if written == number:
            step = self.session(config, view)  # kept: an open step that nobody holds is rolled back
            session = step.__enter__()
            session.known(rows.keys)
            session.put(rows.take(range(len(rows) // 2)))
            os.kill(os.getpid(), signal.SIGKILL)
        return write(self, config, view, rows)

    GuardedStore._write_atomically = counted


def main(home, redis_url, number):
    """Materialise everything, to the end when `number` is 0."""
    opened = store(home, online_store(home, redis_url))
    GuardedStore.batch_rows = 50
    for kind in GuardedStore.__subclasses__():
        kind.batch_rows = 50
    if number:
        die_in_batch(number)
    opened.materialize(datetime(2025, 1, 1, tzinfo=UTC), PRESENT)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
