"""The contracts as a set: references resolve, personal data is named, every table can be looked up."""

import pytest

from poplift.contracts.tables import EVERY_CONTRACT, contract


def test_every_reference_points_to_a_column_of_an_earlier_table():
    seen = set()
    for table in EVERY_CONTRACT:
        for column in table.columns:
            assert column.references is None or column.references in seen
        seen |= {f"{table.table}.{name}" for name in table.column_names}


def test_every_column_and_grain_is_described_in_a_sentence():
    for table in EVERY_CONTRACT:
        assert table.grain.startswith("One row per ")
        assert all(column.description.endswith(".") for column in table.columns)


def test_the_shopper_is_the_only_personal_data_and_a_pseudonym():
    personal = {(t.table, c.name, c.personal) for t in EVERY_CONTRACT for c in t.columns if c.personal != "none"}
    assert personal == {("pos_lines", "shopper_id", "pseudonym")}


def test_an_unknown_table_is_refused_with_the_known_ones():
    with pytest.raises(KeyError, match="no contract for table 'sales'; known tables: weeks"):
        contract("sales")
