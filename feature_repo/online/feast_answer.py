"""What was found as the response Feast's users expect, put together from the stored bytes as they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value
from feast.value_type import ValueType
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from feature_repo.online.decoding import Raw, Status, statuses
from feature_repo.online.reader import Found

# Fields of FeatureVector (values, statuses, event_timestamps) as wire tags of length-delimited fields.
_VALUE, _STATUSES, _EVENT = b"\x0a", b"\x12", b"\x1a"
_VALUE_OF_KEY = {"string": "string_val", "int64": "int64_val", "int32": "int32_val"}
_FIELDS = [_VALUE + bytes([length]) for length in range(128)]


def answer(found: Found, columns: Mapping[str, Sequence[Any]]) -> OnlineResponse:
    """Join keys first, then features in the order asked, each value with its status and event time."""
    response, plan = GetOnlineFeaturesResponse(), found.asked.plan
    vectors = [_key_vector(plan.join_keys[name], column) for name, column in columns.items()]
    response.metadata.feature_names.val.extend(columns)
    places = {view: number for number, lookup in enumerate(plan.lookups) for view in lookup.views}
    types: dict[str, ValueType] = {}
    for number, view in enumerate(plan.views):
        rows = found.asked.rows[places[number]]
        events = _events(found, number)
        if rows is not None:
            events = [events[row] for row in rows]
        event_bytes = b"".join(events)
        for place, feature in enumerate(view.features):
            vectors.append(_vector(found.raw[number].values[place], found.verdicts[number], rows) + event_bytes)
            types[feature.name] = types[f"{view.name}__{feature.name}"] = ValueType[feature.value_type]
        response.metadata.feature_names.val.extend([feature.column for feature in view.features])
    for vector in vectors:
        response.results.add().MergeFromString(vector)
    return OnlineResponse(response, feature_types=types)


def _vector(raws: Sequence[Raw], verdict: NDArray[np.uint8] | None, rows: NDArray[np.intp] | None) -> bytes:
    """Values and statuses of one feature as the bytes of a FeatureVector."""
    codes = statuses(raws)
    if codes is None and verdict is None:
        codes = np.full(len(raws), Status.PRESENT, dtype=np.uint8)
    else:
        codes = np.full(len(raws), Status.PRESENT, dtype=np.uint8) if codes is None else codes
        if verdict is not None:
            np.copyto(codes, verdict, where=verdict > 0)
        raws = [raw if code == Status.PRESENT else b"" for raw, code in zip(raws, codes.tolist(), strict=True)]
    if rows is not None:
        raws, codes = [raws[row] for row in rows], codes[rows]
    return b"".join([_field(raw or b"") for raw in raws]) + _STATUSES + _varint(len(codes)) + codes.tobytes()


def _field(raw: bytes) -> bytes:
    length = len(raw)
    return (_FIELDS[length] if length < len(_FIELDS) else _VALUE + _varint(length)) + raw


def _key_vector(kind: str, column: Sequence[Any]) -> bytes:
    attribute = _VALUE_OF_KEY[kind]
    values = b"".join([_field(Value(**{attribute: value}).SerializeToString()) for value in column])
    codes = bytes([Status.PRESENT]) * len(column)
    return values + _STATUSES + _varint(len(codes)) + codes + (_EVENT + b"\x00") * len(codes)


def _events(found: Found, view: int) -> list[bytes]:
    """One serialised event_timestamps entry per distinct entity; equal instants are encoded once."""
    events = found.raw[view].events.tolist()
    known = {event: _event(event) for event in set(events)}
    return [known[event] for event in events]


def _event(micros: int) -> bytes:
    seconds, rest = divmod(micros, 1_000_000)
    raw = Timestamp(seconds=seconds, nanos=rest * 1000).SerializeToString() if micros else b""
    return _EVENT + bytes([len(raw)]) + raw


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
