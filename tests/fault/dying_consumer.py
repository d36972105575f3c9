"""A consumer that kills itself with SIGKILL at a named place: python dying_consumer.py HOME REDIS PLACE."""

import os
import signal
import sys
from pathlib import Path

from feature_repo.running import RunningWeek, RunningWriter
from flows.steps.stream import Consumer
from poplift.lake import Lake
from poplift.settings import load_settings
from poplift.stream import RedisStream
from tests.live_stream import QUICK, stream
from tests.live_week import NOW

# Place → the method around which it lies, whether death comes after the call, and at which call.
PLACES = {
    "taken, not online": (RunningWeek, "take", True, 2),
    "online, not landed": (RunningWriter, "write", True, 3),
    "half of the landing done": (Lake, "append", True, 1),
    "landed, not finished": (RedisStream, "finish", False, 1),
    "finished": (RedisStream, "finish", True, 1),
}


def die_at(place):
    """Arrange for the death of this process."""
    owner, name, is_after, at = PLACES[place]
    original, calls = getattr(owner, name), []

    def method(self, *arguments, **options):
        calls.append(name)
        if len(calls) == at and not is_after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(self, *arguments, **options)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, method)


def main(home, redis_url, place):
    """Consume until death, or for ever where the place is 'nowhere'."""
    settings = load_settings(home=Path(home), database_prefix="live", redis_url=redis_url, business_time=NOW)
    consumer = Consumer(settings, stream(settings), RunningWriter(settings), pace=QUICK)
    if place != "nowhere":
        die_at(place)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    consumer.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
