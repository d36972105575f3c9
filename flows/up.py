"""The local platform in one terminal: every server as a process, its address once it answers, Ctrl-C ends all."""

import errno
import socket
import sys
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from flows.console import Console
from flows.steps.features import initialise
from poplift import registry
from poplift.databases import ensure_databases, exclusive
from poplift.feature_store import REPOSITORY_FOLDER
from poplift.settings import Settings, child_environment

START_SECONDS = 120


class PortTakenError(Exception):
    """Something else listens on a port of the platform; the message names server, port and setting."""


@dataclass(frozen=True)
class Server:
    """One process: its command, the page a person opens and the address that says it is up (none: no page)."""

    name: str
    command: tuple[str, ...]
    page: str = ""
    probe: str = ""


def run_platform(settings: Settings) -> None:
    """Start everything and wait; returns when one process ended or Ctrl-C was pressed. PortTakenError before."""
    from honcho.manager import Manager

    listed = servers(settings)
    refuse_taken_ports(listed)
    initialise(settings)
    make_mlflow_tables(settings)
    settings.reports_dir.mkdir(parents=True, exist_ok=True)
    environment = child_environment(settings, POPLIFT_API_HOST="127.0.0.1", **prefect_environment(settings))
    manager = Manager()
    for server in listed:
        manager.add_process(server.name, _quoted(server.command), env=environment)
    threading.Thread(target=_announce, args=(listed,), daemon=True).start()
    manager.loop()
    sys.exit(manager.returncode)


def refuse_taken_ports(listed: tuple[Server, ...]) -> None:
    """Look before anything starts: of seven servers the one that cannot listen would end the other six."""
    taken = [server for server in listed if server.page and _is_taken(int(urlsplit(server.page).port or 0))]
    if taken:
        where = ", ".join(f"{server.name} on {urlsplit(server.page).port}" for server in taken)
        free = ", ".join(f"POPLIFT_{server.name.upper()}_PORT" for server in taken)
        raise PortTakenError(f"something listens already where these would: {where}; stop it, or set {free}")


def _is_taken(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what just closed does not count
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def make_mlflow_tables(settings: Settings) -> None:
    """Make the tables of MLflow's database where there are none.

    MLflow makes them itself when it first opens it; of two processes that do so at once one fails.
    """
    from sqlalchemy import create_engine, inspect

    ensure_databases(settings)
    engine = create_engine(settings.database_url("mlflow"))
    try:
        is_made = inspect(engine).has_table("alembic_version")
    finally:
        engine.dispose()
    if not is_made:
        with exclusive(settings, "mlflow-tables"):
            registry.client(settings).search_registered_models(max_results=1)


def prefect_environment(settings: Settings) -> dict[str, str]:
    """Where Prefect's server, deployments and worker meet, and where it keeps its state."""
    url = settings.database_url("prefect")
    drivers = {"sqlite://": "sqlite+aiosqlite://", "postgresql+psycopg://": "postgresql+asyncpg://"}
    for plain, driver in drivers.items():
        url = url.replace(plain, driver)
    return {
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_API_DATABASE_CONNECTION_URL": url,
        "PREFECT_API_URL": f"http://127.0.0.1:{settings.prefect_port}/api",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "PYTHONUNBUFFERED": "1",
    }


def servers(settings: Settings) -> tuple[Server, ...]:
    """What `make up` starts; everything binds to this machine only."""
    local, python = "127.0.0.1", sys.executable

    def page(port: int, path: str = "/") -> str:
        return f"http://{local}:{port}{path}"

    return (
        Server(
            "api",
            (python, "-m", "flows.cli", "serve"),
            page(settings.api_port, "/docs"),
            page(settings.api_port, "/healthz"),
        ),
        Server(
            "mlflow",
            (
                *(python, "-m", "mlflow", "server", "--host", local, "--port", str(settings.mlflow_port)),
                *("--backend-store-uri", settings.database_url("mlflow"), "--no-serve-artifacts"),
                *("--default-artifact-root", settings.mlflow_artifact_root, "--workers", "1"),
            ),
            page(settings.mlflow_port, "/#/models"),
            page(settings.mlflow_port, "/health"),
        ),
        Server(
            "prefect",
            (python, "-m", "prefect", "server", "start", "--host", local, "--port", str(settings.prefect_port)),
            page(settings.prefect_port, "/deployments"),
            page(settings.prefect_port, "/api/health"),
        ),
        Server("worker", (python, "-m", "flows.worker")),
        Server("follower", (python, "-m", "flows.cli", "release", "--follow")),
        Server(
            "feast",
            (
                *(python, "-m", "feast.cli.cli", "-c", str(REPOSITORY_FOLDER), "ui"),
                *("--host", local, "--port", str(settings.feast_port)),
            ),
            page(settings.feast_port),
            page(settings.feast_port),
        ),
        Server(
            "reports",
            (
                *(python, "-m", "http.server", "--bind", local, "--directory", str(settings.reports_dir)),
                str(settings.reports_port),
            ),
            page(settings.reports_port),
            page(settings.reports_port),
        ),
    )


def _announce(listed: tuple[Server, ...]) -> None:
    console, deadline = Console(), time.monotonic() + START_SECONDS
    waiting = [s for s in listed if s.probe]
    while waiting and time.monotonic() < deadline:
        for server in list(waiting):
            try:
                up = httpx.get(server.probe, timeout=2).status_code < httpx.codes.BAD_REQUEST
            except httpx.TransportError:
                up = False
            if up:
                waiting.remove(server)
        time.sleep(0.3)
    rows = [[s.name, s.page if s not in waiting else f"{s.page} (did not answer yet)"] for s in listed if s.page]
    title = "The platform is up" if not waiting else f"Not everything answered within {START_SECONDS} s"
    console.table(f"{title}; Ctrl-C stops all of it", ["what", "where"], rows)


def _quoted(command: tuple[str, ...]) -> str:
    import shlex

    return shlex.join(command)
