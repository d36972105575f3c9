"""POS lines through Redis Streams: online and in the lake, once, by one consumer at a time."""

import json
import threading
from datetime import timedelta

import pytest

from feature_repo.running import RunningWriter
from flows.steps.replay import ReplayError, lines_of, send
from flows.steps.stream import Consumer, consume
from poplift import clock
from poplift.feature_store import FeatureStoreError
from poplift.lake import Lake
from poplift.settings import load_settings
from poplift.stream import RedisStream, StreamError, client
from tests.live_stream import LEASE, QUICK, batch, landed, live_home, online, payloads, quarantined, some_lines, stream
from tests.live_week import line

pytestmark = pytest.mark.services


@pytest.fixture
def settings(tmp_path, own_redis):
    return live_home(tmp_path / "var", own_redis)


@pytest.fixture
def plain(own_redis):
    """Two clients of a stream with nothing around them."""
    return [RedisStream(own_redis, name="plain", lease=LEASE) for _ in range(2)]


def drain(settings, **more):
    consumer = Consumer(settings, stream(settings), RunningWriter(settings), pace=QUICK, **more)
    return consumer.run(ends=lambda: True)


def test_lines_are_online_and_in_the_lake_and_gone_from_the_stream(settings):
    stream(settings).append(some_lines(60))
    done = drain(settings)
    assert (done.lines, done.accepted + done.duplicates, done.refused) == (66, 60, 6)
    assert online(settings) == batch(settings)
    assert sum(cell["transactions_week_to_date"] for cell in online(settings).values()) > 0
    assert len(landed(settings)) == done.accepted + 1
    assert {rule for rule, _ in quarantined(settings)} == {"range", "unreadable"}
    assert stream(settings).waiting() == 0


def test_the_same_lines_sent_again_change_nothing(settings):
    for _ in range(2):
        stream(settings).append(some_lines(60)[:30])
        drain(settings)
    before = online(settings), landed(settings), len(Lake(settings.lake_dir).parts("pos_lines"))
    stream(settings).append(some_lines(60)[:30])
    done = drain(settings)
    assert done.accepted == 0
    assert (online(settings), landed(settings), len(Lake(settings.lake_dir).parts("pos_lines"))) == before


def test_a_line_became_known_when_it_was_appended_where_time_runs(settings):
    running = settings.model_copy(update={"business_clock": "wall"})
    before = clock.wall_now()
    stream(running).append(payloads(line(), line(quantity=7)))
    after = clock.wall_now()
    drain(running)
    lake = Lake(running.lake_dir)
    query = lake.query("pos_lines", as_of=after + timedelta(minutes=5), every_version=True)
    rows = lake.connection.sql(
        f"SELECT quantity, created_at FROM ({query}) WHERE basket_id = 'b1' ORDER BY 2"
    ).fetchall()
    assert [quantity for quantity, _ in rows] == [1, 7]
    tick = timedelta(milliseconds=1)
    assert before - tick <= rows[0][1] < rows[1][1] <= after + tick


def test_one_consumer_takes_and_the_other_stands_by_until_it_is_released(plain):
    first, second = plain
    assert first.acquire()
    assert not second.acquire()
    assert first.keep()
    assert not second.keep()
    second.release()
    assert first.keep()
    first.release()
    assert second.acquire()


def test_what_a_dead_consumer_took_is_delivered_to_the_next_one_in_order(plain):
    first, second = plain
    first.append([b"1", b"2", b"3"])
    assert first.acquire()
    taken = first.take(most=2, wait=timedelta(seconds=1))
    first.finish([taken[0].id])
    first.release()
    assert second.acquire()
    assert [m.payload for m in second.unfinished()] == [b"2"]
    assert [m.payload for m in second.take(most=9, wait=timedelta(seconds=1))] == [b"3"]
    assert second.waiting() == 2


def test_dead_consumers_do_not_pile_up_in_the_group(plain, own_redis):
    for _ in range(3):
        passing = RedisStream(own_redis, name="plain", lease=LEASE)
        assert passing.acquire()
        passing.unfinished()
        passing.append([b"x"])
        passing.finish([m.id for m in passing.take(most=9, wait=timedelta(seconds=1))])
        passing.release()
    assert len(client(own_redis).xinfo_consumers("plain:pos_lines", "poplift")) == 1


def test_the_options_of_feasts_connection_string_are_understood(own_redis):
    assert client(f"{own_redis},db=1,socket_timeout=2.5").connection_pool.connection_kwargs["db"] == 1
    with pytest.raises(StreamError, match="POPLIFT_REDIS_URL"):
        RedisStream("127.0.0.1:1", name="nowhere").waiting()


def test_a_stopped_consumer_finishes_its_batch_and_lets_the_next_one_in_at_once(settings):
    stream(settings).append(some_lines(30))
    stopping = threading.Event()
    consumer = Consumer(settings, stream(settings), RunningWriter(settings), pace=QUICK, stopping=stopping)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    while consumer.done.lines < 33 and thread.is_alive():
        stopping.wait(0.01)
    stopping.set()
    thread.join(10)
    assert not thread.is_alive()
    assert stream(settings).waiting() == 0
    assert stream(settings).acquire()


class Failing:
    """An online store that is down for its first writes."""

    def __init__(self, rows, times):
        self.rows, self.times = rows, times

    def write(self, rows):
        self.times -= 1
        if self.times >= 0:
            raise FeatureStoreError("down")
        self.rows.write(rows)


def test_an_online_store_that_is_down_is_waited_for_and_then_has_everything(settings):
    stream(settings).append(some_lines(30))
    said = []
    writer = Failing(RunningWriter(settings), times=2)
    consumer = Consumer(settings, stream(settings), writer, pace=QUICK, progress=said.append)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    while consumer.done.lines < 33 and thread.is_alive():
        consumer.stopping.wait(0.01)
    consumer.stopping.set()
    thread.join(10)
    assert said[:2] == ["down; trying again"] * 2
    assert online(settings) == batch(settings)


def test_without_a_redis_the_command_names_the_other_way(tmp_path):
    with pytest.raises(StreamError, match="POST /v1/events"):
        consume(load_settings(home=tmp_path), once=True)


def test_a_replay_sends_the_lines_of_the_week_in_the_order_of_their_sale(tmp_path, plain):
    settings = load_settings(home=tmp_path)
    lines = lines_of(settings, week=53)
    sold = [json.loads(found)["sold_at"] for found in lines]
    assert len(sold) > 20_000
    assert sold == sorted(sold)
    send(plain[0], lines[:50], 1000, threading.Event())
    assert plain[0].waiting() == 50
    with pytest.raises(ReplayError, match="no line in week 99"):
        lines_of(settings, week=99)
