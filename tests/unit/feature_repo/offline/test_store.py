"""Rows and sources that do not fit are refused by the name of the view and the column."""

import shutil
from collections.abc import Callable, Mapping

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.offline.errors import PointInTimeError
from tests.unit.feature_repo.offline.shop import (
    AUTUMN,
    STEP,
    one,
    shop,
)

__all__ = ["shop"]

REFUSED: Mapping[str, tuple[Callable[[pd.DataFrame], object], str]] = {
    "no time": (lambda f: f.drop(columns="event_timestamp"), "no column event_timestamp"),
    "no instant": (lambda f: f.assign(event_timestamp=pd.NaT), "1 of 1 rows have no event_timestamp"),
    "a number for a time": (lambda f: f.assign(event_timestamp=1.5), "event_timestamp is double, not a time"),
    "no time at all": (lambda f: f.assign(event_timestamp="soon"), "event_timestamp cannot be read as a time"),
    "no key": (lambda f: f.drop(columns="ppg_id"), "view pairs: entity_df has no column ppg_id"),
    "a text for a number": (lambda f: f.astype({"ppg_id": str}), "view pairs: key ppg_id is BIGINT .* is VARCHAR"),
    "a huge float": (lambda f: f.assign(ppg_id=2.0**60), "view pairs: key ppg_id is BIGINT .* is DOUBLE"),
    "two types in a column": (lambda f: pd.concat([f, f.assign(outlet_id=7)]), "values of several types"),
    "SQL": (lambda _: "SELECT 1", "entity_df is a str"),
}


@pytest.mark.parametrize(("spoil", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_rows_that_cannot_be_joined_are_refused_by_name(shop, spoil, message):
    with pytest.raises(PointInTimeError, match=message):
        shop.ask(spoil(one(shop)))


def test_a_range_of_dates_without_rows_is_refused(shop):
    with pytest.raises(PointInTimeError, match="hand over an entity_df"):
        shop.ask(None, start_date=AUTUMN, end_date=AUTUMN + STEP)


@pytest.mark.parametrize("column", ["outlet_id", "event_timestamp", "created_timestamp", "raw units"])
def test_a_source_that_lost_a_column_is_refused_by_name(shop, column):
    asked = one(shop)
    path = shop.folder / "sales.parquet"
    pq.write_table(pq.read_table(path).drop(column), path)
    with pytest.raises(PointInTimeError, match=f"view sales: .*sales.parquet has no column {column}"):
        shop.ask(asked)


def test_a_source_that_is_not_there_or_not_parquet_is_refused_by_name(shop):
    asked = one(shop)
    path = shop.folder / "sales.parquet"
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(PointInTimeError, match=r"view sales: .* cannot be read"):
        shop.ask(asked)
    path.unlink()
    with pytest.raises(PointInTimeError, match="view sales: no Parquet file at"):
        shop.ask(asked)


def test_a_time_that_is_a_text_in_the_source_is_refused_by_name(shop):
    asked = one(shop)
    path = shop.folder / "sales.parquet"
    table = pq.read_table(path)
    pq.write_table(
        table.set_column(table.column_names.index("event_timestamp"), "event_timestamp", pa.array(["x"])), path
    )
    with pytest.raises(PointInTimeError, match="view sales: column event_timestamp is VARCHAR, not a time"):
        shop.ask(asked)


def test_a_file_among_others_that_lost_its_key_is_refused_by_name(shop):
    asked = one(shop)
    path = shop.folder / "sales.parquet"
    table = pq.read_table(path)
    path.unlink()
    path.mkdir()
    try:
        pq.write_table(table, path / "whole.parquet")
        pq.write_table(table.drop("outlet_id"), path / "spoilt.parquet")
        with pytest.raises(
            PointInTimeError, match=r"view sales: column outlet_id is missing in .*spoilt.parquet \(1 of 2"
        ):
            shop.ask(asked)
    finally:
        shutil.rmtree(path)
