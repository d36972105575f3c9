"""The newest known row per entity out of Parquet: by brute force, by edges, by what is missing."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64, String

from feature_repo.latest_rows import latest_rows
from feature_repo.offline.parquet_source import ParquetSource
from feature_repo.online.batch import BatchError, OnlineBatch

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def view_of(path, *, mapping=None):
    keys = [
        Entity(name=k, join_keys=[k], value_type=t) for k, t in (("id", ValueType.INT64), ("name", ValueType.STRING))
    ]
    view = FeatureView(
        name="sales",
        entities=keys,
        schema=[Field(name="id", dtype=Int64), Field(name="name", dtype=String), Field(name="units", dtype=Float64)],
        source=FileSource(
            path=str(path),
            timestamp_field="event_timestamp",
            created_timestamp_column="created",
            field_mapping=mapping or {},
        ),
    )
    view.entity_columns = [Field(name="id", dtype=Int64), Field(name="name", dtype=String)]
    return view


def latest(view, *, start=NOW - 100 * HOUR, end=NOW, known_by=NOW):
    source = ParquetSource(view.name, view.batch_source, "/")
    with latest_rows(view, source, start=start, end=end, known_by=known_by) as found:
        batches = list(found.batches)
        assert sum(map(len, batches)) == found.count
    return pa.Table.from_batches(batches).to_pandas() if batches else pd.DataFrame()


def history(rows, seed):
    draw = np.random.default_rng(seed)
    event = pd.to_datetime(NOW) - pd.to_timedelta(draw.integers(0, 120, rows), unit="h")
    frame = pd.DataFrame({"id": draw.integers(-3, 300, rows), "name": draw.choice(["a", "bb", "é"], rows)})
    frame = frame.assign(units=np.arange(rows, dtype=float), event_timestamp=event)
    return frame.assign(created=event + pd.to_timedelta(draw.permutation(rows), unit="ms"))


def test_it_is_the_row_that_brute_force_finds_also_over_several_files(tmp_path):
    frame = history(3000, seed=3)
    for part in range(3):
        frame.iloc[part::3].to_parquet(tmp_path / f"{part}.parquet", coerce_timestamps="us")
    within = frame[(frame["event_timestamp"] >= NOW - 100 * HOUR) & (frame["created"] <= NOW)]
    expected = within.sort_values(["event_timestamp", "created"]).groupby(["id", "name"])["units"].last()
    found = latest(view_of(tmp_path)).set_index(["id", "name"])["units"].sort_index()
    pd.testing.assert_series_equal(found, expected.sort_index(), check_index_type=False)


def test_rows_come_in_the_order_of_their_stored_keys(tmp_path):
    history(2000, seed=4).to_parquet(tmp_path / "t.parquet", coerce_timestamps="us")
    view = view_of(tmp_path / "t.parquet")
    source = ParquetSource(view.name, view.batch_source, "/")
    with latest_rows(view, source, start=NOW - 200 * HOUR, end=NOW, known_by=NOW) as found:
        batches = [OnlineBatch.of_table(view, batch) for batch in found.batches]
    keys = [key for batch in batches for key in batch.admitted(latest_us=2**62)[0].keys]
    # The layout puts the code and length of a value before it, so order holds within keys of one shape.
    assert len(keys) > 500
    assert keys == sorted(keys)


def test_both_ends_of_the_interval_count_and_what_was_not_known_yet_does_not(tmp_path):
    frame = pd.DataFrame(
        [
            (1, "start", 1.0, NOW - 2 * HOUR, NOW - HOUR),
            (1, "end", 2.0, NOW, NOW),
            (1, "before", 3.0, NOW - 2 * HOUR - timedelta(microseconds=1), NOW - HOUR),
            (1, "unknown yet", 4.0, NOW - HOUR, NOW + timedelta(microseconds=1)),
            (1, "corrected later", 5.0, NOW - HOUR, NOW - HOUR),
            (1, "corrected later", 6.0, NOW - HOUR, NOW + HOUR),
        ],
        columns=["id", "name", "units", "event_timestamp", "created"],
    )
    frame.to_parquet(tmp_path / "t.parquet", coerce_timestamps="us")
    found = latest(view_of(tmp_path / "t.parquet"), start=NOW - 2 * HOUR).set_index("name")["units"].to_dict()
    assert found == {"start": 1.0, "end": 2.0, "corrected later": 5.0}


def test_columns_are_found_under_the_names_of_the_source(tmp_path):
    frame = history(50, seed=5).rename(columns={"units": "sold", "id": "outlet"})
    frame.to_parquet(tmp_path / "t.parquet", coerce_timestamps="us")
    found = latest(view_of(tmp_path / "t.parquet", mapping={"sold": "units", "outlet": "id"}))
    assert {"id", "name", "units"} <= set(found.columns)


def test_a_column_the_source_has_not_is_named_with_the_view(tmp_path):
    history(5, seed=6).drop(columns="units").to_parquet(tmp_path / "t.parquet", coerce_timestamps="us")
    with pytest.raises(BatchError, match=r"view sales: .*t\.parquet has no column units; it has created, event"):
        latest(view_of(tmp_path / "t.parquet"))


def test_an_interval_without_rows_gives_none(tmp_path):
    history(5, seed=7).to_parquet(tmp_path / "t.parquet", coerce_timestamps="us")
    assert latest(view_of(tmp_path / "t.parquet"), start=NOW - 900 * HOUR, end=NOW - 800 * HOUR).empty
