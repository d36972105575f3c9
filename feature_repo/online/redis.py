"""The Redis online store class that feature_store.yaml names: Feast's hashes, and when each row was created."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from functools import lru_cache
from itertools import chain, repeat
from typing import Any

import numpy as np
from feast import FeatureView, RepoConfig
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig, RedisType
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import model_validator

from feature_repo.online.batch import Rows
from feature_repo.online.guard import ConflictError, GuardedStore, Read, WriteContract, stored_name
from feature_repo.online.layout import event_field, packed, split_created, value_field, with_created
from feature_repo.online.planned_reads import PlannedReads
from feature_repo.online.reading_redis import RedisValues, answers
from feature_repo.online.rules import UNKNOWN, Micros

_SECOND = 1_000_000


class GuardedRedisOnlineStoreConfig(WriteContract, RedisOnlineStoreConfig):  # type: ignore[misc]
    """Named in feature_store.yaml as `online_store`; `business_time` decides ages and what lies ahead."""

    type: str = "feature_repo.online.redis.GuardedRedisOnlineStore"

    @model_validator(mode="after")
    def _one_server(self) -> "GuardedRedisOnlineStoreConfig":
        if self.redis_type == RedisType.redis_cluster:
            raise ValueError(
                "redis_type redis_cluster: an atomic step over the keys of several nodes does not exist; use one "
                "server (redis) or one with failover (redis_sentinel)"
            )
        if self.skip_dedup:
            raise ValueError("skip_dedup: an older value would replace a newer one; leave it out")
        return self


class GuardedRedisOnlineStore(PlannedReads, GuardedStore, RedisOnlineStore):  # type: ignore[misc]
    """Feast's Redis layout under poplift's write contract."""

    # Redis looks through all keys that a client watches for every further one: more at once is slower, not faster.
    batch_rows = 100
    # While Redis works on one batch the others are packed or taken apart.
    writers = 3

    def __init__(self) -> None:
        self._opening = threading.Lock()

    def _get_client(self, online_store_config: GuardedRedisOnlineStoreConfig) -> Any:
        # Two threads would make a client each, and the one that is dropped closes its connections under the other.
        with self._opening:
            return super()._get_client(online_store_config)

    def stored_values(self, config: RepoConfig) -> RedisValues:
        """Reads over the client that writes use."""
        return RedisValues(self._get_client(config.online_store))

    @contextmanager
    def session(self, config: RepoConfig, view: FeatureView) -> Iterator["RedisSession"]:
        """An optimistic step: entities are watched while they are looked at and written only if nobody else did."""
        pool = self._get_client(config.online_store).connection_pool
        connection = pool.get_connection()
        try:
            yield RedisSession(connection, config, stored_name(config, view))
        except BaseException:
            connection.disconnect()  # replies that were not read would be taken for those of the next command
            raise
        finally:
            pool.release(connection)

    def _get_features_for_entity(
        self, values: Sequence[bytes | None], feature_view: str, requested_features: list[str]
    ) -> Read:
        # Feast's own turns what is not there into a null of 1970.
        stored = dict(zip(requested_features, values, strict=True))
        time = stored.pop(event_field(feature_view).decode())
        if time is None:
            return None, None
        return Timestamp.FromString(time).ToDatetime(UTC), {
            name: Value.FromString(value) for name, value in stored.items() if value is not None
        }


class RedisSession:
    """Watch, look and write the entities of one batch over one connection, as RESP bytes packed in one go."""

    def __init__(self, connection: Any, config: RepoConfig, view: str) -> None:
        self._connection = connection
        self._project = config.project
        self._view = view
        self._ttl: int | None = config.online_store.key_ttl_seconds
        self._named: tuple[Sequence[bytes], list[bytes]] = (), []

    def known(self, keys: Sequence[bytes]) -> tuple[Micros, Micros]:
        """Event and created time stored for each entity; whoever changes one from here on makes `put` fail."""
        names = self._names(keys)
        field = packed(event_field(self._view))
        watch = b"*%d\r\n$5\r\nWATCH\r\n" % (len(names) + 1) + b"".join(names)
        look = b"*3\r\n$4\r\nHGET\r\n"
        looks = look + (field + look).join(names) + field
        _, *stamps = answers(self._connection, watch + looks, 1 + len(names))
        if not any(stamps):
            return np.full(len(names), UNKNOWN), np.full(len(names), UNKNOWN)
        pairs = list(map(_times, stamps))
        event_us, created_us = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        return event_us, created_us

    def put(self, rows: Rows) -> None:
        """Write these rows in one transaction; raises ConflictError when a watched entity has changed."""
        if not len(rows):
            answers(self._connection, b"*1\r\n$7\r\nUNWATCH\r\n", 1)
            return
        names = self._names(rows.keys)
        commands, count = self._writes(names, rows), len(names)
        if self._ttl is not None:
            seconds = packed(b"%d" % self._ttl)
            commands += b"".join([b"*3\r\n$6\r\nEXPIRE\r\n" + name + seconds for name in names])
            count *= 2
        transaction = b"*1\r\n$5\r\nMULTI\r\n" + commands + b"*1\r\n$4\r\nEXEC\r\n"
        *_, done = answers(self._connection, transaction, count + 2)
        if done is None:
            raise ConflictError
        for failure in (reply for reply in done if isinstance(reply, Exception)):
            raise failure

    def _writes(self, names: Sequence[bytes], rows: Rows) -> bytes:
        command = b"*%d\r\n$4\r\nHSET\r\n" % (2 + 2 * (len(rows.values) + 1))
        stamps = list(map(_stamp, rows.event.tolist(), rows.created.tolist()))
        columns: list[Iterable[bytes]] = [repeat(command, len(names)), names]
        for field, values in zip(_fields(self._view, tuple(rows.values)), (*rows.values.values(), stamps), strict=True):
            columns += _argument(field, values)
        return b"".join(chain.from_iterable(zip(*columns, repeat(b"\r\n", len(names)), strict=True)))

    def _names(self, keys: Sequence[bytes]) -> list[bytes]:
        if keys is not self._named[0]:  # what is looked at is mostly what is written then
            project = self._project.encode()
            self._named = keys, [b"$%d\r\n%b%b\r\n" % (len(key) + len(project), key, project) for key in keys]
        return self._named[1]


@lru_cache
def _fields(view: str, features: Sequence[str]) -> Sequence[bytes]:
    """Hash fields of a row as arguments, the event time last, each behind what ends the value before it."""
    first, *others = [*(packed(value_field(view, feature)) for feature in features), packed(event_field(view))]
    return first, *(b"\r\n" + field for field in others)


def _argument(field: bytes, values: Sequence[bytes]) -> list[Iterable[bytes]]:
    """Columns that spell field and value of n HSET commands; most columns hold values of one length."""
    lengths = set(map(len, values))
    if len(lengths) == 1:
        return [repeat(b"%b$%d\r\n" % (field, lengths.pop()), len(values)), values]
    return [[b"%b$%d\r\n%b" % (field, len(value), value) for value in values]]


def _times(stored: bytes | None) -> tuple[int, int]:
    if stored is None:
        return UNKNOWN, UNKNOWN
    stamp, created_us = split_created(stored)
    return _micros(stamp), UNKNOWN if created_us is None else created_us


@lru_cache(maxsize=100_000)
def _stamp(event_us: int, created_us: int) -> bytes:
    stamp: bytes = Timestamp(seconds=event_us // _SECOND, nanos=event_us % _SECOND * 1000).SerializeToString()
    return stamp if created_us == UNKNOWN else with_created(stamp, created_us)


@lru_cache(maxsize=100_000)
def _micros(encoded: bytes) -> int:
    return int(Timestamp.FromString(encoded).ToMicroseconds())
