"""A connection to Postgres is waited for no longer than its deadline, and never used again after it."""

import gc
import time

import psycopg
import pytest

from feature_repo.online.reading_postgres import STATEMENT_SECONDS, TimelyConnections
from tests.freezable_proxy import FreezableProxy

pytestmark = pytest.mark.services


@pytest.fixture
def address(postgres_url):
    return postgres_url.replace("+psycopg", "") + "postgres"


@pytest.fixture
def connections(address):
    return TimelyConnections(address)


def process(connection):
    return connection.execute("SELECT pg_backend_pid()").fetchone()[0]


def test_a_connection_is_lent_again(connections):
    with connections.lent() as first:
        before = process(first)
    with connections.lent() as second:
        assert process(second) == before


def test_a_statement_that_takes_too_long_is_given_up_and_its_answer_taken_for_no_others(connections):
    began = time.monotonic()
    with (
        connections.lent() as connection,
        pytest.raises(psycopg.OperationalError, match=rf"did not answer within {STATEMENT_SECONDS:g} s"),
    ):
        connection.execute("SELECT pg_sleep(9)")
    assert time.monotonic() - began < 5
    with connections.lent() as next_one:
        assert next_one.execute("SELECT 7").fetchone() == (7,)


def test_an_error_of_the_statement_costs_no_connection(connections):
    with connections.lent() as connection:
        before = process(connection)
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM nowhere")
    with connections.lent() as connection:
        assert process(connection) == before


def test_a_connection_that_the_server_ended_is_not_lent(connections, address):
    with connections.lent() as connection:
        gone = process(connection)
    with psycopg.connect(address, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [gone])
    with connections.lent() as connection:
        assert process(connection) != gone


def test_a_server_that_takes_connections_and_says_nothing_is_given_up(postgres_url):
    with FreezableProxy("127.0.0.1", 5432) as door:
        door.freeze()
        behind = TimelyConnections(f"postgresql://postgres@127.0.0.1:{door.port}/postgres")
        began = time.monotonic()
        with pytest.raises(psycopg.OperationalError, match="timeout"), behind.lent():
            pass
        assert time.monotonic() - began < 3


def test_connections_are_closed_with_the_last_who_lends_them(address):
    connections = TimelyConnections(address)
    with connections.lent() as connection:
        assert not connection.closed
    del connections
    gc.collect()
    assert connection.closed
