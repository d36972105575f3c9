"""The servers of infra/compose.yaml start with exactly the commands and variables written there, against real stores."""

import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.services]

PROGRAMS = Path(sys.executable).parent
SECONDS = 120


def free() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Team:
    """The compose file with its host names, ports, passwords and folders replaced by those of one test."""

    def __init__(self, root: Path, folder: Path, prefix: str) -> None:
        self.services: dict[str, dict[str, Any]] = yaml.safe_load((root / "infra/compose.yaml").read_text())["services"]
        self.folder = folder
        self.ports = {name: free() for name in ("mlflow", "prefect", "worker")}
        self.words = {
            r"poplift:\$\{POSTGRES_PASSWORD[^}]*\}@postgres:5432/poplift_": f"postgres@127.0.0.1:5432/{prefix}_",
            r"\$\{[A-Z_]+:[^}]*\}": "a-password",
            r"/var/lib/poplift": str(folder),
            r"prefect:4200": f"127.0.0.1:{self.ports['prefect']}",
            r"=4200": f"={self.ports['prefect']}",
            r"=5000": f"={self.ports['mlflow']}",
        }

    def here(self, text: str) -> str:
        """One value of the compose file as it is on this machine."""
        for pattern, replacement in self.words.items():
            text = re.sub(pattern, replacement, text)
        return text

    @contextmanager
    def running(self, name: str, path: str) -> Iterator[str]:
        """Start the service as compose would and wait until it answers the path of its health check."""
        service = self.services[name]
        assert path in " ".join(service["healthcheck"]["test"]), f"{name} is not asked for {path}"
        program, *arguments = [self.here(word) for word in service["command"]]
        environment = {key: self.here(str(value)) for key, value in service["environment"].items()}
        environment |= {"PATH": f"{PROGRAMS}:/usr/bin:/bin", "HOME": str(self.folder), "TZ": "UTC"}
        if name == "worker":
            environment["PREFECT_WORKER_WEBSERVER_PORT"] = str(self.ports[name])
        log = self.folder / f"{name}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [str(PROGRAMS / program), *arguments],
                env=environment,
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield self._answer(f"http://127.0.0.1:{self.ports[name]}{path}", process, log)
        finally:
            process.terminate()
            process.wait(timeout=30)

    def _answer(self, url: str, process: subprocess.Popen[bytes], log: Path) -> str:
        deadline = time.monotonic() + SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    return str(answer.read().decode())
            except OSError:
                time.sleep(0.5)
        pytest.fail(f"{url} does not answer\n" + log.read_text()[-4000:])


@pytest.fixture
def team(root: Path, tmp_path: Path, postgres_url: str, database_prefix: str) -> Team:
    """A team server whose databases exist and are empty."""
    with psycopg.connect(postgres_url.replace("+psycopg", "") + "postgres", autocommit=True) as connection:
        for name in ("mlflow", "prefect"):
            connection.execute(f'CREATE DATABASE "{database_prefix}_{name}"')
    return Team(root, tmp_path, database_prefix)


def test_mlflow_starts_as_written_in_compose(team: Team) -> None:
    with team.running("mlflow", "/health") as answer:
        assert answer == "OK"


def test_prefect_and_its_worker_start_as_written_in_compose(team: Team) -> None:
    with team.running("prefect", "/api/health") as answer:
        assert answer == "true"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"http://127.0.0.1:{team.ports['prefect']}/api/admin/version", timeout=5)
        with team.running("worker", "/health") as health:
            assert "OK" in health


def test_redis_accepts_its_options_and_asks_for_the_password(team: Team, tmp_path: Path) -> None:
    import redis.backoff
    import redis.retry

    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed: this test starts its own")
    port = free()
    shell, option, command = team.services["redis"]["command"]
    command = command.replace("$$", "$") + f" --bind 127.0.0.1 --port {port} --dir {tmp_path}"
    environment = {"REDIS_PASSWORD": "secret", "PATH": f"{Path(program).parent}:/usr/bin:/bin"}
    with subprocess.Popen([shell, option, command], env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            patient = redis.retry.Retry(redis.backoff.ConstantBackoff(0.1), retries=100)
            with redis.Redis(port=port, password="secret", retry=patient) as known:
                assert known.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
                assert known.config_get("appendonly") == {"appendonly": "yes"}
            with redis.Redis(port=port) as nobody, pytest.raises(redis.AuthenticationError):
                nobody.get("key")
        finally:
            process.kill()
