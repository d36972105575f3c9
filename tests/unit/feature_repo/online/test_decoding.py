"""Columns of stored bytes become the values that protobuf would read, whatever is among them."""

import numpy as np
import pytest
from feast.protos.feast.types.Value_pb2 import DoubleList, Value
from feast.type_map import feast_value_type_to_python_type
from feast.value_type import ValueType
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.online.decoding import Status, decode, event_times, statuses
from feature_repo.online.layout import split_created, with_created

SCALARS = {
    "DOUBLE": ("double_val", st.floats(allow_nan=False)),
    "FLOAT": ("float_val", st.floats(allow_nan=False, width=32)),
    "INT64": ("int64_val", st.integers(-(2**53), 2**53)),
    "INT32": ("int32_val", st.integers(-(2**31), 2**31 - 1)),
    "BOOL": ("bool_val", st.booleans()),
    "STRING": ("string_val", st.text(max_size=300)),
}
NUMBERS = [name for name in SCALARS if name != "STRING"]


def stored(value_type, value):
    """What Feast stores: None is no cell at all, the empty message a null."""
    if value is None:
        return None
    return Value() if value == "null" else Value(**{SCALARS[value_type][0]: value})


def raw(value):
    return None if value is None else value.SerializeToString()


def python(value):
    return None if value is None else feast_value_type_to_python_type(value)


def plain(values):
    """Decoded values with None for what is missing."""
    return [None if v is None or v != v else v for v in values.tolist()]  # noqa: PLR0124 - NaN


@pytest.mark.parametrize("value_type", SCALARS)
@given(data=st.data())
def test_a_column_decodes_to_what_protobuf_reads(value_type, data):
    cells = st.one_of(SCALARS[value_type][1], st.none(), st.just("null"))
    values = [stored(value_type, cell) for cell in data.draw(st.lists(cells, max_size=40))]
    column = decode([raw(v) for v in values], value_type)
    assert plain(column) == [python(v) for v in values]
    assert column.dtype == (object if value_type == "STRING" else np.float64)


@pytest.mark.parametrize("value_type", SCALARS)
@given(data=st.data())
def test_a_value_of_another_type_among_the_column_is_read_as_what_it_is(value_type, data):
    """A feature whose type changed keeps its old cells until they are written again."""
    anything = st.one_of(*(s.map(lambda v, f=f: Value(**{f: v})) for f, s in SCALARS.values()))
    values = data.draw(st.lists(anything, min_size=1, max_size=12))
    column = decode([raw(v) for v in values], value_type)
    assert plain(column) == [python(v) for v in values]


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)])
def test_an_integer_that_a_float_cannot_hold_stays_an_integer(number):
    column = decode([raw(Value(int64_val=n)) for n in (number, 1)] + [None], "INT64")
    assert column.tolist() == [number, 1, None]


def test_what_has_no_fast_way_goes_through_protobuf():
    lists = Value(double_list_val=DoubleList(val=[1.0, 2.5]))
    assert decode([raw(lists), b"", None], "DOUBLE_LIST").tolist() == [[1.0, 2.5], None, None]
    instant = Value(unix_timestamp_val=1_500_000_000)
    expected = feast_value_type_to_python_type(instant, ValueType.UNIX_TIMESTAMP)
    assert decode([raw(instant)], "UNIX_TIMESTAMP").tolist() == [expected]


@pytest.mark.parametrize("value_type", [*SCALARS, "UNIX_TIMESTAMP"])
def test_no_rows_decode_to_an_empty_column(value_type):
    assert decode([], value_type).shape == (0,)
    assert event_times([]).shape == (0,)


def test_a_missing_cell_and_a_stored_null_are_told_apart():
    assert statuses([b"\x20\x00", b"", None]).tolist() == [Status.PRESENT, Status.NULL_VALUE, Status.NOT_FOUND]
    assert statuses([b"\x20\x00", b"\x12\x00"]) is None


MICROS = st.integers(-(10**15) // 3, 35 * 10**15)


CREATED = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))


@given(st.lists(st.tuples(st.one_of(MICROS, st.none()), CREATED), min_size=1, max_size=60), st.booleans())
def test_event_times_are_exact_to_the_microsecond_whatever_is_behind_them(instants, whole_seconds):
    """1959 to 3079: before 1970 and after 3058 seconds take other widths."""
    expected, raws = [], []
    for drawn, created in instants:
        micros = drawn if drawn is None or not whole_seconds else drawn // 1_000_000 * 1_000_000
        stamp = Timestamp()
        if micros is not None:
            stamp.FromMicroseconds(micros)
        alone = stamp.SerializeToString()
        raws.append(None if micros is None else alone if created is None else with_created(alone, created))
        expected.append(micros or 0)
    assert event_times(raws).tolist() == expected
    assert event_times(raws * 20).tolist() == expected * 20


@given(st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 999_999_999), st.integers(-(2**63), 2**63 - 1))
def test_a_created_time_behind_an_event_time_is_found_again_and_none_where_none_is(seconds, nanos, created):
    """All that a Timestamp may say: the years 1 to 9999."""
    alone = Timestamp(seconds=seconds, nanos=nanos).SerializeToString()
    assert split_created(alone) == (alone, None)
    both = with_created(alone, created)
    assert split_created(both) == (alone, created)
    read = Timestamp.FromString(both)
    assert (read.seconds, read.nanos) == (seconds, nanos)
