"""Reads serialised values out of Redis: one command per entity, one round trip for all."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import inf
from operator import itemgetter
from typing import Any, NamedTuple

from redis import exceptions
from redis._parsers.hiredis import NOT_ENOUGH_DATA

from feature_repo.online.decoding import Raw, event_times
from feature_repo.online.layout import packed, redis_key
from feature_repo.online.plan import Lookup, ReadPlan
from feature_repo.online.reader import RawView, Stored

# Redis keeps a small hash as a list and walks it once per field that HMGET names: handing over the whole of it takes
# less, unless most of it is not wanted.
MOST_TIMES_THE_WANTED = 2
MOST_SECONDS = 1.0  # of one attempt; the socket's own deadline starts anew with every part of an answer
_PART_BYTES = 64 * 1024
_HGETALL = b"*2\r\n" + packed(b"HGETALL")


class RedisValues:
    """The values behind a redis-py client of one server; its deadline holds for every read.

    A read is tried once more where the server has closed the connection, which it may do at any time, else never.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._orders: dict[tuple[bytes, ...], _Order] = {}
        self._idle: deque[Any] = deque()

    def fetch(self, plan: ReadPlan, keys: Sequence[Sequence[bytes]], *, unless: bytes | None = None) -> Stored | None:
        """Every view of the plan, in order, unless Redis says `unless`; errors of redis-py pass through."""
        asked = [[redis_key(key, plan.project) for key in group] for group in keys]
        orders = [self._orders.get(lookup.fields, _UNSEEN) for lookup in plan.lookups]
        heard = self._heard(plan, asked, orders, unless)
        if heard is None:
            return None
        replies = heard.answers
        found: dict[int, RawView] = {}
        for lookup, group, order in zip(plan.lookups, asked, orders, strict=True):
            answers, replies = replies[: len(group)], replies[len(group) :]
            found.update(_views(lookup, answers if order.by_field else self._picked(answers, lookup, order)))
        return Stored([found[place] for place in range(len(plan.views))], heard.said)

    def _heard(
        self, plan: ReadPlan, asked: Sequence[Sequence[bytes]], orders: Sequence["_Order"], unless: bytes | None
    ) -> "Heard | None":
        # A pipeline of redis-py packs every field of every command anew, which takes longer than Redis to answer.
        commands = b"".join(chain.from_iterable(map(_commands, plan.lookups, asked, orders)))
        connection = self._connection()
        try:
            return hear(connection, commands, sum(map(len, asked)), seconds=MOST_SECONDS, unless=unless)
        except exceptions.ConnectionError:
            # The server has closed it since the last read; it connects anew.
            return hear(connection, commands, sum(map(len, asked)), seconds=MOST_SECONDS, unless=unless)
        finally:
            self._idle.append(connection)

    def _connection(self) -> Any:
        # Taking one from the pool and giving it back takes a third of a small read.
        try:
            return self._idle.pop()
        except IndexError:
            return self._client.connection_pool.get_connection()

    def _picked(self, hashes: Sequence[Any], lookup: Lookup, order: "_Order") -> list[Sequence[Raw]]:
        """The wanted fields out of each whole hash; most hashes have their fields where the last one had them."""
        flat = [list(chain.from_iterable(h.items())) if isinstance(h, Mapping) else h for h in hashes]  # RESP3, RESP2
        first: Sequence[bytes] = next(filter(None, flat), ())
        if list(first[::2]) != order.names:
            order = self._orders[lookup.fields] = _Order.of(list(first[::2]), lookup)
        names, pick = order.names, order.pick
        return [
            pick(h) if pick and h[::2] == names else [*map(dict(zip(h[::2], h[1::2], strict=True)).get, lookup.fields)]
            for h in flat
        ]


@dataclass(frozen=True)
class _Order:
    """Names of the fields of a hash as they come, and what takes those of a lookup out of it (None: some are absent).

    `by_field` says that most of the hash is not wanted.
    """

    names: list[bytes]
    pick: Callable[[Sequence[Raw]], Sequence[Raw]] | None
    by_field: bool

    @classmethod
    def of(cls, names: list[bytes], lookup: Lookup) -> "_Order":
        places = {name: 2 * place + 1 for place, name in enumerate(names)}
        is_whole = places.keys() >= set(lookup.fields)
        pick = itemgetter(*map(places.__getitem__, lookup.fields)) if is_whole else None
        return cls(names, pick, len(names) > MOST_TIMES_THE_WANTED * len(lookup.fields))


_UNSEEN = _Order([], None, by_field=False)


class Heard(NamedTuple):
    """Answers of Redis, and the bytes they came in."""

    answers: list[Any]
    said: bytes


def hear(
    connection: Any, commands: bytes, count: int, *, seconds: float = inf, unless: bytes | None = None
) -> Heard | None:
    """Send commands to Redis and read that many answers; a failure closes the connection, errors are redis-py's.

    None where Redis says the very bytes of `unless`: whole answers, of which none is the beginning of another. After
    `seconds` it is given up, even where each part of an answer comes within the deadline of the socket.
    """
    try:
        connection.send_packed_command([commands])
        heard = _listen(connection, count, ends=time.monotonic() + seconds, unless=unless)
    except BaseException as error:
        connection.disconnect()  # answers that were not read would be taken for those of the next request
        if isinstance(error, TimeoutError):
            raise exceptions.TimeoutError(str(error)) from error
        if isinstance(error, OSError):
            raise exceptions.ConnectionError(str(error)) from error
        raise
    for failure in (answer for answer in (heard.answers if heard else ()) if isinstance(answer, Exception)):
        raise failure
    return heard


def _listen(connection: Any, count: int, *, ends: float, unless: bytes | None) -> Heard | None:
    received: list[Any] = []
    said, fed = bytearray(), 0
    # What redis-py adds to hiredis for every answer takes several times as long as reading it.
    reader, take = connection._parser._reader, connection._sock.recv  # noqa: SLF001
    whole = partial(reader.gets, False)
    while len(received) < count:
        if said and time.monotonic() > ends:
            raise TimeoutError("Redis did not send its whole answer in time")
        part = take(_PART_BYTES)
        if not part:
            raise ConnectionError("Redis closed the connection")
        said += part
        if unless is not None and unless.startswith(said):
            if len(said) == len(unless):
                return None
        else:
            unless = None
            reader.feed(said, fed, len(said) - fed)
            fed = len(said)
            received.extend(iter(whole, NOT_ENOUGH_DATA))
    return Heard(received, bytes(said))


def answers(connection: Any, commands: bytes, count: int) -> list[Any]:
    """The same for the answers alone."""
    heard = hear(connection, commands, count)
    return heard.answers if heard else []


def _commands(lookup: Lookup, keys: Sequence[bytes], order: _Order) -> Iterator[bytes]:
    """One command per key; only the key differs between them."""
    head, tail = lookup.hmget if order.by_field else (_HGETALL, b"")
    return (head + packed(key) + tail for key in keys)


def _views(lookup: Lookup, rows: Sequence[Sequence[Raw]]) -> Iterator[tuple[int, RawView]]:
    """The views of a lookup by their place in the plan; the last field of each is its event time."""
    columns = list(zip(*rows, strict=True)) or [()] * len(lookup.fields)
    stamps = [columns[end] for _, end in lookup.spans]
    events = event_times(list(chain.from_iterable(stamps))).reshape(len(stamps), -1)
    for place, (start, end), times in zip(lookup.views, lookup.spans, events, strict=True):
        yield place, RawView(columns[start:end], times)
