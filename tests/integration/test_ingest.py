"""Source to lake on real data: counts add up, nothing lands twice, bad rows are quarantined with reasons."""

import json
from datetime import timedelta

import duckdb
import pytest

from poplift.lake import Lake
from poplift.settings import load_settings
from poplift.sources import complete_journey
from poplift.sources.complete_journey import CompleteJourney
from poplift.sources.ingest import SourceError, ingest, open_source

AS_OF = load_settings().business_time


def report_of(reports, table):
    return next(t for t in reports.tables if t.table == table)


def test_every_row_is_good_or_quarantined_and_the_counts_add_up(tmp_path, journey):
    lake = Lake(tmp_path)
    report = ingest(journey, lake, as_of=AS_OF)
    for table in report.tables:
        assert table.rows_in == table.rows_good + table.rows_quarantined > 0
        assert sum(v.rows for v in table.violations) == table.rows_quarantined
    lines = report_of(report, "pos_lines")
    assert {(v.column, v.rule) for v in lines.violations} == {("quantity", "range")}
    kept = lake.connection.sql(f"SELECT count(*) FROM ({lake.query('pos_lines', as_of=AS_OF)})").fetchone()
    assert kept == (lines.rows_good,)


def test_a_second_ingest_of_the_same_data_adds_nothing(tmp_path, journey):
    first = ingest(journey, Lake(tmp_path), as_of=AS_OF)
    before = sorted(tmp_path.rglob("*.parquet"))
    second = ingest(journey, Lake(tmp_path), as_of=AS_OF)
    assert (first.is_new, second.is_new) == (True, False)
    assert second.tables == first.tables
    assert sorted(tmp_path.rglob("*.parquet")) == before


def test_an_ingest_that_was_killed_before_its_record_converges_to_the_same_files(tmp_path, journey):
    ingest(journey, Lake(tmp_path), as_of=AS_OF)
    before = sorted(tmp_path.rglob("*.parquet"))
    for record in (tmp_path / "ingests").iterdir():
        record.unlink()
    again = ingest(journey, Lake(tmp_path), as_of=AS_OF)
    assert again.is_new
    assert sorted(tmp_path.rglob("*.parquet")) == before


def test_an_overlapping_file_adds_no_second_version_of_a_row(tmp_path, journey):
    lake = Lake(tmp_path / "lake")
    ingest(journey, lake, as_of=AS_OF)
    overlap = tmp_path / "overlap"
    overlap.mkdir()
    for name, file in journey.files.items():
        where = "WHERE week > 40" if name == "transactions" else ""
        duckdb.sql(f"COPY (FROM '{file}' {where}) TO '{overlap}/{name}.parquet' (FORMAT parquet)")
    count = f"SELECT count(*) FROM ({lake.query('pos_lines', as_of=AS_OF)})"
    before = lake.connection.sql(count).fetchone()
    ingest(CompleteJourney(overlap, shopper_key="test-key"), lake, as_of=AS_OF)
    after = lake.connection.sql(f"SELECT count(*) FROM ({lake.query('pos_lines', as_of=AS_OF)})").fetchone()
    assert len(lake.parts("pos_lines")) == 2
    assert after == before


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("quantity := -1", ("quantity", "range")),
        ("week := 99", ("week", "unknown")),
        ("product_id := 1", ("product_id", "unknown")),
        ("transaction_timestamp := TIMESTAMP '2031-01-01'", ("sold_at", "future")),
        ("sales_value := 'nan'::DOUBLE", ("sales_value", "range")),
    ],
)
def test_a_damaged_line_is_quarantined_with_its_rule_and_no_other_row_is_lost(tmp_path, journey, change, rule):
    column, value = change.split(" := ")
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, file in journey.files.items():
        damaged = name == "transactions"
        rows = f"SELECT *, row_number() OVER () AS n FROM '{file}' WHERE quantity > 0"
        changed = (
            f"SELECT * EXCLUDE (n) REPLACE (CASE WHEN n = 5 THEN {value} ELSE {column} END AS {column}) FROM ({rows})"
        )
        query = changed if damaged else f"FROM '{file}'"
        duckdb.sql(f"COPY ({query}) TO '{folder}/{name}.parquet' (FORMAT parquet)")
    report = ingest(CompleteJourney(folder, shopper_key="test-key"), Lake(tmp_path / "lake"), as_of=AS_OF)
    lines = report_of(report, "pos_lines")
    assert [(v.column, v.rule, v.rows) for v in lines.violations] == [(*rule, 1)]
    assert lines.rows_good == lines.rows_in - 1


def test_the_household_id_is_nowhere_in_the_lake(tmp_path, journey):
    lake = Lake(tmp_path)
    ingest(journey, lake, as_of=AS_OF)
    lines = lake.connection.sql(f"SELECT DISTINCT shopper_id FROM ({lake.query('pos_lines', as_of=AS_OF)})").fetchall()
    households = {
        str(r[0]) for r in duckdb.sql(f"SELECT household_id FROM '{journey.files['transactions']}'").fetchall()
    }
    assert all(len(shopper) == 20 for (shopper,) in lines)
    assert not households & {shopper for (shopper,) in lines}
    records = [json.loads(p.read_text()) for p in (tmp_path / "ingests").iterdir()]
    assert "test-key" not in json.dumps(records)


def test_the_declared_facts_are_in_one_file_and_bound_the_created_at(tmp_path, journey):
    lake = Lake(tmp_path)
    ingest(journey, lake, as_of=AS_OF)
    for table, anchor, seconds in (
        ("pos_lines", "closes_at", complete_journey.SALES_DELAY.total_seconds()),
        ("promotions", "starts_at", -complete_journey.PLAN_LEAD.total_seconds()),
    ):
        rows = lake.connection.sql(
            f"SELECT DISTINCT epoch(t.created_at) - epoch(w.{anchor}) FROM ({lake.query(table, as_of=AS_OF)}) AS t "
            f"JOIN ({lake.query('weeks', as_of=AS_OF)}) AS w USING (week)"
        ).fetchall()
        assert rows == [(seconds,)]


def test_rows_refused_as_future_come_in_when_business_time_has_passed_them(tmp_path, journey):
    early = Lake(tmp_path)
    first = ingest(journey, early, as_of=AS_OF - timedelta(days=30))
    assert {v.rule for v in report_of(first, "pos_lines").violations} == {"future", "range"}
    second = ingest(journey, Lake(tmp_path), as_of=AS_OF)
    assert second.is_new
    lake = Lake(tmp_path)
    kept = lake.connection.sql(f"SELECT count(*) FROM ({lake.query('pos_lines', as_of=AS_OF)})").fetchone()
    assert kept == (report_of(second, "pos_lines").rows_good,)


def test_a_source_that_does_not_exist_is_refused_by_its_setting():
    with pytest.raises(SourceError, match=r"POPLIFT_SOURCE=poplift\.sources\.nowhere:Nothing"):
        open_source(load_settings(source="poplift.sources.nowhere:Nothing"))
