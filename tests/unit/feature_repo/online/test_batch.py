"""Columns that fit a view become rows; what does not fit is named with view and column."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Bool, Float64, Int64, String

from feature_repo.online.batch import BatchError, OnlineBatch, layout_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def view_of(key_type=String, kind=ValueType.STRING, created="created"):
    view = FeatureView(
        name="sales",
        entities=[Entity(name="outlet", join_keys=["outlet_id"], value_type=kind)],
        schema=[Field(name="outlet_id", dtype=key_type), Field(name="units", dtype=Float64)],
        source=FileSource(path="t.parquet", timestamp_field="event_timestamp", created_timestamp_column=created),
    )
    view.entity_columns = [Field(name="outlet_id", dtype=key_type)]
    return view


def table(**columns):
    given = {"outlet_id": ["o1", "o2"], "units": [1.0, 2.0], "event_timestamp": [NOON, NOON], "created": [NOON, NOON]}
    return pa.table({name: column for name, column in (given | columns).items() if column is not None})


def test_keys_and_times_are_those_feast_would_store():
    rows, refused = OnlineBatch.of_table(view_of(), table()).admitted(latest_us=2**62)
    key = EntityKey(join_keys=["outlet_id"], entity_values=[Value(string_val="o2")])
    assert (rows.keys[1], refused) == (serialize_entity_key(key, 3), {})
    assert rows.event.tolist() == [int(NOON.timestamp()) * 1_000_000] * 2


@pytest.mark.parametrize(
    "times",
    [
        pa.array([NOON.replace(tzinfo=None)] * 2, pa.timestamp("ns")),
        pa.array([NOON] * 2, pa.timestamp("ms", tz="Europe/Berlin")),
        pa.array([NOON] * 2, pa.timestamp("s", tz="UTC")),
    ],
)
def test_timestamps_of_any_unit_and_zone_are_the_same_instant(times):
    batch = OnlineBatch.of_table(view_of(), table(event_timestamp=times))
    assert batch.event_us.tolist() == [int(NOON.timestamp()) * 1_000_000] * 2


def test_a_missing_column_is_named_and_so_are_those_there_are():
    with pytest.raises(BatchError, match=r"view sales: column units is missing; there are .*outlet_id"):
        OnlineBatch.of_table(view_of(), table(units=None))


def test_a_column_of_the_wrong_type_is_named_with_both_types():
    with pytest.raises(BatchError, match="view sales, column units: string cannot become DOUBLE"):
        OnlineBatch.of_table(view_of(), table(units=["1", "2"]))
    with pytest.raises(BatchError, match="view sales, column outlet_id: int64 cannot become STRING"):
        OnlineBatch.of_table(view_of(), table(outlet_id=[1, 2]))
    with pytest.raises(BatchError, match="view sales, column event_timestamp: string is not a timestamp"):
        OnlineBatch.of_table(view_of(), table(event_timestamp=["2026", "2026"]))


def test_a_join_key_without_a_layout_is_refused_with_the_types_that_have_one():
    with pytest.raises(BatchError, match="join key outlet_id is BOOL; string, int64 and int32 can be written"):
        layout_of(view_of(Bool, ValueType.BOOL))


def test_no_rows_are_a_batch_of_none():
    empty = table().slice(0, 0)
    rows, refused = OnlineBatch.of_table(view_of(), empty).admitted(latest_us=2**62)
    assert (len(rows), refused) == (0, {})


def test_nan_of_pandas_is_a_null_and_nan_of_arrow_is_refused():
    frame = pd.DataFrame(table().to_pandas()).assign(units=[np.nan, 2.0])
    pandas_rows, refused = OnlineBatch.of_table(view_of(), pa.Table.from_pandas(frame)).admitted(latest_us=2**62)
    assert (pandas_rows.values["units"][0], refused) == (b"", {})  # noqa: PD011 # not a frame
    of_arrow, refused = OnlineBatch.of_table(view_of(), table(units=[np.nan, 2.0])).admitted(latest_us=2**62)
    assert (len(of_arrow), refused) == (1, {"not_finite": 1})


def test_integer_keys_are_encoded_too():
    batch = OnlineBatch.of_table(view_of(Int64, ValueType.INT64, created=""), table(outlet_id=[1, -1], created=None))
    key = EntityKey(join_keys=["outlet_id"], entity_values=[Value(int64_val=-1)])
    assert batch.admitted(latest_us=2**62)[0].keys[1] == serialize_entity_key(key, 3)
