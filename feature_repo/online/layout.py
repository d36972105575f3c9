"""Where Feast's online stores keep what: names of hashes, hash fields and tables, as plain bytes and text.

The code of Feast 0.67 is the specification: `infra/key_encoding_utils.py` (entity keys, version 3),
`infra/online_stores/helpers.py` (Redis) and `infra/online_stores/sqlite.py`. The parity tests hold both together.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import mmh3
import numpy as np
from numpy.typing import NDArray

KeyKind = Literal["string", "int64", "int32"]
# feast.protos.feast.types.Value_pb2.ValueType
_CODES: Mapping[KeyKind, int] = {"string": 2, "int32": 3, "int64": 4}
_STRING = _CODES["string"]
_LENGTH = struct.Struct("<I")


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

    def prefix(self) -> bytes:
        """What every key of these join keys begins with: how many, and their names."""
        names = [name.encode() for name in self.join_keys]
        parts = [_LENGTH.pack(_STRING) + _LENGTH.pack(len(n)) + n for n in names]
        return _LENGTH.pack(len(names)) + b"".join(parts)

    def encode(self, columns: Mapping[str, Sequence[str] | Sequence[int] | NDArray[np.int64]]) -> list[bytes]:
        """Serialised entity keys (version 3) of n rows; `columns` has one sequence of n values per join key."""
        prefix = self.prefix()
        encoded = [_values(kind, columns[name]) for name, kind in self.kinds]
        return [prefix + b"".join(values) for values in zip(*encoded, strict=True)]


def _values(kind: KeyKind, column: Sequence[str] | Sequence[int] | NDArray[np.int64]) -> list[bytes]:
    code = _LENGTH.pack(_CODES[kind])
    if kind == "string":
        texts = [str(value).encode() for value in column]
        return [code + _LENGTH.pack(len(text)) + text for text in texts]
    width = 8 if kind == "int64" else 4
    head = code + _LENGTH.pack(width)
    raw = np.asarray(column, dtype=f"<i{width}").tobytes()
    return [head + raw[at : at + width] for at in range(0, len(raw), width)]


def redis_key(entity_key: bytes, project: str) -> bytes:
    """Key of the hash that holds every view of one entity."""
    return entity_key + project.encode()


def value_field(view: str, feature: str) -> bytes:
    """Hash field of one feature: murmur3 of view and name, little endian."""
    return _LENGTH.pack(mmh3.hash(f"{view}:{feature}", signed=False))


def event_field(view: str) -> bytes:
    """Hash field of the event time of a view: a serialised protobuf Timestamp."""
    return f"_ts:{view}".encode()


def known_field(view: str) -> bytes:
    """Hash field of poplift's own: event and created time of the last guarded write, two little-endian int64 in µs.

    It holds only while its event time equals the one in `event_field`: plain Feast writes that one alone.
    """
    return f"_known:{view}".encode()


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
