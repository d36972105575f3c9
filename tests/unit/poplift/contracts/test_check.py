"""Rules of the contract check: what is bad, that it is counted, and that good rows are never lost."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poplift.contracts.check import ContractError, check
from poplift.contracts.schema import Column, Contract

AS_OF = datetime(2018, 1, 1, tzinfo=UTC)
TILL = Contract(
    table="till",
    version=1,
    grain="One row per line.",
    owner="test",
    key=("line",),
    event_time="sold_at",
    freshness=timedelta(days=1),
    columns=(
        Column(name="line", kind="string", description="Key."),
        Column(name="outlet_id", kind="string", description="Outlet.", references="outlets.outlet_id"),
        Column(name="quantity", kind="int", description="Units.", minimum=1, maximum=10),
        Column(name="value", kind="float", description="Value.", nullable=True, minimum=0),
        Column(name="sold_at", kind="timestamp", description="When.", may_be_future=False),
        Column(name="created_at", kind="timestamp", description="Known.", may_be_future=False),
    ),
)
GOOD = ("a", "1", 1, 2.0, "2017-05-01 10:00:00", "2017-05-02 00:00:00")


def split(rows, *, types="VARCHAR,VARCHAR,BIGINT,DOUBLE,TIMESTAMP,TIMESTAMP"):
    connection = duckdb.connect()
    connection.sql("SET TimeZone = 'UTC'")
    columns = ", ".join(f"{n} {t}" for n, t in zip(TILL.column_names, types.split(","), strict=True))
    connection.sql(f"CREATE TABLE incoming ({columns})")
    connection.executemany("INSERT INTO incoming VALUES (?, ?, ?, ?, ?, ?)", rows)
    checked = check(
        connection,
        TILL,
        source="incoming",
        known={"outlets.outlet_id": "SELECT * FROM (VALUES ('1'), ('2')) AS v(value)"},
        as_of=AS_OF,
    )
    good = connection.sql(checked.good).fetchall()
    bad = connection.sql(f'SELECT rule, "column" FROM ({checked.bad})').fetchall()
    return good, bad


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (0, None, ("null", "line")),
        (1, "9", ("unknown", "outlet_id")),
        (2, 0, ("range", "quantity")),
        (2, 11, ("range", "quantity")),
        (3, float("nan"), ("range", "value")),
        (3, float("inf"), ("range", "value")),
        (3, -0.01, ("range", "value")),
        (4, "2018-01-01 00:00:01", ("future", "sold_at")),
    ],
)
def test_a_bad_value_is_quarantined_with_its_rule_and_column(place, value, reason):
    bad_row = (*GOOD[:place], value, *GOOD[place + 1 :])
    good, bad = split([("b", *GOOD[1:]), bad_row])
    assert [row[0] for row in good] == ["b"]
    assert bad == [reason]


def test_values_on_the_bounds_are_good():
    good, bad = split([("a", "1", 1, 0.0, "2018-01-01 00:00:00", GOOD[5]), ("b", "2", 10, None, *GOOD[4:])])
    assert (len(good), bad) == (2, [])


def test_text_where_a_number_belongs_is_a_type_violation_and_good_text_numbers_pass():
    rows = [("a", "1", "two", *GOOD[3:]), ("b", "1", "2", *GOOD[3:])]
    good, bad = split(rows, types="VARCHAR,VARCHAR,VARCHAR,DOUBLE,TIMESTAMP,TIMESTAMP")
    assert [row[2] for row in good] == [2]
    assert bad == [("type", "quantity")]


def test_half_a_unit_is_a_type_violation_and_not_rounded():
    good, bad = split([("a", "1", 1.5, *GOOD[3:])], types="VARCHAR,VARCHAR,DOUBLE,DOUBLE,TIMESTAMP,TIMESTAMP")
    assert (good, bad) == ([], [("type", "quantity")])


def test_text_of_half_a_unit_is_a_type_violation_and_not_rounded_either():
    good, bad = split([("a", "1", "1.5", *GOOD[3:])], types="VARCHAR,VARCHAR,VARCHAR,DOUBLE,TIMESTAMP,TIMESTAMP")
    assert (good, bad) == ([], [("type", "quantity")])


def test_a_refused_row_is_kept_as_it_came():
    connection = duckdb.connect()
    connection.sql(
        "CREATE TABLE incoming AS SELECT 'a' AS line, '1' AS outlet_id, 'two' AS quantity, 1.0 AS value, "
        "TIMESTAMP '2017-05-01' AS sold_at, TIMESTAMP '2017-05-02' AS created_at, 'extra' AS note"
    )
    known = {"outlets.outlet_id": "SELECT '1' AS value"}
    checked = check(connection, TILL, source="incoming", known=known, as_of=AS_OF)
    ((rule, column, row),) = connection.sql(checked.bad).fetchall()
    assert (rule, column) == ("type", "quantity")
    assert json.loads(row)["quantity"] == "two"
    assert json.loads(row)["note"] == "extra"


def test_of_two_equal_rows_one_stays_and_one_is_a_counted_duplicate():
    good, bad = split([GOOD, GOOD, ("b", *GOOD[1:])])
    assert sorted(row[0] for row in good) == ["a", "b"]
    assert bad == [("duplicate", "line")]


def test_keys_that_are_equal_only_after_the_cast_are_duplicates_too():
    by_quantity = dataclasses.replace(TILL, key=("quantity",))
    connection = duckdb.connect()
    connection.sql("SET TimeZone = 'UTC'")
    connection.sql(
        "CREATE TABLE incoming AS SELECT 'a' AS line, '1' AS outlet_id, q AS quantity, 1.0 AS value, "
        "TIMESTAMP '2017-05-01' AS sold_at, TIMESTAMP '2017-05-02' AS created_at FROM (VALUES ('5'), ('05')) AS v(q)"
    )
    known = {"outlets.outlet_id": "SELECT '1' AS value"}
    checked = check(connection, by_quantity, source="incoming", known=known, as_of=AS_OF)
    assert connection.sql(f"SELECT quantity FROM ({checked.good})").fetchall() == [(5,)]
    assert connection.sql(f"SELECT rule FROM ({checked.bad})").fetchall() == [("duplicate",)]


def test_a_correction_is_the_same_key_known_later_and_is_no_duplicate():
    good, bad = split([GOOD, (*GOOD[:2], 5, *GOOD[3:5], "2017-06-01 00:00:00")])
    assert (len(good), bad) == (2, [])


def test_a_missing_column_is_refused_by_table_and_column():
    connection = duckdb.connect()
    connection.sql("CREATE TABLE incoming AS SELECT 'a' AS line")
    with pytest.raises(ContractError, match=r"table till: missing column outlet_id.*found: line"):
        check(connection, TILL, source="incoming", known={}, as_of=AS_OF)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.text(alphabet="ab'\"é;", max_size=2)),
            st.sampled_from(["1", "2", "9", None]),
            st.one_of(st.none(), st.integers(-3, 14)),
            st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True, width=32)),
            st.sampled_from(["2017-05-01 10:00:00", "2019-01-01 00:00:00", None]),
            st.just("2017-05-02 00:00:00"),
        ),
        max_size=12,
    ).filter(bool)
)
def test_good_and_bad_rows_always_add_up_to_what_came_in(rows):
    good, bad = split(rows)
    assert len(good) + len(bad) == len(rows)
    keys = [(row[0], row[5]) for row in good]
    assert len(keys) == len(set(keys))
