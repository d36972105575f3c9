"""Reads serialised values out of Redis: one command per entity, one round trip for all."""

from collections.abc import Sequence
from typing import Any

from feature_repo.online.decoding import Raw, event_times
from feature_repo.online.layout import redis_key
from feature_repo.online.plan import ReadPlan
from feature_repo.online.reader import RawView


class RedisValues:
    """The values behind a client of redis-py."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def fetch(self, plan: ReadPlan, keys: Sequence[Sequence[bytes]]) -> list[RawView]:
        """Every view of the plan, in order; errors of redis-py pass through."""
        with self._client.pipeline(transaction=False) as pipe:
            for lookup, group in zip(plan.lookups, keys, strict=True):
                for key in group:
                    pipe.hmget(redis_key(key, plan.project), lookup.fields)
            replies = pipe.execute()
        found: dict[int, RawView] = {}
        start = 0
        for lookup, group in zip(plan.lookups, keys, strict=True):
            columns = _columns(replies[start : start + len(group)], len(lookup.fields))
            start += len(group)
            at = 0
            for place in lookup.views:
                width = len(plan.views[place].features)
                found[place] = RawView(columns[at : at + width], event_times(columns[at + width]))
                at += width + 1
        return [found[place] for place in range(len(plan.views))]


def _columns(replies: Sequence[Sequence[Raw]], width: int) -> list[Sequence[Raw]]:
    return list(zip(*replies, strict=True)) if replies else [()] * width
