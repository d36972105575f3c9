"""What tests/conftest.py promises: no skip in CI, no network, a home of one's own."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from poplift.settings import Settings

SKIPPING = """
import pytest

@pytest.fixture
def server():
    pytest.skip("no server")

def test_in_the_body(): pytest.skip("not today")
def test_in_a_fixture(server): pass
@pytest.mark.skip(reason="never")
def test_by_a_mark(): pass
@pytest.mark.xfail(strict=True)
def test_a_known_failure(): assert False
"""


def run(folder: Path, root: Path, ci: str) -> str:
    """Outcome of a copy of the conftest over two skipping modules."""
    (folder / "conftest.py").write_text((root / "tests/conftest.py").read_text())
    (folder / "test_some.py").write_text(SKIPPING)
    (folder / "test_whole.py").write_text("import pytest\npytest.importorskip('no_such_library')\n")
    options = ["-q", "-p", "no:randomly", "--continue-on-collection-errors", "--rootdir", str(folder)]
    command = [sys.executable, "-m", "pytest", *options, str(folder)]
    done = subprocess.run(command, env={"CI": ci}, capture_output=True, text=True, check=False, cwd=folder)
    return done.stdout + done.stderr


def test_a_skip_is_harmless_on_a_laptop(tmp_path: Path, root: Path) -> None:
    assert "4 skipped, 1 xfailed" in run(tmp_path, root, ci="")


def test_a_skip_is_a_failure_with_its_reason_in_ci(tmp_path: Path, root: Path) -> None:
    outcome = run(tmp_path, root, ci="true")
    assert "1 failed, 1 xfailed, 3 errors" in outcome, outcome
    for reason in ("no server", "not today", "never", "could not import 'no_such_library'"):
        assert f"skipped, which is a failure when CI=true: Skipped: {reason}" in outcome


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 443)])
def test_a_test_cannot_leave_the_machine(address: tuple[str, int]) -> None:
    with socket.socket() as outside, pytest.raises(RuntimeError, match="do not use the network"):
        outside.connect(address)


def test_the_time_zone_of_every_test_is_utc() -> None:
    assert time.tzname[0] == "UTC"


def test_every_test_has_a_home_of_its_own(settings: "Settings", tmp_path: Path) -> None:
    assert settings.profile == "local"
    assert settings.home == tmp_path / "var"


@pytest.fixture
def databases_left(postgres_url: str) -> Iterator[list[str]]:
    """Prefixes whose databases must be gone once the fixtures of the test are torn down."""
    import psycopg

    prefixes: list[str] = []
    yield prefixes
    with psycopg.connect(postgres_url.replace("+psycopg", "") + "postgres") as connection:
        count = "SELECT count(*) FROM pg_database WHERE starts_with(datname, %s)"
        assert [connection.execute(count, [prefix]).fetchone() for prefix in prefixes] == [(0,)]


@pytest.mark.services
def test_the_databases_of_a_test_are_gone_after_it(
    databases_left: list[str], postgres_url: str, database_prefix: str
) -> None:
    import psycopg

    with psycopg.connect(postgres_url.replace("+psycopg", "") + "postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{database_prefix}_registry"')
    databases_left.append(database_prefix)


@pytest.mark.services
def test_a_private_redis_answers_and_is_not_the_shared_one(own_redis: str, redis_prefix: str) -> None:
    import redis

    host, port = own_redis.split(":")
    with redis.Redis(host=host, port=int(port)) as own, redis.Redis(port=6379) as shared:
        own.set(f"{redis_prefix}:key", "value")
        assert own.get(f"{redis_prefix}:key") == b"value"
        assert shared.get(f"{redis_prefix}:key") is None
