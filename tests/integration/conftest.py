"""A small home of real data: soft drinks of all outlets, promotions of eight of them; built once per test process."""

from dataclasses import dataclass

import duckdb
import pytest

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
    return CompleteJourney(folder, shopper_key="test-key")


def fill(settings, source):
    """Ingest, build, apply and materialise."""
    from feature_repo.build import build
    from feature_repo.definitions.repository import objects
    from poplift import feature_store
    from poplift.databases import ensure_databases
    from poplift.lake import Lake
    from poplift.sources.ingest import ingest

    lake = Lake(settings.lake_dir)
    ingest(source, lake, as_of=settings.business_time)
    build(lake, features_dir=settings.features_dir, as_of=settings.business_time)
    ensure_databases(settings)
    feature_store.apply(settings, objects(settings))
    feature_store.materialize(settings)


@pytest.fixture(scope="session")
def journey(tmp_path_factory):
    """The small source."""
    return write_small_journey(tmp_path_factory.mktemp("journey") / "raw")


@pytest.fixture(scope="session")
def small_home(tmp_path_factory, journey):
    """The local profile on the small source, ready to be read; tests do not write to it."""
    settings = load_settings(home=tmp_path_factory.mktemp("home"), database_prefix="small")
    fill(settings, journey)
    return SmallHome(settings, journey)
