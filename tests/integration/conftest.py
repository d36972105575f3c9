"""A small home of real data: soft drinks of all outlets, promotions of eight of them; built once per test run."""

import uuid
from dataclasses import dataclass

import duckdb
import pytest
from filelock import FileLock

from poplift.settings import Settings, load_settings
from poplift.sources.complete_journey import RAW_COLUMNS, CompleteJourney, package_folder

OUTLETS = 8


@dataclass(frozen=True)
class SmallHome:
    """Settings of a home with lake, features, Feast registry and online store, and its source."""

    settings: Settings
    source: CompleteJourney


def write_small_journey(folder):
    """Raw files of the soft drinks of the demo data, promotions of the eight outlets with most of them."""
    folder.mkdir(parents=True)
    connection = duckdb.connect()
    for name in RAW_COLUMNS:
        connection.sql(f"CREATE VIEW {name} AS FROM read_parquet('{package_folder()}/{name}.parquet')")
    drinks = "SELECT product_id FROM products WHERE product_category = 'SOFT DRINKS'"
    outlets = (
        f"SELECT store_id FROM promotions WHERE product_id IN ({drinks}) AND week <= 13 "
        f"GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {OUTLETS}"
    )
    for name, rows in {
        "products": f"FROM products WHERE product_id IN ({drinks})",
        "transactions": f"FROM transactions WHERE product_id IN ({drinks})",
        "promotions": f"FROM promotions WHERE product_id IN ({drinks}) AND store_id IN ({outlets})",
    }.items():
        connection.sql(f"COPY ({rows} ORDER BY ALL) TO '{folder}/{name}.parquet' (FORMAT parquet)")


def fill(settings, source):
    """Ingest, build, apply and materialise."""
    from feature_repo import running
    from feature_repo.build import build
    from feature_repo.definitions.repository import objects
    from poplift import feature_store
    from poplift.databases import ensure_databases
    from poplift.lake import Lake
    from poplift.sources.ingest import ingest

    lake = Lake(settings.lake_dir)
    ingest(source, lake, as_of=settings.business_time)
    build(lake, features_dir=settings.features_dir, as_of=settings.business_time)
    running.write_table(lake, features_dir=settings.features_dir, as_of=settings.business_time)
    ensure_databases(settings)
    feature_store.apply(settings, objects(settings))
    feature_store.materialize(settings)


@pytest.fixture(scope="session")
def shared(tmp_path_factory, worker_id):
    """Folder that every process of this test run sees; what takes long is built in it once."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def journey(shared):
    """The small source."""
    folder, done = shared / "journey", shared / "journey.done"
    with FileLock(shared / "journey.lock"):
        if not done.exists():
            write_small_journey(folder)
            done.touch()
    return CompleteJourney(folder, shopper_key="test-key")


@pytest.fixture(scope="session")
def small_home(shared, journey):
    """The local profile on the small source, ready to be read; tests do not write to it."""
    settings, done = load_settings(home=shared / "small-home", database_prefix="small"), shared / "small-home.done"
    with FileLock(shared / "small-home.lock"):
        if not done.exists():
            fill(settings, journey)
            done.touch()
    return SmallHome(settings, journey)


@pytest.fixture
def command(monkeypatch):
    """Runs a `poplift` command that must succeed, in this process, and gives what a person reads."""
    from typer.testing import CliRunner

    from flows.cli import app
    from poplift.settings import child_environment

    def run(settings, *arguments):
        for name, value in child_environment(settings).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("flows.quiet.quieten", lambda: None)  # it would last, and warnings stay errors here
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return run


@pytest.fixture(scope="session")
def redis_home(tmp_path_factory, small_home, redis_url):
    """The features of the small home in the shared Redis, under keys of their own."""
    import redis

    from feature_repo.definitions.repository import objects
    from poplift import feature_store

    prefix = f"t_{uuid.uuid4().hex[:10]}"
    settings = load_settings(home=tmp_path_factory.mktemp("redis"), database_prefix=prefix, redis_url=redis_url)
    settings.features_dir.symlink_to(small_home.settings.features_dir)
    feature_store.apply(settings, objects(settings))
    feature_store.materialize(settings)
    yield SmallHome(settings, small_home.source)
    host, port = redis_url.split(":")
    with redis.Redis(host=host, port=int(port), socket_timeout=5) as client:
        for key in client.scan_iter(f"*{prefix}*", count=1000):
            client.delete(key)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.services)])
def either_home(request):
    """The small home twice: online store in SQLite, and in Redis."""
    return request.getfixturevalue("small_home" if request.param == "sqlite" else "redis_home")
