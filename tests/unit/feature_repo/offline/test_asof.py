"""The join against a Python loop over all versions: the newest one that had happened, and was known, and is fresh."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.offline import asof
from feature_repo.offline.asof import AsOf

TTL = 4
TIMES = st.integers(0, 12)


@dataclass(frozen=True)
class Version:
    keys: tuple[str | None, ...]
    event: int | None
    created: int | None
    value: int | None


@dataclass(frozen=True)
class Question:
    keys: tuple[str | None, ...]
    at: int


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET asof_loop_join_threshold = 0")
        yield connection


def keys(count: int) -> st.SearchStrategy[tuple[str | None, ...]]:
    return st.tuples(*[st.sampled_from(["a", "b", "ab", None])] * count)


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, list[Version], list[Question]]:
    count = draw(st.integers(0, 2))
    maybe = st.none() | TIMES
    versions = draw(st.lists(st.builds(Version, keys(count), maybe, maybe, maybe), max_size=20))
    questions = draw(st.lists(st.builds(Question, keys(count), TIMES), max_size=12))
    return count, versions, questions


def answers(question: Question, versions: Sequence[Version], *, ttl: int | None, by_creation: bool) -> set[int | None]:
    """Several only where versions differ in nothing but their value."""
    seen = [
        (v.event, -1 if v.created is None else v.created, v.value)
        for v in versions
        if v.keys == question.keys and None not in v.keys and v.event is not None and v.event <= question.at
        if not by_creation or (v.created is not None and v.created <= question.at)
    ]
    fresh = [v for v in seen if ttl is None or v[0] >= question.at - ttl]
    newest = max((v[:2] for v in fresh), default=None)
    return {v[2] for v in fresh if v[:2] == newest} or {None}


def joined(
    connection: duckdb.DuckDBPyConnection,
    case: tuple[int, list[Version], list[Question]],
    *,
    ttl: int | None,
    by_creation: bool,
    times: pa.DataType,
) -> list[int | None]:
    count, versions, questions = case
    time = lambda values: pa.array(values, "int64").cast(times)  # noqa: E731
    source = {"event": time([v.event for v in versions]), "created": time([v.created for v in versions])}
    source |= {f"key {i}": pa.array([v.keys[i] for v in versions], "string") for i in range(count)}
    connection.register("files", pa.table({**source, "value": pa.array([v.value for v in versions], "int64")}))
    asked = {f"k{i}": pa.array([q.keys[i] for q in questions], "string") for i in range(count)}
    at = pa.array([q.at for q in questions], "int64").cast(times).cast(pa.timestamp("us")).cast("int64")
    connection.register("entity", pa.table({"row": pa.array(range(len(questions)), "int64"), "t": at, **asked}))
    unit = pa.scalar(1, "int64").cast(times).cast(pa.timestamp("us")).cast("int64").as_py()
    instants = at.to_pylist() or [0]
    join = AsOf(
        relation="files",
        keys=[f"key {i}" for i in range(count)],
        event="event",
        event_type=connection.sql("SELECT typeof(event) FROM files UNION ALL SELECT 'TIMESTAMP'").fetchall()[0][0],
        created="created",
        features=["value"],
        ttl=None if ttl is None else ttl * unit,
        span=(min(instants), max(instants)),
        by_creation=by_creation,
        has_texts=ttl is None,
    )
    return join.join(connection)["f0"].to_pylist()


UNITS = [pa.timestamp("s"), pa.timestamp("ms", "UTC"), pa.timestamp("us", "Asia/Tokyo"), pa.timestamp("us")]


@settings(max_examples=50, deadline=None)
@given(case=cases(), ttl=st.sampled_from([None, TTL]), by_creation=st.booleans(), times=st.sampled_from(UNITS))
def test_every_row_gets_the_newest_version_it_may_see(connection, case, ttl, by_creation, times):
    got = joined(connection, case, ttl=ttl, by_creation=by_creation, times=times)
    _, versions, questions = case
    assert len(got) == len(questions)
    for value, question in zip(got, questions, strict=True):
        assert value in answers(question, versions, ttl=ttl, by_creation=by_creation)


@settings(max_examples=50, deadline=None)
@given(case=cases(), by_creation=st.booleans(), random=st.randoms())
def test_the_answer_does_not_depend_on_the_order_of_the_versions(connection, case, by_creation, random):
    count, versions, questions = case
    shuffled = random.sample(versions, len(versions))
    first, second = (
        joined(connection, (count, order, questions), ttl=TTL, by_creation=by_creation, times=pa.timestamp("us"))
        for order in (versions, shuffled)
    )
    assert first == second


@settings(max_examples=50, deadline=None)
@given(case=cases())
def test_ties_are_found_whatever_part_of_the_rows_is_looked_at_a_time(connection, case):
    whole = joined(connection, case, ttl=None, by_creation=False, times=pa.timestamp("us"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asof, "ROWS_AT_A_TIME", 3)
        assert joined(connection, case, ttl=None, by_creation=False, times=pa.timestamp("us")) == whole


@pytest.mark.parametrize("by_creation", [False, True])
def test_the_age_limit_includes_its_edge_and_not_a_microsecond_more(connection, by_creation):
    case = (1, [Version(("a",), 0, 0, 7)], [Question(("a",), TTL), Question(("a",), TTL + 1)])
    got = joined(connection, case, ttl=TTL, by_creation=by_creation, times=pa.timestamp("us"))
    assert got == [7, None]


def test_a_correction_is_seen_from_the_instant_it_was_created(connection):
    versions = [Version(("a",), 1, 2, 10), Version(("a",), 1, 6, 11), Version(("a",), 3, 4, 30)]
    questions = [Question(("a",), at) for at in range(1, 7)]
    got = joined(connection, (1, versions, questions), ttl=None, by_creation=True, times=pa.timestamp("us"))
    assert got == [None, 10, 10, 30, 30, 30]
    got = joined(connection, (1, versions, questions), ttl=None, by_creation=False, times=pa.timestamp("us"))
    assert got == [11, 11, 30, 30, 30, 30]
