"""What every test stands on: fixed time zone, no network, no skip in CI, own homes, own databases."""

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from poplift.settings import Settings

# Read and written before anything else is imported: the tests must not depend on the shell they are started from.
ENVIRONMENT = os.environ  # noqa: TID251 - tests arrange the environment, the product reads it in one place
IN_CI = ENVIRONMENT.get("CI") == "true"
for name in [key for key in ENVIRONMENT if key.startswith(("POPLIFT_", "PROMETHEUS_"))]:
    del ENVIRONMENT[name]
ENVIRONMENT.update(
    TZ="UTC",
    MLFLOW_DISABLE_TELEMETRY="true",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    FEAST_USAGE="False",
    DO_NOT_TRACK="1",
)
time.tzset()
# It decides at import where counters live, and Feast, which some test modules import first, would send it astray.
import prometheus_client  # noqa: E402, F401

LOOPBACK = ("127.", "::1", "localhost")
POSTGRES = ("127.0.0.1", 5432)
REDIS = ("127.0.0.1", 6379)


class NetworkError(RuntimeError):
    """A test tried to leave the machine."""


def _refuse_outside(address: object) -> None:
    if isinstance(address, tuple) and not str(address[0]).startswith(LOOPBACK):
        raise NetworkError(f"tests do not use the network, this one wanted {address[0]}:{address[1]}")


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Sockets of the test process reach this machine only."""
    original: dict[str, Callable[..., Any]] = {n: getattr(socket.socket, n) for n in ("connect", "connect_ex")}

    def guarded(name: str) -> Callable[..., Any]:
        def call(self: socket.socket, address: object) -> Any:
            if self.family != socket.AF_UNIX:
                _refuse_outside(address)
            return original[name](self, address)

        return call

    for name in original:
        setattr(socket.socket, name, guarded(name))
    yield
    for name, method in original.items():
        setattr(socket.socket, name, method)


def _fail_instead(report: pytest.TestReport | pytest.CollectReport) -> None:
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure when CI=true: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """In CI a test that cannot run has not passed."""
    report = yield
    _fail_instead(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """In CI a module that skips itself has not passed either."""
    report = yield
    _fail_instead(report)
    return report


@pytest.fixture
def settings(tmp_path: Path) -> "Settings":
    """Local profile in a home of its own."""
    from poplift.settings import load_settings

    return load_settings(profile="local", home=tmp_path / "var")


def _answers(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(address) == 0


def _unique(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """SQLAlchemy URL of the server without a database; settings.database_prefix keeps tests apart."""
    import psycopg

    host, port = POSTGRES
    if not _answers(POSTGRES):
        pytest.skip(f"no Postgres answers at {host}:{port}: start one to run this test")
    try:
        psycopg.connect(f"postgresql://postgres@{host}:{port}/postgres", connect_timeout=2).close()
    except psycopg.OperationalError as error:
        pytest.skip(f"Postgres at {host}:{port} refuses user postgres without a password: {error}")
    return f"postgresql+psycopg://postgres@{host}:{port}/"


@pytest.fixture
def database_prefix(postgres_url: str) -> Iterator[str]:
    """Prefix of the databases of one test; everything that carries it is dropped afterwards."""
    import psycopg

    prefix = _unique("t")
    yield prefix
    admin = postgres_url.replace("+psycopg", "") + "postgres"
    with psycopg.connect(admin, autocommit=True) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
        for (database,) in rows.fetchall():
            connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')


@pytest.fixture(scope="session")
def redis_url() -> str:
    """host:port of the shared Redis; a test keeps to keys that carry its `redis_prefix`."""
    host, port = REDIS
    if not _answers(REDIS):
        pytest.skip(f"no Redis answers at {host}:{port}: start one to run this test")
    return f"{host}:{port}"


@pytest.fixture
def redis_prefix(redis_url: str) -> Iterator[str]:
    """Part of every key of one test (Feast's project name is one); keys that carry it are deleted afterwards."""
    import redis

    prefix = _unique("t")
    yield prefix
    host, port = redis_url.split(":")
    with redis.Redis(host=host, port=int(port), socket_timeout=5) as client:
        for key in client.scan_iter(f"*{prefix}*", count=1000):
            client.delete(key)


@pytest.fixture
def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[str]:
    """host:port of a Redis that belongs to one test: it may be filled, stopped and killed."""
    from tests.own_redis import OwnRedis

    server = OwnRedis(tmp_path)
    yield server.url
    server.close()
