"""Where Feast's online stores keep what: names of hashes, hash fields and tables, as plain bytes and text.

The code of Feast 0.67 is the specification: `infra/key_encoding_utils.py` (entity keys, version 3),
`infra/online_stores/helpers.py` (Redis) and `infra/online_stores/sqlite.py`. The parity tests hold both together.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any, Literal

import mmh3
import numpy as np
from numpy.typing import NDArray

KeyKind = Literal["string", "int64", "int32"]
# feast.protos.feast.types.Value_pb2.ValueType
_CODES: Mapping[KeyKind, int] = {"string": 2, "int32": 3, "int64": 4}
_STRING = _CODES["string"]
_LENGTH = struct.Struct("<I")
# Field 15 of a protobuf message, eight bytes wide: Timestamp has two fields, 1 and 2.
CREATED, CREATED_TAG = struct.Struct("<Bq"), 15 << 3 | 1


@dataclass(frozen=True)
class EntityKeyLayout:
    """How one combination of join keys becomes the bytes Feast stores; the keys are sorted by name."""

    kinds: tuple[tuple[str, KeyKind], ...]

    @classmethod
    def of(cls, kinds: Mapping[str, KeyKind]) -> "EntityKeyLayout":
        """Layout of these join keys, given in any order."""
        return cls(tuple(sorted(kinds.items())))

    @property
    def join_keys(self) -> tuple[str, ...]:
        """Names in the order of the bytes."""
        return tuple(name for name, _ in self.kinds)

    @cached_property
    def prefix(self) -> bytes:
        """What every key of these join keys begins with: how many, and their names."""
        names = [name.encode() for name in self.join_keys]
        parts = [_LENGTH.pack(_STRING) + _LENGTH.pack(len(n)) + n for n in names]
        return _LENGTH.pack(len(names)) + b"".join(parts)

    def encode(self, columns: Mapping[str, Sequence[str] | Sequence[int] | NDArray[np.int64]]) -> list[bytes]:
        """Serialised entity keys (version 3) of n rows; `columns` has one sequence of n values per join key."""
        befores = [self.prefix, *repeat(b"", len(self.kinds) - 1)]
        encoded = [
            _values(kind, columns[name], before) for (name, kind), before in zip(self.kinds, befores, strict=True)
        ]
        return encoded[0] if len(encoded) == 1 else list(map(b"".join, zip(*encoded, strict=True)))


def _values(kind: KeyKind, column: Sequence[str] | Sequence[int] | NDArray[np.int64], before: bytes) -> list[bytes]:
    code = before + _LENGTH.pack(_CODES[kind])
    if kind == "string":
        texts = [str(value).encode() for value in column]
        heads = {length: code + _LENGTH.pack(length) for length in set(map(len, texts))}
        return [heads[len(text)] + text for text in texts]
    width = 8 if kind == "int64" else 4
    head = code + _LENGTH.pack(width)
    return [head + number for number in slices(np.asarray(column, dtype=f"<i{width}"))]


def slices(records: NDArray[Any]) -> list[bytes]:
    """The bytes of each of n records of one width."""
    parts: list[bytes] = records.view(f"V{records.dtype.itemsize}").tolist()
    return parts


def redis_key(entity_key: bytes, project: str) -> bytes:
    """Key of the hash that holds every view of one entity."""
    return entity_key + project.encode()


def value_field(view: str, feature: str) -> bytes:
    """Hash field of one feature: murmur3 of view and name, little endian."""
    return _LENGTH.pack(mmh3.hash(f"{view}:{feature}", signed=False))


def event_field(view: str) -> bytes:
    """Hash field of the event time of a view: a serialised protobuf Timestamp, behind it what `with_created` says."""
    return f"_ts:{view}".encode()


def with_created(stamp: bytes, created_us: int) -> bytes:
    """A serialised Timestamp with the created time in a field that Timestamp has not, which protobuf passes over.

    Plain Feast reads the event time and nothing else, and what it writes has no such field.
    """
    return stamp + CREATED.pack(CREATED_TAG, created_us)


def split_created(stamp: bytes) -> tuple[bytes, int | None]:
    """A serialised Timestamp by itself, and the created time in µs that was behind it."""
    # Where a Timestamp is that long by itself, the byte here belongs to its seconds and is past 127, or is their tag.
    if len(stamp) < CREATED.size or stamp[-CREATED.size] != CREATED_TAG:
        return stamp, None
    return stamp[: -CREATED.size], CREATED.unpack(stamp[-CREATED.size :])[1]


def packed(part: bytes) -> bytes:
    """One part of a command in Redis's own protocol."""
    return b"$%d\r\n%b\r\n" % (len(part), part)


def table_name(project: str, view: str) -> str:
    """Table of one view in SQLite and Postgres."""
    return f"{project}_{view}"


# Columns that poplift adds to Feast's SQLite table. Feast keeps whole seconds in event_ts, by way of the process's
# time zone; event_us and created_us are exact and hold only while written_ts still equals event_ts: plain Feast
# changes the latter alone. Postgres needs none of this, its event_ts and created_ts are instants with microseconds.
SQLITE_OWN_COLUMNS = ("written_ts", "event_us", "created_us")
# What Feast reads from its own column: the instant whose local wall clock it takes for UTC.
SQLITE_FEAST_EVENT_US = "CAST(strftime('%s', event_ts, 'unixepoch', 'localtime') AS INTEGER) * 1000000"
SQLITE_EVENT_US = f"CASE WHEN written_ts = event_ts THEN event_us ELSE {SQLITE_FEAST_EVENT_US} END"
SQLITE_CREATED_US = "CASE WHEN written_ts = event_ts THEN created_us END"
