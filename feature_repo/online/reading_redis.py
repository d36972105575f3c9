"""Reads serialised values out of Redis: one command per entity, one round trip for all."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any

from feature_repo.online.decoding import Raw, event_times
from feature_repo.online.layout import packed, redis_key
from feature_repo.online.plan import Lookup, ReadPlan
from feature_repo.online.reader import RawView

# Redis keeps a small hash as a list and walks it once per field that HMGET names: handing over the whole of it takes
# less, unless most of it is not wanted.
MOST_TIMES_THE_WANTED = 2
_HGETALL = b"*2\r\n" + packed(b"HGETALL")


class RedisValues:
    """The values behind a redis-py client of one server; a read is not tried again, its deadline is the client's."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._by_field: set[Lookup] = set()
        self._idle: deque[Any] = deque()

    def fetch(self, plan: ReadPlan, keys: Sequence[Sequence[bytes]]) -> list[RawView]:
        """Every view of the plan, in order; errors of redis-py pass through."""
        asked = [[redis_key(key, plan.project) for key in group] for group in keys]
        known = self._by_field
        by_field = [bool(known) and lookup in known for lookup in plan.lookups]
        replies = iter(self._replies(plan, asked, by_field))
        found: dict[int, RawView] = {}
        for lookup, group, is_by_field in zip(plan.lookups, asked, by_field, strict=True):
            answers = [next(replies) for _ in group]
            columns = _columns(answers, len(lookup.fields)) if is_by_field else self._picked(answers, lookup)
            found.update(_views(plan, lookup, columns))
        return [found[place] for place in range(len(plan.views))]

    def _replies(self, plan: ReadPlan, asked: Sequence[Sequence[bytes]], by_field: Sequence[bool]) -> list[Any]:
        # A pipeline of redis-py packs every field of every command anew, which takes longer than Redis to answer.
        commands = chain.from_iterable(_commands(*each) for each in zip(plan.lookups, asked, by_field, strict=True))
        connection = self._connection()
        try:
            connection.send_packed_command([b"".join(commands)])
            return [connection.read_response(disable_decoding=True) for group in asked for _ in group]
        except BaseException:
            connection.disconnect()  # answers that were not read would be taken for those of the next request
            raise
        finally:
            self._idle.append(connection)

    def _connection(self) -> Any:
        # Taking one from the pool and giving it back takes a third of a small read; what it checks is checked here.
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._client.connection_pool.get_connection()
        try:
            is_fit = not connection.can_read()
        except Exception:  # noqa: BLE001 # however redis-py says that the server closed it meanwhile
            is_fit = False
        if not is_fit:
            connection.disconnect()
        connection.connect()
        return connection

    def _picked(self, hashes: Sequence[Any], lookup: Lookup) -> list[Sequence[Raw]]:
        """Columns of the wanted fields out of whole hashes; the next reads go by field where most is not wanted."""
        flat = [list(chain.from_iterable(h.items())) if isinstance(h, Mapping) else h for h in hashes]  # RESP3, RESP2
        names: Sequence[bytes] = next((h[::2] for h in flat if h), ())
        if len(names) > MOST_TIMES_THE_WANTED * len(lookup.fields):
            self._by_field.add(lookup)
        if any(h and h[::2] != names for h in flat):
            rows = [dict(zip(h[::2], h[1::2], strict=True)) for h in flat]
            return [[row.get(field) for row in rows] for field in lookup.fields]
        nothing = [None] * len(names)  # of an entity without a hash
        stored = dict(zip(names, zip(*(h[1::2] or nothing for h in flat), strict=True), strict=True))
        absent = [None] * len(flat)
        return [stored.get(field, absent) for field in lookup.fields]


def _commands(lookup: Lookup, keys: Sequence[bytes], is_by_field: bool) -> Iterator[bytes]:
    """One command per key; only the key differs between them."""
    head, tail = lookup.hmget if is_by_field else (_HGETALL, b"")
    return (head + packed(key) + tail for key in keys)


def _columns(replies: Sequence[Sequence[Raw]], width: int) -> list[Sequence[Raw]]:
    return list(zip(*replies, strict=True)) if replies else [()] * width


def _views(plan: ReadPlan, lookup: Lookup, columns: Sequence[Sequence[Raw]]) -> Iterator[tuple[int, RawView]]:
    """The views of a lookup by their place in the plan; the last field of each is its event time."""
    ends = list(accumulate(len(plan.views[place].features) + 1 for place in lookup.views))
    stamps = [columns[end - 1] for end in ends]
    events = event_times(list(chain.from_iterable(stamps))).reshape(len(stamps), -1)
    for place, start, end, times in zip(lookup.views, [0, *ends], ends, events, strict=False):
        yield place, RawView(columns[start : end - 1], times)
