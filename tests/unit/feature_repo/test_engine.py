"""The engine writes the newest known rows in columns, shows progress, hands errors back, leaves other views to Feast."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from feast import Entity, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Bool, Float64, String

from feature_repo.engine import BusinessTimeEngine
from feature_repo.online.sqlite import GuardedSqliteOnlineStore

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


class Bar:
    """What tqdm would have shown."""

    def __init__(self, total):
        self.total, self.done, self.is_closed = total, 0, False

    def update(self, rows):
        self.done += rows

    def close(self):
        self.is_closed = True


class Home:
    """One view over one table, its engine and its online store."""

    def __init__(self, folder):
        self.path = folder / "table.parquet"
        self.bars = []
        self.config = RepoConfig(
            project="p",
            provider="local",
            registry="unused.db",
            online_store={
                "type": "feature_repo.online.sqlite.GuardedSqliteOnlineStore",
                "path": str(folder / "online.db"),
                "business_time": NOW.isoformat(),
            },
            batch_engine={"type": "feature_repo.engine.BusinessTimeEngine", "business_time": NOW.isoformat()},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
        self.online = GuardedSqliteOnlineStore()
        self.engine = BusinessTimeEngine(repo_config=self.config, offline_store=None, online_store=self.online)
        self.use("visits")

    def use(self, *features, key_type=String):
        self.view = FeatureView(
            name="visits",
            entities=[Entity(name="outlet", join_keys=["outlet_id"], value_type=ValueType.STRING)],
            ttl=10 * DAY,
            schema=[Field(name="outlet_id", dtype=key_type), *(Field(name=f, dtype=Float64) for f in features)],
            source=FileSource(
                path=str(self.path), timestamp_field="event_timestamp", created_timestamp_column="created"
            ),
        )
        self.view.entity_columns = [Field(name="outlet_id", dtype=key_type)]
        self.online.update(self.config, [], [self.view], [], [], partial=True)

    def table(self, *rows):
        """Rows of (outlet, visits, event time, created time); baskets are ten times the visits."""
        frame = pd.DataFrame(rows, columns=["outlet_id", "visits", "event_timestamp", "created"])
        frame.assign(baskets=frame["visits"] * 10).to_parquet(self.path, coerce_timestamps="us")

    def materialize(self, start=NOW - DAY, end=NOW):
        def bar(total):
            self.bars.append(Bar(total))
            return self.bars[-1]

        task = MaterializationTask("p", self.view, start, end, tqdm_builder=bar)
        return self.engine._materialize_one(None, task)

    def read(self, outlet, feature="visits"):
        key = EntityKey(join_keys=["outlet_id"], entity_values=[Value(string_val=outlet)])
        ((_, values),) = self.online.online_read(self.config, self.view, [key])
        return None if values is None or feature not in values else values[feature].double_val


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path)
    yield home
    for connection in (home.online._conn, home.online._writer):
        if connection is not None:
            connection.close()


def test_the_newest_known_row_of_every_entity_is_written_and_progress_shown(home):
    home.table(*((f"o{o}", float(week), NOW - week * DAY, NOW - week * DAY) for week in (3, 1, 2) for o in range(500)))
    assert home.materialize().status() == MaterializationJobStatus.SUCCEEDED
    assert [home.read(f"o{o}") for o in (0, 250, 499)] == [1.0] * 3
    assert [(bar.total, bar.done, bar.is_closed) for bar in home.bars] == [(500, 500, True)]


def test_a_new_feature_is_filled_for_every_entity_by_the_same_interval_again(home):
    home.table(("o1", 1.0, NOW - 2 * SECOND, NOW - SECOND), ("o2", 2.0, NOW - 5 * DAY, NOW - 5 * DAY))
    home.materialize()
    home.use("visits", "baskets")
    assert (home.read("o1", "baskets"), home.read("o2", "baskets")) == (None, None)
    home.materialize()
    assert (home.read("o1", "baskets"), home.read("o2", "baskets")) == (10.0, 20.0)


def test_a_row_that_became_known_after_the_last_run_is_not_missed_and_one_not_known_yet_is_not_used(home):
    home.table(
        ("late", 2.0, NOW - 3 * DAY, NOW - SECOND),
        ("late", 1.0, NOW - 4 * DAY, NOW - 4 * DAY),
        ("early", 9.0, NOW - SECOND, NOW + SECOND),
    )
    home.materialize(start=NOW - DAY)
    assert (home.read("late"), home.read("early")) == (2.0, None)


def test_what_goes_wrong_is_handed_back_in_the_job_as_feasts_engine_does(home):
    job = home.materialize()
    assert job.status() == MaterializationJobStatus.ERROR
    assert "visits" in str(job.error())


@pytest.mark.parametrize("why", ["transformation", "written offline", "bool key", "other store", "remote"])
def test_a_view_that_is_not_plain_goes_feasts_own_way(home, monkeypatch, why):
    handed = []
    monkeypatch.setattr(LocalComputeEngine, "_materialize_one", lambda self, registry, task: handed.append(task))
    if why == "transformation":
        from feast import BatchFeatureView

        home.view.__class__ = BatchFeatureView
    if why == "written offline":
        home.view.offline = True
    if why == "bool key":
        home.view.entity_columns = [Field(name="outlet_id", dtype=Bool)]
    if why == "other store":
        home.engine.online_store = None
    if why == "remote":
        home.view.batch_source.file_options.uri = "s3://bucket/table.parquet"
    home.materialize()
    assert [task.feature_view for task in handed] == [home.view]
