"""Columns of Feast's serialised values back into numbers and texts, a column at a time and mostly without protobuf.

`feast/protos/feast/types/Value.proto` is the specification: a value is a tag and its bytes, a null is nothing at all.
What does not look like that goes through protobuf, one by one.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from feature_repo.online.layout import CREATED, CREATED_TAG

Raw = bytes | None
Micros = NDArray[np.int64]

_EXACT = 2**53
_SHORT = 128
# So many different event times protobuf decodes, and so many integers Python, before numpy has started.
_FEW, _FEW_NUMBERS = 16, 64
_TEXT, _SECONDS, _NANOS = 0x12, 0x08, 0x10
# Seconds of 1978 to 3058 take five bytes as a varint.
_SECONDS_BYTES = 5


class Status(IntEnum):
    """Of one value, by the numbers of Feast's FieldStatus."""

    PRESENT = 1
    NULL_VALUE = 2
    NOT_FOUND = 3
    OUTSIDE_MAX_AGE = 4


def statuses(raws: Sequence[Raw]) -> NDArray[np.uint8] | None:
    """NOT_FOUND where nothing is stored, NULL_VALUE where a null is; None when every value is present."""
    if all(raws):
        return None
    codes = (Status.NOT_FOUND if r is None else Status.PRESENT if r else Status.NULL_VALUE for r in raws)
    return np.fromiter(codes, dtype=np.uint8, count=len(raws))


def decode(raws: Sequence[Raw], value_type: str) -> NDArray[Any]:
    """Values of n serialised `Value` messages, by the name of their Feast ValueType.

    Numbers and booleans are float64 with NaN where nothing or a null is stored; integers past 2**53, texts and all
    other types are objects with None there.
    """
    decoder = _DECODERS.get(value_type)
    values = None if decoder is None else decoder(raws)
    return _by_protobuf(raws, value_type) if values is None else values


def event_times(raws: Sequence[Raw]) -> Micros:
    """Instants of n serialised protobuf Timestamps in µs since 1970; 0 where there is none."""
    if len(raws) <= _FEW:
        return np.array([_timestamp(raw) for raw in raws], dtype=np.int64)
    different = set(raws)
    if len(different) > _FEW:
        return _many_times([raw or b"" for raw in raws])
    known = {raw: _timestamp(raw) for raw in different}
    return np.fromiter((known[raw] for raw in raws), dtype=np.int64, count=len(raws))


def _many_times(raws: Sequence[bytes]) -> Micros:
    """The same without protobuf where seconds take five bytes and only nanoseconds may follow."""
    buffer, starts, lengths = _joined(raws)
    has_created = lengths >= CREATED.size
    has_created[has_created] = buffer[(starts + lengths - CREATED.size)[has_created]] == CREATED_TAG
    lengths = lengths - CREATED.size * has_created
    instants = np.zeros(len(raws), dtype=np.int64)
    plain = lengths > _SECONDS_BYTES
    first, last = starts[plain], starts[plain] + _SECONDS_BYTES
    plain[plain] = (buffer[first] == _SECONDS) & (buffer[last] < _SHORT) & (buffer[last - 1] >= _SHORT)
    nanos_at = _SECONDS_BYTES + 1
    with_nanos = plain & (lengths > nanos_at)
    with_nanos[with_nanos] = buffer[starts[with_nanos] + nanos_at] == _NANOS
    plain &= with_nanos | (lengths == nanos_at)
    seconds = _varints(buffer, starts[plain] + 1, np.full(plain.sum(), _SECONDS_BYTES))
    nanos = _varints(buffer, starts[with_nanos] + nanos_at + 1, lengths[with_nanos] - nanos_at - 1)
    instants[plain] = seconds * 1_000_000
    instants[with_nanos] += nanos // 1000
    for row in np.flatnonzero(~plain).tolist():
        instants[row] = _timestamp(raws[row])
    return instants


