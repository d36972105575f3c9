"""Columns of Arrow values as the bytes of Feast's `Value` messages, a column at a time.

`feast/protos/feast/types/Value.proto` is the specification. A null is the empty message. Types without a fast way
here go through Feast's own conversion; the tests compare every type with it.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType
from numpy.typing import NDArray

from feature_repo.online.layout import slices

# Arrow type and wire tag (field number << 3 | wire type) of the scalar values.
_SCALARS: Mapping[ValueType, tuple[pa.DataType, bytes]] = {
    ValueType.BYTES: (pa.binary(), b"\x0a"),
    ValueType.STRING: (pa.string(), b"\x12"),
    ValueType.INT32: (pa.int32(), b"\x18"),
    ValueType.INT64: (pa.int64(), b"\x20"),
    ValueType.DOUBLE: (pa.float64(), b"\x29"),
    ValueType.FLOAT: (pa.float32(), b"\x35"),
    ValueType.BOOL: (pa.bool_(), b"\x38"),
}
_FLOATS = (ValueType.DOUBLE, ValueType.FLOAT)
_MOST_VARINT_BYTES = 10
_SHORT = 128


class ColumnTypeError(Exception):
    """A column does not hold what its view declares; the message names both types."""


def as_declared(column: pa.Array, value_type: ValueType) -> pa.Array:
    """The column in the Arrow type of `value_type`; raises ColumnTypeError where a value would not survive."""
    if value_type not in _SCALARS:
        return column
    wanted, _ = _SCALARS[value_type]
    if column.type == wanted:
        return column
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not (pa.types.is_null(column.type) or _family(column.type) == _family(wanted)):
        raise ColumnTypeError(f"{column.type} cannot become {value_type.name}")
    try:
        return column.cast(wanted, safe=value_type not in _FLOATS)
    except pa.ArrowInvalid as error:
        raise ColumnTypeError(f"{column.type} does not fit {value_type.name}: {error}") from error


def finite(column: pa.Array, value_type: ValueType) -> NDArray[np.bool_] | None:
    """Which values are finite or null; None for a column that cannot hold anything else."""
    if value_type not in _FLOATS:
        return None
    found: NDArray[np.bool_] = pc.fill_null(pc.is_finite(column), True).to_numpy(zero_copy_only=False)
    return found


def encode(column: pa.Array, value_type: ValueType) -> list[bytes]:
    """One serialised `Value` per row of a column that `as_declared` returned."""
    if value_type not in _SCALARS:
        return [v.SerializeToString() for v in python_values_to_proto_values(column.to_pylist(), value_type)]
    _, tag = _SCALARS[value_type]
    encoded = _ENCODERS[value_type](column, tag)
    if column.null_count:
        for row in np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)):
            encoded[row] = b""
    return encoded


def _fixed(column: pa.Array, tag: bytes) -> list[bytes]:
    values = (column.fill_null(0) if column.null_count else column).to_numpy()
    rows = np.empty(len(values), dtype=[("tag", "S1"), ("value", values.dtype.newbyteorder("<"))])
    rows["tag"], rows["value"] = tag, values
    return slices(rows)


def _booleans(column: pa.Array, tag: bytes) -> list[bytes]:
    return [tag + (b"\x01" if value else b"\x00") for value in column.to_pylist()]


def _integers(column: pa.Array, tag: bytes) -> list[bytes]:
    numbers = column.cast(pa.int64()).fill_null(0).to_numpy().astype(np.uint64)
    # Seven bits a byte, the eighth says that more follow; a negative number is its two's complement in ten bytes.
    groups = (numbers[:, None] >> (7 * np.arange(_MOST_VARINT_BYTES, dtype=np.uint64))) & np.uint64(0x7F)
    used = np.maximum(1, _MOST_VARINT_BYTES - np.argmax(groups[:, ::-1] != 0, axis=1))
    used[~groups.any(axis=1)] = 1
    more = np.arange(_MOST_VARINT_BYTES) < used[:, None] - 1
    raw = (groups.astype(np.uint8) | np.where(more, 0x80, 0).astype(np.uint8)).tobytes()
    starts = range(0, len(raw), _MOST_VARINT_BYTES)
    return [tag + raw[at : at + length] for at, length in zip(starts, used.tolist(), strict=True)]


def _texts(column: pa.Array, tag: bytes) -> list[bytes]:
    texts: Sequence[bytes] = column.cast(pa.binary()).fill_null(b"").to_pylist()
    heads = [tag + bytes([length]) for length in range(_SHORT)]
    return [heads[len(t)] + t if len(t) < _SHORT else tag + _varint(len(t)) + t for t in texts]


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= _SHORT:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _family(arrow_type: pa.DataType) -> str:
    if pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type):
        return "text"
    if pa.types.is_binary(arrow_type) or pa.types.is_large_binary(arrow_type):
        return "bytes"
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return "number" if any(test(arrow_type) for test in numbers) else str(arrow_type)


_ENCODERS: Mapping[ValueType, Callable[[pa.Array, bytes], list[bytes]]] = {
    ValueType.BYTES: _texts,
    ValueType.STRING: _texts,
    ValueType.INT32: _integers,
    ValueType.INT64: _integers,
    ValueType.BOOL: _booleans,
    ValueType.DOUBLE: _fixed,
    ValueType.FLOAT: _fixed,
}
