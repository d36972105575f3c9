"""The demo as a person runs it, once per profile, on the full data; every end-to-end test looks at what it left."""

import subprocess
import sys
import uuid
from dataclasses import dataclass

import pytest

from poplift import registry
from poplift.settings import Settings, child_environment, load_settings

LONGEST = 600  # seconds; far more than the demo may take, so that a hang is told from a slow machine
MODEL = "demand"


@dataclass(frozen=True)
class State:
    """What a second run must leave as it was."""

    lake: tuple[tuple[str, int], ...]
    features: tuple[tuple[str, int], ...]
    release: str
    predictions: tuple[str, ...]
    versions: tuple[str, ...]
    moves: str


@dataclass(frozen=True)
class Demo:
    """One run of `poplift demo`: what it printed, what it left."""

    code: int
    output: str
    state: State


@dataclass(frozen=True)
class Profile:
    """The settings of one profile and two runs of the demo in it."""

    settings: Settings
    first: Demo
    second: Demo


def state(settings):
    """The lasting things under a home, by name and time of writing."""
    lake = sorted(
        (str(p.relative_to(settings.home)), p.stat().st_mtime_ns) for p in settings.lake_dir.rglob("*.parquet")
    )
    tables = sorted((str(p), p.stat().st_mtime_ns) for p in settings.features_dir.rglob("*.parquet"))
    versions = registry.client(settings).search_model_versions(f"name='{MODEL}'")
    return State(
        lake=tuple(lake),
        features=tuple(tables),
        release=(settings.releases_dir / "current").read_text(),
        predictions=tuple(sorted(str(p) for p in settings.predictions_dir.rglob("*.parquet"))),
        versions=tuple(sorted(str(v.version) for v in versions)),
        moves=(settings.home / "ledger.jsonl").read_text(),
    )


def demo(settings):
    """Run it in a process of its own, as the shell does."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "demo"],
        env=child_environment(settings, COLUMNS="200"),
        cwd=settings.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"poplift demo ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return Demo(done.returncode, done.stdout, state(settings))


@pytest.fixture(scope="session")
def local(tmp_path_factory):
    """The local profile: SQLite and folders."""
    settings = load_settings(home=tmp_path_factory.mktemp("local"), shopper_key="test-key", search_trials=1)
    return Profile(settings, demo(settings), demo(settings))


@pytest.fixture(scope="session")
def production(tmp_path_factory, postgres_url, redis_url):
    """The production profile: Postgres and Redis."""
    import psycopg
    import redis

    prefix = f"t_{uuid.uuid4().hex[:10]}"
    settings = load_settings(
        profile="production",
        home=tmp_path_factory.mktemp("production"),
        shopper_key="test-key",
        verdict_key="test-verdict-key",
        search_trials=1,
        postgres_url=postgres_url,
        database_prefix=prefix,
        redis_url=redis_url,
        api_host="127.0.0.1",
    )
    try:
        yield Profile(settings, demo(settings), demo(settings))
    finally:
        with psycopg.connect(f"{postgres_url.replace('+psycopg', '')}postgres", autocommit=True) as connection:
            for name in ("registry", "mlflow", "prefect"):
                connection.execute(f'DROP DATABASE IF EXISTS "{prefix}_{name}" WITH (FORCE)')
        host, port = redis_url.split(":")
        with redis.Redis(host=host, port=int(port), socket_timeout=5) as client:
            for key in client.scan_iter(f"*{prefix}*", count=1000):
                client.delete(key)


@pytest.fixture(params=["local", pytest.param("production", marks=pytest.mark.services)])
def profile(request):
    """Each profile in turn."""
    return request.getfixturevalue(request.param)
