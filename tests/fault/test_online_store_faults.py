"""A Redis that is stopped, frozen, emptied, evicting or full while the API answers: flagged, in time, and soon mended."""

import contextlib
import logging
from collections import Counter

import numpy as np
import pytest
import redis

from feature_repo.catalog import VIEWS
from feature_repo.definitions.repository import objects
from poplift import feature_store
from poplift.settings import load_settings
from tests.fault.serving_process import (
    DEADLINE,
    RECOMMENDATIONS,
    RECOVERY,
    Api,
    Load,
    ask_at_once,
    is_degraded,
    outage,
    wait_until,
)
from tests.own_redis import OwnRedis
from tests.served_home import served_home
from tests.unit.serving.conftest import train

pytestmark = pytest.mark.slow
log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def home(tmp_path_factory, small_home):
    """Settings of a home whose features are in a Redis of its own, and that Redis."""
    server = OwnRedis(tmp_path_factory.mktemp("redis"))
    settings = load_settings(home=tmp_path_factory.mktemp("online"), database_prefix="fault", redis_url=server.url)
    settings.features_dir.symlink_to(small_home.settings.features_dir)
    feature_store.apply(settings, objects(settings))
    feature_store.materialize(settings)
    model = train(tmp_path_factory.mktemp("model") / "demand")
    try:
        yield served_home(settings, tmp_path_factory.mktemp("served") / "var", model), settings, server
    finally:
        server.close()


@pytest.fixture(scope="module")
def api(home):
    with Api(home[0]) as running:
        running.wait_until_ready()
        yield running


def chosen(answer):
    return {item["recommended"]["activation_name"] for item in answer["recommendations"]}


@pytest.mark.parametrize(("breaks", "mends"), [("stop", "start"), ("freeze", "thaw")])
def test_a_store_that_goes_away_under_load_costs_nobody_the_deadline_and_is_found_again(api, home, breaks, mends):
    store = home[2]
    assert not is_degraded(api)
    threads, connections = api.threads(), len(store.client.client_list())
    with Load(api, clients=8, pause=0.01) as load:
        wait_until(lambda: len(load.answers) > 50)
        took = outage(api, load, breaks=getattr(store, breaks), mends=getattr(store, mends))
    seconds = [answer[1] for answer in load.answers]
    log.info("seconds %s", took | {"p99": float(np.quantile(seconds, 0.99))})
    assert load.failures == []
    assert {status for _, _, status, _ in load.answers} == {200}
    assert max(seconds) < DEADLINE + 1
    degraded = [body for *_, body in load.answers if body["degraded"]]
    assert len(degraded) >= 300
    assert {name for body in degraded for name in chosen(body)} == {"none"}
    assert api.metric("poplift_online_store_breaker_open") == 0
    assert api.threads() <= threads + 8  # the pool of requests may not have been full before
    assert len(store.client.client_list()) <= connections + 4


def test_an_emptied_store_is_not_ready_and_its_answers_are_flagged(api, home):
    _, settings, store = home
    store.client.flushall()
    status, problem = api.answers()
    assert status == 503
    assert "materialise" in problem["detail"]
    answer = api.get(RECOMMENDATIONS).json()
    assert answer["degraded"]
    assert chosen(answer) == {"none"}
    feature_store.materialize(settings)
    assert api.answers()[0] == 200
    assert not is_degraded(api)


def test_a_store_that_evicts_is_noticed(api, home):
    _, settings, store = home
    try:
        store.client.config_set("maxmemory-policy", "allkeys-lru")
        store.client.config_set("maxmemory", "100kb")  # less than Redis needs without a key
        with contextlib.suppress(redis.RedisError):  # everything was evicted and it is still too much
            store.client.set("filler", b"x" * 1000)
        wait_until(lambda: store.client.dbsize() == 0)  # Redis evicts in slices between its other work
        assert api.answers()[0] == 503
        assert is_degraded(api)
    finally:
        store.client.config_set("maxmemory", "0")
        store.client.config_set("maxmemory-policy", "noeviction")
        store.client.delete("filler")
        feature_store.materialize(settings)
    assert not is_degraded(api)


def test_a_store_that_is_full_answers_reads_and_refuses_writes_loudly(api, home):
    _, settings, store = home
    try:
        store.client.config_set("maxmemory", "1mb")
        assert not is_degraded(api)
        with pytest.raises(Exception, match=r"maxmemory|OOM"):
            feature_store.materialize(settings)
        assert not is_degraded(api)
    finally:
        store.client.config_set("maxmemory", "0")
    feature_store.materialize(settings)


def test_two_hundred_who_ask_for_one_outlet_at_once_share_few_reads_and_the_rest_is_told_to_wait(api, home):
    store = home[2]
    before = store.reads()
    is_degraded(api)
    of_one = store.reads() - before
    store.client.execute_command("CLIENT", "PAUSE", "200", "ALL")
    answers = ask_at_once(api, 200)
    reads = (store.reads() - before) / of_one - 1
    statuses = Counter(status for status, _ in answers)
    log.info("%.1f reads for %s", reads, statuses)
    assert statuses.keys() <= {200, 503}
    assert statuses[200] >= 20
    assert {headers["Retry-After"] for status, headers in answers if status == 503} <= {"1"}
    assert reads <= statuses[200] / 2  # one, on a machine that is not busy with other things


def test_without_a_store_the_api_starts_and_takes_it_when_it_comes(home):
    settings, _, store = home
    store.stop()
    try:
        with Api(settings) as late:
            wait_until(lambda: late.answers("/healthz")[0] == 200, text=late.log.read_text)
            assert late.answers()[0] == 503
            assert late.get(RECOMMENDATIONS).json()["recommendations"][0]["flags"] == [
                f"unavailable:{view.name}" for view in VIEWS
            ]
            store.start()
            assert wait_until(lambda: late.answers()[0] == 200, seconds=RECOVERY) < RECOVERY
            assert not is_degraded(late)
    finally:
        if store.process.poll() is not None:
            store.start()


def test_neither_the_model_registry_nor_the_feature_registry_is_needed_to_start(home):
    nowhere = {
        "POPLIFT_POSTGRES_URL": "postgresql+psycopg://nobody@127.0.0.1:1/",
        "POPLIFT_MLFLOW_URL": "http://127.0.0.1:1",
    }
    with Api(home[0], **nowhere) as api:
        api.wait_until_ready()
        seconds = api.cpu_seconds()
        log.info("ready after %.1f s of CPU", seconds)
        assert seconds < 5
        assert api.answers()[1]["release_error"] is None
        assert api.answers(RECOMMENDATIONS)[0] == 200
