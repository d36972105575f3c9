"""The door to Redis Streams: lines are appended, taken by one consumer of a group at a time, and forgotten when done.

Exactly one consumer holds the lease and takes lines; the others stand by, because each keeps the open week in memory
and two halves of a week would overwrite each other online. Whoever gets the lease takes over what the one before did
not finish, oldest first. Kafka does the same by the partitions of its consumer groups: it would implement EventStream.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

if TYPE_CHECKING:
    import redis

GROUP = "poplift"
FIELD = "line"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PAGE = 2000  # entries claimed or appended in one command


class StreamError(Exception):
    """The stream cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Message:
    """One entry: its id, when it was appended (UTC, unique to the microsecond), and the bytes of a JSON object."""

    id: str
    appended_at: datetime
    payload: bytes


class EventStream(Protocol):
    """What the platform needs of a stream; every method raises StreamError when the server does not answer."""

    def append(self, payloads: Sequence[bytes]) -> None:
        """Add entries at the end; when it returns, they are as durable as the server makes them."""

    def acquire(self) -> bool:
        """Become the one consumer that takes; False while another one is."""

    def keep(self) -> bool:
        """Stay it; False when the lease has ended, whoever has it now."""

    def release(self) -> None:
        """Let another consumer take at once."""

    def unfinished(self) -> list[Message]:
        """Entries that a consumer before this one took and did not finish, oldest first."""

    def take(self, *, most: int, wait: timedelta) -> list[Message]:
        """Up to `most` new entries, oldest first; waits for the first one at most `wait`."""

    def finish(self, ids: Sequence[str]) -> None:
        """Forget entries for ever."""

    def waiting(self) -> int:
        """Entries appended and not finished."""


def client(url: str, **options: Any) -> "redis.Redis":
    """A client for POPLIFT_REDIS_URL: host:port, then Feast's options, each `name=value` with a JSON value or text."""
    import redis
    from redis.backoff import ConstantBackoff
    from redis.retry import Retry

    address, *given = url.split(",")
    host, _, port = address.partition(":")
    for option in given:
        name, _, value = option.partition("=")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
    # redis-py on its own waits for ever for an answer, and seven seconds for a refused connection.
    patience: dict[str, Any] = {
        "socket_timeout": 5,
        "socket_connect_timeout": 5,
        "retry": Retry(ConstantBackoff(0.1), retries=1),
    }
    return redis.Redis(host=host, port=int(port or 6379), **patience | options)


class RedisStream:
    """EventStream on Redis: one stream, one group, one lease; made once per process."""

    def __init__(self, url: str, *, name: str, lease: timedelta = timedelta(seconds=10)) -> None:
        self.name = f"{name}:pos_lines"
        self._redis = client(url)
        seconds = lease.total_seconds()
        self._lease = self._redis.lock(f"{name}:pos_lines:lease", timeout=seconds, blocking=False, thread_local=False)
        self._me = uuid4().hex

    def append(self, payloads: Sequence[bytes]) -> None:
        """As EventStream; all of one call or, when the server dies meanwhile, perhaps some."""
        for start in range(0, len(payloads), PAGE):
            with self._redis.pipeline(transaction=False) as pipe:
                for payload in payloads[start : start + PAGE]:
                    pipe.xadd(self.name, {FIELD: payload})
                self._asked(pipe.execute)

    def acquire(self) -> bool:
        """As EventStream; the lease ends by itself when its holder stops calling `keep`."""
        if not self.keep() and not self._asked(self._lease.acquire):
            return False
        self._make_group()
        return True

    def keep(self) -> bool:
        """As EventStream."""
        return self._while_held(self._lease.reacquire)

    def release(self) -> None:
        """As EventStream."""
        self._while_held(self._lease.release)

    def unfinished(self) -> list[Message]:
        """As EventStream; only the holder of the lease may call it, for it takes from everybody."""
        found: list[Message] = []
        start = "0-0"
        while True:
            start, entries, *_ = self._asked(
                self._redis.xautoclaim, self.name, GROUP, self._me, min_idle_time=0, start_id=start, count=PAGE
            )
            found += _messages(entries)
            if _text(start) == "0-0":
                self._forget_the_dead()
                return found

    def take(self, *, most: int, wait: timedelta) -> list[Message]:
        """As EventStream."""
        block = max(1, int(wait.total_seconds() * 1000))
        answer = self._asked(self._redis.xreadgroup, GROUP, self._me, {self.name: ">"}, count=most, block=block)
        return [m for _, entries in answer or [] for m in _messages(entries)]

    def finish(self, ids: Sequence[str]) -> None:
        """As EventStream."""
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE]
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.xack(self.name, GROUP, *page)
                pipe.xdel(self.name, *page)
                self._asked(pipe.execute)

    def waiting(self) -> int:
        """As EventStream."""
        return int(self._asked(self._redis.xlen, self.name))

    def _make_group(self) -> None:
        try:
            self._asked(self._redis.xgroup_create, self.name, GROUP, id="0", mkstream=True)
        except StreamError as error:
            if not str(error.__cause__).startswith("BUSYGROUP"):
                raise

    def _forget_the_dead(self) -> None:
        for consumer in self._asked(self._redis.xinfo_consumers, self.name, GROUP):
            name = _text(consumer["name"])
            if name != self._me and not consumer["pending"]:
                self._asked(self._redis.xgroup_delconsumer, self.name, GROUP, name)

    def _while_held(self, step: Callable[[], Any]) -> bool:
        """Do this with the lease; False when it is not ours, or not any more."""
        from redis.exceptions import LockError

        try:
            self._asked(step)
        except StreamError as error:
            if isinstance(error.__cause__, LockError):
                return False
            raise
        return True

    def _asked(self, command: Any, *arguments: Any, **options: Any) -> Any:
        from redis.exceptions import RedisError

        try:
            return command(*arguments, **options)
        except RedisError as error:
            raise StreamError(
                f"the stream's Redis does not answer as it should ({error}): look at POPLIFT_REDIS_URL"
            ) from error


def _messages(entries: Sequence[tuple[Any, dict[Any, Any] | None]]) -> list[Message]:
    found = []
    for entry, fields in entries:
        if fields is not None:  # deleted while it was pending
            number = _text(entry)
            milliseconds, _, sequence = number.partition("-")
            since = timedelta(milliseconds=int(milliseconds), microseconds=min(int(sequence), 999))
            found.append(Message(number, _EPOCH + since, fields.get(FIELD.encode(), b"")))
    return found


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
