"""The API in a process of its own, for the demo and for `make up`'s health line."""

import contextlib
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from poplift.clock import wall_now
from poplift.settings import Settings, child_environment
from serving.access.keys import ApiKeys
from serving.access.roles import Role

START_SECONDS = 60
STOP_SECONDS = 15


class ServerError(Exception):
    """The API did not come up; the message says where its log is."""


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def starting_api(settings: Settings, *, port: int) -> Iterator[Callable[[], httpx.Client]]:
    """Start an API that is stopped at the end; calling what is yielded waits until it is ready and gives a client."""
    log = settings.home / "api.log"
    settings.home.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output, _credentials(settings) as headers:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "serve", "--with-parent"],
            env=child_environment(settings, POPLIFT_API_HOST="127.0.0.1", POPLIFT_API_PORT=str(port)),
            stdin=subprocess.PIPE,  # closes when this process dies, however it dies
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, headers=headers) as client:

                def ready() -> httpx.Client:
                    wait_until_ready(client, process, log)
                    return client

                yield ready
        finally:
            if process.stdin:
                process.stdin.close()
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def _credentials(settings: Settings) -> Iterator[dict[str, str]]:
    """Headers of a client that may everything: where keys are asked for, with one that is revoked at the end."""
    if settings.access == "open":
        yield {}
        return
    keys = ApiKeys(settings.access_dir)
    key = keys.create(f"this run {uuid.uuid4().hex[:8]}", Role, at=wall_now())
    try:
        yield {"Authorization": f"Bearer {key}"}
    finally:
        keys.revoke(key.split("_")[1], at=wall_now())


@contextlib.contextmanager
def running_api(settings: Settings, *, port: int) -> Iterator[httpx.Client]:
    """A client of an API that is ready, started here and stopped at the end."""
    with starting_api(settings, port=port) as ready:
        yield ready()


def wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for /readyz; ServerError when the process ends or the time is up."""
    deadline = time.monotonic() + START_SECONDS
    last = "no answer"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"the API ended with code {process.returncode}; its log is {log}")
        with contextlib.suppress(httpx.TransportError):
            answer = client.get("/readyz")
            if answer.status_code == httpx.codes.OK:
                return
            last = answer.text[:300]
        time.sleep(0.1)
    raise ServerError(f"the API was not ready within {START_SECONDS} s ({last}); its log is {log}")
