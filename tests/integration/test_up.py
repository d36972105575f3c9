"""What `poplift up` makes before its processes start."""

import sqlite3
from contextlib import closing

from flows.up import make_mlflow_tables
from poplift.settings import load_settings


def test_the_tables_of_mlflow_are_made_once_before_two_processes_could_make_them_at_once(tmp_path):
    settings = load_settings(home=tmp_path / "var")
    database = settings.home / "mlflow.db"
    for _ in range(2):
        make_mlflow_tables(settings)
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
