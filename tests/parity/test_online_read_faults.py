"""An online read outlives its registry, a writer, a replaced file and a Redis that answers too late."""

import os
import signal
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
import redis

from feature_repo.online.decoding import Status
from tests.parity.online_pair import NOW, Pair, asked, definitions, rows, write_known


def test_a_read_goes_on_without_the_registry_and_follows_it_when_it_is_back(own):
    write_known(own)
    reader, plans = own.reader(), own.ours.provider.online_store._plans
    service = own.ours.get_feature_service("all")
    before = own.ours.get_online_features(service, asked(own)).proto
    registry = own.folder / "registry.db"
    kept = registry.read_bytes()
    registry.write_bytes(b"no database")
    plans.refresh()
    assert reader.read(asked(own)).found.all()
    assert own.ours.get_online_features(service, asked(own)).proto == before
    registry.write_bytes(kept)
    trend = own.feast.get_feature_view("trend")
    trend.ttl = timedelta(hours=1)
    own.feast.apply(trend)
    assert set(reader.read(asked(own)).statuses["region"]) == {Status.PRESENT}
    plans.refresh()
    assert set(reader.read(asked(own)).statuses["region"]) == {Status.OUTSIDE_MAX_AGE}


def test_a_reader_of_the_file_cannot_write_it_and_is_not_held_up_by_a_writer(own):
    write_known(own)
    reader = own.reader()
    with closing(sqlite3.connect(own.folder / "online.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE shop_trend SET value = x''")
        assert reader.read(asked(own)).found.all()
        writer.execute("ROLLBACK")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._stored._connection().execute("DELETE FROM shop_trend")


def test_a_file_that_was_made_anew_is_read_anew(own):
    write_known(own)
    reader = own.reader()
    assert reader.read(asked(own)).found.all()
    own.ours.provider.online_store.teardown(own.ours.config, [], [])
    with pytest.raises(FileNotFoundError):
        reader.read(asked(own))
    own.ours.apply(definitions(own.folder))
    assert not reader.read(asked(own)).found.any()
    write_known(own)
    assert reader.read(asked(own)).found.all()


@pytest.mark.services
def test_a_connection_that_the_server_closed_is_opened_anew_by_the_next_read(tmp_path, own_redis):
    guarded = {"type": "feature_repo.online.redis.GuardedRedisOnlineStore", "business_time": NOW.isoformat()}
    pair = Pair(tmp_path, "shop", {**guarded, "connection_string": f"{own_redis},retry=null"}, guarded)
    write_known(pair)
    reader = pair.reader()
    before = reader.read(rows(pair, "ax")).values["baskets"].tolist()
    assert redis.Redis(host="127.0.0.1", port=int(own_redis.split(":")[1])).client_kill_filter(_type="normal")
    assert reader.read(rows(pair, "ax")).values["baskets"].tolist() == before


@pytest.mark.services
def test_answers_that_came_too_late_are_not_taken_for_those_of_the_next_read(tmp_path, own_redis):
    guarded = {"type": "feature_repo.online.redis.GuardedRedisOnlineStore", "business_time": NOW.isoformat()}
    guarded["connection_string"] = f"{own_redis},socket_timeout=0.25,socket_connect_timeout=0.25,retry=null"
    pair = Pair(tmp_path, "shop", guarded, guarded)
    write_known(pair)
    reader = pair.reader()
    first, second = (reader.read(rows(pair, cell)).values["baskets"].tolist() for cell in ("ax", "bx"))
    process = redis.Redis(host="127.0.0.1", port=int(own_redis.split(":")[1])).info("server")["process_id"]
    os.kill(process, signal.SIGSTOP)
    with pytest.raises(redis.TimeoutError):
        reader.read(rows(pair, "ax"))
    os.kill(process, signal.SIGCONT)
    assert first != second
    assert reader.read(rows(pair, "bx")).values["baskets"].tolist() == second
