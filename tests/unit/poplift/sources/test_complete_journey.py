"""The demo source: its calendar, its declared facts, its pseudonyms and its answer to broken files."""

import shutil
from datetime import UTC, datetime

import duckdb
import pytest

from poplift.sources.complete_journey import (
    RAW_COLUMNS,
    CompleteJourney,
    package_folder,
    week_opens,
)
from poplift.sources.ingest import SourceError


@pytest.fixture(scope="module")
def opened():
    connection = duckdb.connect()
    connection.sql("SET TimeZone = 'UTC'")
    source = CompleteJourney(package_folder(), shopper_key="test-key")
    source.open(connection)
    return connection, source


@pytest.fixture
def copied(tmp_path):
    for name in RAW_COLUMNS:
        shutil.copy(package_folder() / f"{name}.parquet", tmp_path)
    return CompleteJourney(tmp_path, shopper_key="k")


def test_weeks_open_at_store_midnight_in_winter_and_in_summer():
    assert week_opens(2) == datetime(2017, 1, 2, 5, tzinfo=UTC)
    assert week_opens(24) == datetime(2017, 6, 5, 4, tzinfo=UTC)
    assert week_opens(54) == datetime(2018, 1, 1, 5, tzinfo=UTC)


def test_every_line_was_sold_inside_the_week_the_source_says(opened):
    connection, _ = opened
    outside = connection.sql(
        "SELECT count(*) FROM raw_transactions JOIN calendar USING (week) "
        "WHERE NOT (transaction_timestamp::TIMESTAMPTZ >= starts_at AND transaction_timestamp::TIMESTAMPTZ < closes_at)"
    ).fetchone()
    assert outside == (0,)


def test_the_managed_assortment_is_chosen_before_the_first_training_week(opened):
    connection, source = opened
    ppgs = connection.sql(
        f"SELECT count(DISTINCT ppg_id) FROM ({source.tables()['products']}) WHERE ppg_id IS NOT NULL"
    )
    outlets = connection.sql(f"SELECT count(*) FROM ({source.tables()['outlets']}) WHERE is_managed")
    assert (ppgs.fetchone(), outlets.fetchone()) == ((27,), (108,))


def test_a_price_is_one_fact_of_ppg_and_week_and_known_before_its_week(opened):
    connection, source = opened
    prices = f"({source.tables()['price_calendar']})"
    assert connection.sql(
        f"SELECT count(*) = count(DISTINCT (ppg_id, week)), bool_and(created_at < effective_at) FROM {prices}"
    ).fetchone() == (True, True)


def test_pseudonyms_are_stable_under_one_key_and_different_under_another(opened):
    connection, _ = opened
    first = dict(connection.sql("SELECT * FROM pseudonyms").fetchall())
    assert len(set(first.values())) == len(first) == 2469
    other = duckdb.connect()
    CompleteJourney(package_folder(), shopper_key="other").open(other)
    second = dict(other.sql("SELECT * FROM pseudonyms").fetchall())
    assert not set(first.values()) & set(second.values())


def test_a_half_written_file_is_refused_by_name(copied):
    torn = copied.folder / "transactions.parquet"
    torn.write_bytes(torn.read_bytes()[:100_000])
    with pytest.raises(SourceError, match=r"transactions\.parquet: not a complete Parquet file"):
        copied.open(duckdb.connect())


def test_a_file_of_another_table_is_refused_with_its_missing_columns(copied):
    shutil.copy(copied.folder / "products.parquet", copied.folder / "promotions.parquet")
    with pytest.raises(SourceError, match=r"promotions\.parquet: missing column store_id, display_location"):
        copied.open(duckdb.connect())


def test_an_absent_file_is_refused_by_name(copied):
    (copied.folder / "products.parquet").unlink()
    with pytest.raises(SourceError, match=r"products\.parquet: no such file"):
        copied.digest()