def _timestamp(raw: Raw) -> int:
    stamp = Timestamp.FromString(raw or b"")
    return int(stamp.seconds * 1_000_000 + stamp.nanos // 1000)


def _joined(raws: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """All bytes, and where each of n messages starts in them and how long it is."""
    lengths = np.fromiter(map(len, raws), dtype=np.int64, count=len(raws))
    return np.frombuffer(b"".join(raws), dtype=np.uint8), np.cumsum(lengths) - lengths, lengths


def _fixed(tag: int, kind: str) -> Callable[[Sequence[Raw]], NDArray[Any] | None]:
    """Floats: the tag and as many bytes as the number is wide; a first misfit is seen because its tag is not ours."""
    record = np.dtype([("tag", "u1"), ("value", kind)])
    filler = bytes([tag]) + np.array(np.nan, dtype=kind).tobytes()

    def read(raws: Sequence[Raw]) -> NDArray[Any] | None:
        joined = b"".join(raws) if all(raws) else b"".join([raw or filler for raw in raws])  # type: ignore[arg-type]
        if len(joined) != len(raws) * record.itemsize:
            return None
        if joined[:: record.itemsize] != bytes([tag]) * len(raws):
            return None
        return np.frombuffer(joined, dtype=record)["value"].astype(np.float64)

    return read


def _integers(tag: int) -> Callable[[Sequence[Raw]], NDArray[Any] | None]:
    zero = bytes([tag, 0])

    def read_few(raws: Sequence[Raw]) -> NDArray[Any] | None:
        numbers = [_varint(raw) if raw else np.nan for raw in raws]
        if {raw[0] for raw in raws if raw} - {tag} or any(abs(n) > _EXACT for n in numbers):
            return None
        return np.array(numbers, dtype=np.float64)

    def read(raws: Sequence[Raw]) -> NDArray[Any] | None:
        if len(raws) <= _FEW_NUMBERS:
            return read_few(raws)
        buffer, starts, lengths = _joined([raw or zero for raw in raws])
        if not ((buffer[starts] == tag) & (lengths > 1) & (buffer[starts + lengths - 1] < _SHORT)).all():
            return None
        numbers = _varints(buffer, starts + 1, lengths - 1)
        if ((numbers > _EXACT) | (numbers < -_EXACT)).any():
            return None
        values = numbers.astype(np.float64)
        if not all(raws):
            values[[not raw for raw in raws]] = np.nan
        return values

    return read


def _varint(raw: bytes) -> int:
    """The one after the first byte, as a signed number of 64 bits."""
    number = 0
    for byte in raw[:0:-1]:
        number = number << 7 | byte & 0x7F
    return number - 2**64 if number >= 2**63 else number


def _varints(buffer: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    numbers = np.zeros(len(starts), dtype=np.uint64)
    for place in range(int(lengths.max(initial=0))):
        here = lengths > place
        digits = (buffer[starts[here] + place] & 0x7F).astype(np.uint64)
        numbers[here] |= digits << np.uint64(7 * place)
    return numbers.view(np.int64)


def _booleans(raws: Sequence[Raw]) -> NDArray[Any] | None:
    known: Mapping[Raw, float] = {b"\x38\x01": 1.0, b"\x38\x00": 0.0, b"": np.nan, None: np.nan}
    try:
        return np.array([known[raw] for raw in raws])
    except KeyError:
        return None


def _texts(raws: Sequence[Raw]) -> NDArray[Any] | None:
    values = np.empty(len(raws), dtype=object)
    for row, raw in enumerate(raws):
        if raw:
            if raw[0] != _TEXT:
                return None
            start = 2
            while raw[start - 1] >= _SHORT:
                start += 1
            values[row] = raw[start:].decode()
    return values


def _by_protobuf(raws: Sequence[Raw], value_type: str) -> NDArray[Any]:
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.type_map import feast_value_type_to_python_type
    from feast.value_type import ValueType

    declared = ValueType[value_type]
    plain = [feast_value_type_to_python_type(Value.FromString(raw), declared) if raw else None for raw in raws]
    if value_type in NUMBERS and not any(isinstance(v, str | bytes | list) for v in plain):
        numbers = np.array([np.nan if v is None else v for v in plain], dtype=object)
        if all(abs(v) <= _EXACT for v in numbers if isinstance(v, int)):
            return numbers.astype(np.float64)
    values = np.empty(len(plain), dtype=object)
    values[:] = plain
    return values


_DECODERS: Mapping[str, Callable[[Sequence[Raw]], NDArray[Any] | None]] = {
    "DOUBLE": _fixed(0x29, "<f8"),
    "FLOAT": _fixed(0x35, "<f4"),
    "INT32": _integers(0x18),
    "INT64": _integers(0x20),
    "BOOL": _booleans,
    "STRING": _texts,
}
NUMBERS = frozenset(_DECODERS) - {"STRING"}
