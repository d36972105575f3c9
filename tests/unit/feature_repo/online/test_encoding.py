"""Every encoded value is byte for byte what Feast's own conversion writes."""

import numpy as np
import pyarrow as pa
import pytest
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.online.encoding import ColumnTypeError, as_declared, encode, finite

FIELDS = {
    ValueType.DOUBLE: ("double_val", pa.float64(), st.floats(allow_nan=False)),
    ValueType.FLOAT: ("float_val", pa.float32(), st.floats(allow_nan=False, width=32)),
    ValueType.INT64: ("int64_val", pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    ValueType.INT32: ("int32_val", pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    ValueType.BOOL: ("bool_val", pa.bool_(), st.booleans()),
    ValueType.STRING: ("string_val", pa.string(), st.text(st.characters(codec="utf-8"), max_size=300)),
    ValueType.BYTES: ("bytes_val", pa.binary(), st.binary(max_size=300)),
}


@pytest.mark.parametrize("value_type", FIELDS)
@given(data=st.data())
def test_scalars_become_the_bytes_of_the_protobuf_message(value_type, data):
    field, arrow, values = FIELDS[value_type]
    column = data.draw(st.lists(st.none() | values, max_size=20))
    expected = [b"" if v is None else Value(**{field: v}).SerializeToString() for v in column]
    assert encode(pa.array(column, arrow), value_type) == expected


@pytest.mark.parametrize("number", [0, 1, 127, 128, 16383, 16384, 2**31 - 1, 2**63 - 1, -1, -(2**63)])
def test_integers_at_the_edges_of_the_varint_lengths_are_exact(number):
    assert encode(pa.array([number, None, number]), ValueType.INT64) == [
        Value(int64_val=number).SerializeToString(),
        b"",
        Value(int64_val=number).SerializeToString(),
    ]


def test_lists_and_timestamps_go_through_feasts_own_conversion():
    lists = [[1.0, 2.5], [], None]
    assert encode(pa.array(lists), ValueType.DOUBLE_LIST) == [
        v.SerializeToString() for v in python_values_to_proto_values(lists, ValueType.DOUBLE_LIST)
    ]


def test_integers_fill_a_float_column_and_whole_floats_an_integer_one():
    assert as_declared(pa.array([1, None]), ValueType.DOUBLE).equals(pa.array([1.0, None]))
    assert as_declared(pa.array([1.0, None]), ValueType.INT64).equals(pa.array([1, None]))
    assert as_declared(pa.array(["a"]).dictionary_encode(), ValueType.STRING).equals(pa.array(["a"]))
    assert as_declared(pa.nulls(2), ValueType.STRING).equals(pa.nulls(2, pa.string()))


@pytest.mark.parametrize(
    ("column", "value_type", "said"),
    [
        (pa.array([1.5]), ValueType.INT64, "double does not fit INT64"),
        (pa.array([2**40]), ValueType.INT32, "int64 does not fit INT32"),
        (pa.array(["1.5"]), ValueType.DOUBLE, "string cannot become DOUBLE"),
        (pa.array([1]), ValueType.STRING, "int64 cannot become STRING"),
    ],
)
def test_a_column_that_does_not_hold_what_is_declared_is_refused_with_both_types(column, value_type, said):
    with pytest.raises(ColumnTypeError, match=said):
        as_declared(column, value_type)


def test_nulls_are_not_taken_for_values_that_are_not_finite():
    column = pa.array([1.0, None, np.nan, np.inf, -np.inf])
    assert finite(column, ValueType.DOUBLE).tolist() == [True, True, False, False, False]
    assert finite(pa.array([1]), ValueType.INT64) is None
