"""What `apply` leaves beside the online store reads the same as Feast's registry does, without Feast."""

import os
import subprocess
import sys
from datetime import timedelta

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from feature_repo.catalog import DEMAND_SERVING, DEMAND_TRAINING, EFFECTS, RUNNING, VIEWS
from feature_repo.online.opening import open_reader
from feature_repo.online.plan import PlanError
from poplift import feature_store
from poplift.databases import ensure_databases
from poplift.feature_store import read_plan_path
from poplift.settings import child_environment, load_settings
from poplift.sources.complete_journey import week_opens

KNOWN = {"outlet_id": "367", "ppg_id": "m1208-soft-drinks-12-18-15pk-can-car"}


def entities(settings):
    store = feature_store.open_store(settings)
    source = store.get_feature_view(VIEWS[0].name).batch_source.path
    import pyarrow.parquet as pq

    pairs = pq.read_table(source, columns=["outlet_id", "ppg_id"]).to_pandas().drop_duplicates()
    return [*pairs.head(60).to_dict("records"), {"outlet_id": "nobody", "ppg_id": "nothing"}, pairs.iloc[0].to_dict()]


def assert_same(settings):
    asked = entities(settings)
    expected = feature_store.online_features(settings, service=DEMAND_SERVING, entities=asked)
    assert (expected.statuses["base_rate"] == 1).sum() > 50
    for remembers in (False, True):
        reader = open_reader(settings, service=DEMAND_SERVING, remembers=remembers)
        for start, end in ((0, None), (0, 40), (0, 40), (30, 31), (30, 31)):  # only a part has all it asks for
            got = reader.read(asked[start:end])
            for of in ("values", "statuses", "event_timestamps"):
                for name, column in getattr(expected, of).items():
                    np.testing.assert_array_equal(getattr(got, of)[name], column[start:end], err_msg=name)


@pytest.mark.services
def test_a_reader_that_knows_what_redis_said_sees_every_write(tmp_path, redis_url, redis_prefix):
    settings = load_settings(home=tmp_path, redis_url=redis_url, database_prefix=redis_prefix)
    from feature_repo.definitions.repository import objects

    feature_store.apply(settings, objects(settings))
    reader = open_reader(settings, service=DEMAND_SERVING, remembers=True)

    def write(view, value, event):
        row = {key: KNOWN[key] for key in view.entities} | {feature.name: value for feature in view.features}
        frame = pa.Table.from_pylist([row | {"event_timestamp": event, "created_timestamp": event}]).to_pandas()
        feature_store.write_online(settings, view=view.name, frame=frame)

    def read():
        got = reader.read([KNOWN])
        return [got.values[feature.name].item() for view in VIEWS for feature in view.features]

    count = {view.name: len(view.features) for view in VIEWS}
    expected = {}
    for value, hours in enumerate((30, 20, 10), 1):
        for view in VIEWS:
            write(view, float(value), settings.business_time - timedelta(hours=hours))
            expected[view.name] = [float(value)] * count[view.name]
            if len(expected) == len(VIEWS):
                assert read() == read() == [number for of in expected.values() for number in of]


def test_a_plan_file_reads_what_the_registry_reads(either_home):
    assert_same(either_home.settings)


@pytest.mark.services
def test_a_plan_file_reads_postgres_as_the_registry_does(tmp_path, small_home, postgres_url, redis_prefix):
    settings = load_settings(
        home=tmp_path, postgres_url=postgres_url, database_prefix=redis_prefix, online_store="postgres"
    )
    from feature_repo.definitions.repository import objects

    settings.features_dir.symlink_to(small_home.settings.features_dir)
    ensure_databases(settings)
    try:
        feature_store.apply(settings, objects(settings))
        feature_store.materialize(settings)
        assert_same(settings)
    finally:
        with psycopg.connect(postgres_url.replace("+psycopg", "") + "postgres", autocommit=True) as connection:
            for name in ("registry", "mlflow", "prefect", "online"):
                connection.execute(f'DROP DATABASE IF EXISTS "{redis_prefix}_{name}" WITH (FORCE)')


def test_services_that_compute_at_request_time_leave_no_plan(small_home):
    found = {path.stem for path in small_home.settings.read_plans_dir.iterdir()}
    assert found == {DEMAND_SERVING, EFFECTS, RUNNING}
    with pytest.raises(FileNotFoundError):
        open_reader(small_home.settings, service=DEMAND_TRAINING)


def test_reading_by_a_plan_file_imports_neither_feast_nor_pandas(either_home):
    program = (
        "import sys\n"
        "from feature_repo.online.opening import open_reader\n"
        "from poplift.settings import load_settings\n"
        f"reader = open_reader(load_settings(), service={DEMAND_SERVING!r})\n"
        f"assert reader.read([{KNOWN!r}]).found.all()\n"
        "heavy = {'feast', 'pandas', 'ibis', 'sqlalchemy', 'duckdb', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = child_environment(either_home.settings)
    subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, cwd=os.fspath(either_home.settings.home)
    )


def copied(small_home, folder):
    """The small home seen from a home with a plan file of its own."""
    settings = load_settings(home=folder, database_prefix="small")
    (folder / "online.db").symlink_to(small_home.settings.home / "online.db")
    settings.read_plans_dir.mkdir()
    path = read_plan_path(settings, DEMAND_SERVING)
    path.write_text(read_plan_path(small_home.settings, DEMAND_SERVING).read_text())
    return settings, path


def test_a_running_reader_follows_a_new_plan_and_keeps_the_last_when_it_vanishes(small_home, tmp_path):
    settings, path = copied(small_home, tmp_path)
    reader = open_reader(settings, service=DEMAND_SERVING)
    assert "base_rate" in reader.read([KNOWN]).values
    fewer = read_plan_path(small_home.settings, RUNNING).read_text()
    new = path.with_suffix(".new")
    new.write_text(fewer)
    new.replace(path)
    assert "base_rate" not in reader.read([KNOWN]).values
    path.unlink()
    assert "open_week" in reader.read([KNOWN]).values


def test_a_plan_file_of_another_form_is_refused(small_home, tmp_path):
    settings, path = copied(small_home, tmp_path)
    path.write_text("{}")
    with pytest.raises(PlanError, match="not a read plan"):
        open_reader(settings, service=DEMAND_SERVING)


def test_ages_are_judged_at_business_time_here_too(small_home, tmp_path):
    settings, _ = copied(small_home, tmp_path)
    later = settings.model_copy(update={"business_time": week_opens(53) + timedelta(days=60)})
    assert (open_reader(later, service=DEMAND_SERVING).read([KNOWN]).statuses["base_rate"] == 4).all()
