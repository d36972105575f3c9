"""What `poplift up` makes before its processes start."""

import socket
import sqlite3
from contextlib import closing

import pytest

from flows.api_process import free_port
from flows.up import PortTakenError, make_mlflow_tables, refuse_taken_ports, servers
from poplift.settings import load_settings


def test_the_tables_of_mlflow_are_made_once_before_two_processes_could_make_them_at_once(tmp_path):
    settings = load_settings(home=tmp_path / "var")
    database = settings.home / "mlflow.db"
    for _ in range(2):
        make_mlflow_tables(settings)
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


def test_a_port_that_is_taken_is_named_before_anything_starts(tmp_path):
    settings = load_settings(home=tmp_path / "var")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        listed = servers(settings.model_copy(update={"feast_port": port}))
        with pytest.raises(PortTakenError, match=f"feast on {port}; stop it, or set POPLIFT_FEAST_PORT"):
            refuse_taken_ports(tuple(one for one in listed if one.name == "feast"))


def test_a_port_that_nobody_listens_on_is_not_refused(tmp_path):
    settings = load_settings(home=tmp_path / "var")
    listed = servers(settings.model_copy(update={"feast_port": free_port()}))
    refuse_taken_ports(tuple(one for one in listed if one.name == "feast"))
