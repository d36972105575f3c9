"""Consumers killed, doubled, and a Redis that goes away: in the end the same values online and the same lake."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from feature_repo.running import RunningWriter
from flows.steps.stream import Consumer
from poplift.lake import Lake
from poplift.settings import child_environment
from poplift.stream import StreamError, client
from tests.fault.dying_consumer import PLACES
from tests.live_stream import QUICK, batch, landed, live_home, online, quarantined, some_lines, stream
from tests.own_redis import OwnRedis

pytestmark = [pytest.mark.slow, pytest.mark.services]

ROOT = Path(__file__).resolve().parents[2]
LINES = some_lines(120)
SECONDS = 60


def process(settings, place):
    """A consumer in a process of its own, up and registered."""
    command = [sys.executable, "-m", "tests.fault.dying_consumer", str(settings.home), settings.redis_url, place]
    started = subprocess.Popen(
        command, cwd=ROOT, env=child_environment(settings), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert started.stdout.readline() == "ready\n", started.stdout.read()
    return started


def wait_until(true, what):
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def finish(settings):
    """A consumer that nobody kills, until nothing is left."""
    return Consumer(settings, stream(settings), RunningWriter(settings), pace=QUICK).run(ends=lambda: True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the lines come to when nothing happens, without Redis: values, lake and number of refused lines."""
    from feature_repo.running import RunningWeek
    from poplift.arrivals import Arrival
    from tests.live_week import NOW, cells, chain

    lake = chain(tmp_path_factory.mktemp("undisturbed") / "lake")
    week = RunningWeek(lake, as_of=NOW)
    taken, _ = week.take([Arrival(str(n), NOW, sent) for n, sent in enumerate(LINES)], as_of=NOW)
    week.arrivals.land()
    query = f"SELECT * EXCLUDE (created_at) FROM ({lake.query('pos_lines', as_of=NOW)}) ORDER BY ALL"
    values = {
        cell: {name: value for name, value in row.items() if not name.endswith("_timestamp")}
        for cell, row in cells(week.rows()).items()
    }
    return values, lake.connection.sql(query).fetchall(), len(taken.refused)


def assert_as_undisturbed(settings, undisturbed):
    values, lines, refused = undisturbed
    assert online(settings) == batch(settings) == values
    assert landed(settings) == lines
    assert len(quarantined(settings)) == len(set(quarantined(settings))) == refused
    assert stream(settings).waiting() == 0
    assert not list(settings.lake_dir.rglob("*.partial"))


@pytest.mark.parametrize("place", PLACES)
def test_a_consumer_killed_at_any_place_leaves_nothing_undone_and_nothing_done_twice(
    tmp_path, own_redis, undisturbed, place
):
    settings = live_home(tmp_path / "var", own_redis)
    stream(settings).append(LINES)
    dying = process(settings, place)
    assert dying.wait(SECONDS) == -signal.SIGKILL, dying.stdout.read()
    dying.stdout.close()
    done = finish(settings)
    assert place == "finished" or done.lines > 0
    assert_as_undisturbed(settings, undisturbed)


def test_of_two_consumers_the_second_goes_on_where_the_first_was_killed(tmp_path, own_redis, undisturbed):
    settings = live_home(tmp_path / "var", own_redis)
    pair = [process(settings, "nowhere") for _ in range(2)]
    try:
        stream(settings).append(LINES[:40])
        wait_until(lambda: stream(settings).waiting() == 0, "the first lines were never finished")
        (holder,) = _consumers(own_redis)
        stream(settings).append(LINES[40:80])
        killed = _one_that_holds(pair, own_redis)
        killed.send_signal(signal.SIGKILL)
        stream(settings).append(LINES[80:])
        wait_until(lambda: stream(settings).waiting() == 0, "the survivor did not finish the lines")
        assert killed.wait(SECONDS) == -signal.SIGKILL
        assert _consumers(own_redis) != {holder}
    finally:
        for each in pair:
            each.kill()
            each.wait()
            each.stdout.close()
    assert_as_undisturbed(settings, undisturbed)


def _consumers(redis_url):
    with client(redis_url) as redis:
        return {consumer["name"] for consumer in redis.xinfo_consumers("live:pos_lines", "poplift")}


def _one_that_holds(pair, redis_url):
    """The process whose connections to Redis move the lease on: found by stopping one and seeing the lease run out."""
    for candidate, other in (pair, reversed(pair)):
        candidate.send_signal(signal.SIGSTOP)
        try:
            with client(redis_url) as redis:
                before = redis.get("live:pos_lines:lease")
                time.sleep(0.5)
                if redis.pttl("live:pos_lines:lease") < 700 and redis.get("live:pos_lines:lease") == before:
                    return candidate
        finally:
            candidate.send_signal(signal.SIGCONT)
        assert other.poll() is None
    pytest.fail("neither process holds the lease")


@pytest.fixture
def durable(tmp_path):
    """A Redis that keeps every write on disk."""
    server = OwnRedis(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.close()


def test_a_redis_killed_and_started_again_loses_nothing(tmp_path, durable, undisturbed):
    settings = live_home(tmp_path / "var", durable.url)
    said = []
    consumer = Consumer(settings, stream(settings), RunningWriter(settings), pace=QUICK, progress=said.append)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        for at in range(0, len(LINES), 40):
            stream(settings).append(LINES[at : at + 40])
            wait_until(lambda: consumer.done.lines > at, "no line was taken")  # noqa: B023 # called at once
            durable.kill()
            with pytest.raises(StreamError):
                stream(settings).waiting()
            wait_until(lambda: said and said[-1].endswith("trying again"), "the outage was not noticed")
            said.clear()
            durable.start()
        wait_until(lambda: stream(settings).waiting() == 0, "the lines were never finished")
    finally:
        consumer.stopping.set()
        thread.join(SECONDS)
    assert not thread.is_alive()
    assert_as_undisturbed(settings, undisturbed)


def test_ctrl_c_finishes_the_batch_and_ends_well(tmp_path, own_redis, undisturbed):
    settings = live_home(tmp_path / "var", own_redis)
    stream(settings).append(LINES)
    command = [sys.executable, "-c", "from flows.cli import main; main()", "stream"]
    environment = child_environment(settings, COLUMNS="200", PYTHONUNBUFFERED="1")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        wait_until(lambda: online(settings) == undisturbed[0], "the lines never came online")
        os.kill(run.pid, signal.SIGINT)
        output, _ = run.communicate(timeout=SECONDS)
    assert run.returncode == 0, output
    assert f"{len(LINES)} lines" in output
    assert_as_undisturbed(settings, undisturbed)
    assert len(Lake(settings.lake_dir).parts("pos_lines")) == 2
