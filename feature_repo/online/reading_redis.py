"""Reads serialised values out of Redis: one command per entity, one round trip for all."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from feature_repo.online.decoding import Raw, event_times
from feature_repo.online.layout import redis_key
from feature_repo.online.plan import Lookup, ReadPlan, packed
from feature_repo.online.reader import RawView


class RedisValues:
    """The values behind a redis-py client of one server; a read is not tried again, its deadline is the client's."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def fetch(self, plan: ReadPlan, keys: Sequence[Sequence[bytes]]) -> list[RawView]:
        """Every view of the plan, in order; errors of redis-py pass through."""
        asked = [[redis_key(key, plan.project) for key in group] for group in keys]
        replies = iter(self._replies(plan, asked))
        found: dict[int, RawView] = {}
        for lookup, group in zip(plan.lookups, asked, strict=True):
            columns = _columns([next(replies) for _ in group], len(lookup.fields))
            for place in lookup.views:
                values = [next(columns) for _ in plan.views[place].features]
                found[place] = RawView(values, event_times(next(columns)))
        return [found[place] for place in range(len(plan.views))]

    def _replies(self, plan: ReadPlan, asked: Sequence[Sequence[bytes]]) -> list[Sequence[Raw]]:
        # A pipeline of redis-py packs every field of every command anew, which takes longer than Redis to answer.
        commands = chain.from_iterable(_commands(*pair) for pair in zip(plan.lookups, asked, strict=True))
        pool = self._client.connection_pool
        connection = pool.get_connection()
        try:
            connection.send_packed_command([b"".join(commands)])
            return [connection.read_response(disable_decoding=True) for group in asked for _ in group]
        except BaseException:
            connection.disconnect()  # answers that were not read would be taken for those of the next request
            raise
        finally:
            pool.release(connection)


def _commands(lookup: Lookup, keys: Sequence[bytes]) -> Iterator[bytes]:
    """One HMGET per key; only the key differs between them."""
    head, tail = lookup.hmget
    return (head + packed(key) + tail for key in keys)


def _columns(replies: Sequence[Sequence[Raw]], width: int) -> Iterator[Sequence[Raw]]:
    return zip(*replies, strict=True) if replies else iter([()] * width)
