"""The platform's SQL databases: made when they are missing, so that a first start needs no hand work."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock

from poplift.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

DATABASES = ("registry", "mlflow", "prefect")
DUPLICATE_DATABASE = "42P04"
LOCK_SECONDS = 600


def ensure_databases(settings: Settings) -> None:
    """Create home and, on Postgres, the databases of this prefix; does nothing where they exist."""
    settings.home.mkdir(parents=True, exist_ok=True)
    if settings.postgres_url is None:
        return
    from sqlalchemy import create_engine, text
    from sqlalchemy.engine import make_url

    server = create_engine(f"{settings.postgres_url.rstrip('/')}/postgres", isolation_level="AUTOCOMMIT")
    try:
        with server.connect() as connection:
            for name in (*DATABASES, *(["online"] if settings.online_store_kind == "postgres" else [])):
                database = make_url(settings.database_url(name)).database
                found = connection.execute(
                    text("SELECT 1 FROM pg_database WHERE datname = :n"), {"n": database}
                ).first()
                if found is None:
                    _create(connection, str(database))
    finally:
        server.dispose()


class LockError(OSError):
    """A lock between processes cannot be had: the database that keeps it is silent, or it is held for too long."""


@contextmanager
def exclusive(settings: Settings, name: str, *, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """One process at a time inside `name`, on this machine or, with Postgres, on all that share the registry.

    Raises LockError, an OSError, where the lock cannot be had within `seconds`; on this machine filelock's Timeout,
    which is one too.
    """
    if settings.postgres_url is None:
        settings.home.mkdir(parents=True, exist_ok=True)
        with FileLock(settings.home / f"{name}.lock", timeout=seconds):
            yield
        return
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    engine = create_engine(settings.database_url("registry"))
    try:
        try:
            connection = engine.connect()
            connection.execute(text(f"SET lock_timeout = '{seconds:g}s'"))
            connection.execute(text("SELECT pg_advisory_lock(hashtext(:name))"), {"name": name})
        except SQLAlchemyError as error:
            raise LockError(f"the lock {name} cannot be had: {str(error).splitlines()[0]}") from error
        with connection:
            yield
            connection.execute(text("SELECT pg_advisory_unlock(hashtext(:name))"), {"name": name})
    finally:
        engine.dispose()  # ends the session, and with it the lock, whatever happened inside


def _create(connection: "Connection", database: str) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import ProgrammingError

    try:
        connection.execute(text(f'CREATE DATABASE "{database}"'))
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != DUPLICATE_DATABASE:  # another process was first
            raise
