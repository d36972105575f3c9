"""A Postgres that holds the online store and freezes while the API answers: no request waits for it."""

import logging

import numpy as np
import psycopg
import pytest
from sqlalchemy.engine import make_url

from feature_repo.definitions.repository import objects
from poplift import feature_store
from poplift.databases import ensure_databases
from poplift.settings import load_settings
from tests.fault.serving_process import (
    DEADLINE,
    RECOVERY,
    Api,
    Load,
    is_degraded,
    outage,
    wait_until,
)
from tests.freezable_proxy import FreezableProxy
from tests.served_home import served_home
from tests.unit.serving.conftest import train

pytestmark = [pytest.mark.slow, pytest.mark.services]
log = logging.getLogger(__name__)

DATABASES = ("registry", "mlflow", "prefect", "online")


@pytest.fixture
def server(postgres_url):
    url = make_url(postgres_url)
    with psycopg.connect(postgres_url.replace("+psycopg", "") + "postgres", autocommit=True) as connection:
        yield url.host, url.port or 5432, connection


@pytest.fixture
def served(tmp_path, small_home, postgres_url, database_prefix, server):
    """Settings of a home whose features are in a Postgres behind a door, that door, and a connection beside it."""
    host, port, connection = server
    settings = load_settings(
        home=tmp_path / "online", postgres_url=postgres_url, database_prefix=database_prefix, online_store="postgres"
    )
    settings.home.mkdir()
    settings.features_dir.symlink_to(small_home.settings.features_dir)
    ensure_databases(settings)
    try:
        feature_store.apply(settings, objects(settings))
        feature_store.materialize(settings)
        with FreezableProxy(host, port) as door:
            through = make_url(postgres_url).set(host="127.0.0.1", port=door.port)
            behind = settings.model_copy(update={"postgres_url": through.render_as_string(hide_password=False)})
            yield served_home(behind, tmp_path / "served", train(tmp_path / "demand")), door, connection
    finally:
        for name in DATABASES:
            connection.execute(f'DROP DATABASE IF EXISTS "{database_prefix}_{name}" WITH (FORCE)')


def test_a_frozen_postgres_costs_nobody_more_than_the_deadline_and_is_found_again(served, database_prefix):
    settings, door, server = served
    with Api(settings) as api:
        api.wait_until_ready()
        with Load(api, clients=8, pause=0.01) as load:
            wait_until(lambda: len(load.answers) > 50)
            assert not is_degraded(api)
            threads = api.threads()
            took = outage(api, load, breaks=door.freeze, mends=door.thaw)
        seconds = [answer[1] for answer in load.answers]
        log.info("seconds %s", took | {"p99": float(np.quantile(seconds, 0.99))})
        assert load.failures == []
        assert {status for _, _, status, _ in load.answers} == {200}
        assert max(seconds) < DEADLINE + 1
        assert api.metric("poplift_online_store_breaker_open") == 0
        assert api.threads() <= threads + 8
        connections = server.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [f"{database_prefix}_online"]
        ).fetchone()[0]
        assert connections <= 4


def test_an_api_starts_while_postgres_is_frozen_and_takes_it_when_it_thaws(served):
    settings, door, _ = served
    door.freeze()
    with Api(settings) as api:
        wait_until(lambda: api.answers("/healthz")[0] == 200, text=api.log.read_text)
        assert api.answers()[0] == 503
        assert is_degraded(api)
        door.thaw()
        assert wait_until(lambda: api.answers()[0] == 200, seconds=RECOVERY) < RECOVERY
        assert not is_degraded(api)
