"""A materialisation killed inside any batch: reads go on, and a rerun leaves the state of a run that nobody killed."""

import hashlib
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from tests.fault.dying_writer import FEATURES, PRESENT, online_store, store

pytestmark = pytest.mark.slow

OUTLETS, BATCH_ROWS = 400, 50
SERVED = [f"visits:{name}" for name in FEATURES]


def write_table(home):
    """Three weeks per outlet, one of them corrected later."""
    draw = np.random.default_rng(11)
    home.mkdir()
    weeks = [PRESENT - timedelta(days=7 * back) for back in (3, 2, 1)]
    frame = pd.DataFrame(
        [(f"outlet-{o}", week, week + timedelta(days=1)) for week in weeks for o in range(OUTLETS)],
        columns=["outlet_id", "event_timestamp", "created_timestamp"],
    )
    frame = frame.assign(**{name: draw.random(len(frame)) for name in FEATURES})
    late = frame.tail(OUTLETS // 4).assign(created_timestamp=PRESENT - timedelta(days=2), visits=-1.0)
    pd.concat([late, frame]).to_parquet(home / "table.parquet", coerce_timestamps="us")


def run(home, redis_url, batch=0):
    command = [sys.executable, "-W", "ignore", "-m", "tests.fault.dying_writer", str(home), redis_url, str(batch)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def state(home, redis_url):
    """A hash of everything the online store holds."""
    digest = hashlib.sha256()
    if redis_url:
        import redis

        host, port = redis_url.split(":")
        with redis.Redis(host=host, port=int(port)) as client:
            content = sorted((key, sorted(client.hgetall(key).items())) for key in client.scan_iter())
    else:
        with closing(sqlite3.connect(home / "online.db")) as connection:
            content = connection.execute("SELECT * FROM killed_visits ORDER BY 1, 2").fetchall()
    digest.update(repr(content).encode())
    return digest.hexdigest(), len(content)


def emptied(home, redis_url):
    if redis_url:
        import redis

        host, port = redis_url.split(":")
        with redis.Redis(host=host, port=int(port)) as client:
            client.flushall()
    for leftover in home.glob("*.db*"):
        leftover.unlink()


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.services)])
def clean(request, tmp_path):
    """A home, the Redis it uses or an empty text, and the state after a run that nobody killed."""
    redis_url = request.getfixturevalue("own_redis") if request.param == "redis" else ""
    home = tmp_path / "home"
    write_table(home)
    done = run(home, redis_url)
    assert done.returncode == 0, done.stderr
    expected = state(home, redis_url)
    emptied(home, redis_url)
    return home, redis_url, expected


def refuse_torn_entities(home, opened):
    """Whoever is read while a run lies killed has all of the newest values or none."""
    outlets = [{"outlet_id": f"outlet-{o}"} for o in range(OUTLETS)]
    served = opened.get_online_features(SERVED, outlets).to_dict()
    table = pd.read_parquet(home / "table.parquet").sort_values(["event_timestamp", "created_timestamp"])
    newest = table.groupby("outlet_id").tail(1).set_index("outlet_id")
    for outlet, *values in zip(served["outlet_id"], served["visits"], served["baskets"], strict=True):
        assert values in ([None, None], newest.loc[outlet, list(FEATURES)].to_list())
    return sum(value is not None for value in served["visits"])


def test_a_rerun_after_a_kill_in_any_batch_converges_to_the_state_of_a_clean_run(clean):
    home, redis_url, expected = clean
    for batch in (1, 4, OUTLETS // BATCH_ROWS):
        killed = run(home, redis_url, batch)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        opened = store(home, online_store(home, redis_url))
        assert refuse_torn_entities(home, opened) < OUTLETS
        assert opened.get_feature_view("visits").materialization_intervals == []
        again = run(home, redis_url)
        assert again.returncode == 0, again.stderr
        assert state(home, redis_url) == expected
        assert refuse_torn_entities(home, opened) == OUTLETS
        emptied(home, redis_url)
