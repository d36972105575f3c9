"""The lake: nothing twice, nothing overwritten, and the same answer for ever as of an instant."""

import dataclasses
from datetime import UTC, datetime

import duckdb
import pytest

from poplift.contracts.compatibility import breaking_changes
from poplift.contracts.schema import Column
from poplift.contracts.tables import contract
from poplift.lake import Lake, LakeError

EARLY = datetime(2017, 1, 10, tzinfo=UTC)
LATE = datetime(2017, 2, 10, tzinfo=UTC)


def outlet(outlet_id: str, managed: bool, created: str) -> str:
    return (
        f"SELECT '{outlet_id}' AS outlet_id, {managed} AS is_managed, "
        f"TIMESTAMPTZ '2017-01-01 00:00:00+00' AS effective_at, TIMESTAMPTZ '{created} 00:00:00+00' AS created_at"
    )


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def rows(lake, as_of):
    return sorted(lake.connection.sql(lake.query("outlets", as_of=as_of)).fetchall())


def test_the_same_rows_twice_add_nothing(lake):
    first = lake.append("outlets", outlet("1", True, "2017-01-05"))
    second = lake.append("outlets", outlet("1", True, "2017-01-05"))
    assert (first.is_new, second.is_new) == (True, False)
    assert len(lake.parts("outlets")) == 1


def test_a_late_correction_does_not_change_an_old_as_of(lake):
    lake.append("outlets", outlet("1", True, "2017-01-05"), has_unique_keys=True)
    before = rows(lake, EARLY)
    lake.append("outlets", outlet("1", False, "2017-02-05"), has_unique_keys=True)
    assert rows(lake, EARLY) == before
    assert [r[1] for r in rows(lake, LATE)] == [False]


def test_what_is_not_known_yet_is_not_read(lake):
    lake.append("outlets", outlet("1", True, "2017-02-05"), has_unique_keys=True)
    assert rows(lake, EARLY) == []


def test_two_versions_in_one_part_are_told_apart_too(lake):
    both = f"{outlet('1', True, '2017-01-05')} UNION ALL {outlet('1', False, '2017-02-05')}"
    lake.append("outlets", both)
    assert [r[1] for r in rows(lake, LATE)] == [False]


def test_no_rows_make_no_part(lake):
    assert lake.append("outlets", f"{outlet('1', True, '2017-01-05')} LIMIT 0") is None
    assert lake.parts("outlets") == []


def test_a_half_written_file_is_never_read_and_cleaned_up_by_the_next_append(lake):
    lake.append("outlets", outlet("1", True, "2017-01-05"))
    torn = lake.root / "outlets" / "dead.partial"
    torn.write_bytes(b"PAR1 torn")
    assert len(rows(lake, LATE)) == 1
    lake.append("outlets", outlet("2", True, "2017-01-05"))
    assert not torn.exists()


def test_an_empty_table_says_what_to_run(lake):
    with pytest.raises(LakeError, match=r"table outlets is empty .* run `poplift ingest` first"):
        lake.read("outlets", as_of=LATE)


def test_only_key_columns_may_filter_before_versions_are_compared(lake):
    lake.append("outlets", outlet("1", True, "2017-01-05"))
    with pytest.raises(LakeError, match="cannot filter by"):
        lake.read("outlets", as_of=LATE, only={"is_managed": ["true"]})
    assert lake.read("outlets", as_of=LATE, only={"outlet_id": ["2"]}).count().to_pyarrow().as_py() == 0


def test_a_column_added_to_the_contract_is_null_in_the_rows_of_before(lake, monkeypatch):
    lake.append("outlets", outlet("1", True, "2017-01-05"), has_unique_keys=True)
    before = contract("outlets")
    region = Column(name="region", kind="string", description="Where it lies.", nullable=True)
    grown = dataclasses.replace(before, columns=(*before.columns, region))
    assert breaking_changes(before, grown) == ()
    monkeypatch.setattr("poplift.lake.contract", lambda _: grown)
    assert [r[-1] for r in rows(lake, LATE)] == [None]
    lake.append("outlets", outlet("2", True, "2017-01-06") + ", 'north' AS region")
    assert [(r[0], r[-1]) for r in rows(lake, LATE)] == [("1", None), ("2", "north")]


def test_a_required_column_that_the_rows_of_before_lack_is_not_made_up(lake, monkeypatch):
    lake.append("outlets", outlet("1", True, "2017-01-05"), has_unique_keys=True)
    before = contract("outlets")
    region = Column(name="region", kind="string", description="Where it lies.")
    assert breaking_changes(before, dataclasses.replace(before, columns=(*before.columns, region))) != ()
    monkeypatch.setattr(
        "poplift.lake.contract", lambda _: dataclasses.replace(before, columns=(*before.columns, region))
    )
    with pytest.raises(duckdb.BinderException, match="region"):
        rows(lake, LATE)
