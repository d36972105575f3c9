"""Contracts change without breaking anybody, or they say so with a new version."""

import dataclasses

import pytest

from poplift.contracts.compatibility import breaking_changes, publish, read_published, undeclared
from poplift.contracts.schema import Column
from poplift.contracts.tables import EVERY_CONTRACT, POS_LINES


def with_column(name, **changes):
    columns = tuple(dataclasses.replace(c, **changes) if c.name == name else c for c in POS_LINES.columns)
    return dataclasses.replace(POS_LINES, columns=columns)


def without_column(name):
    return dataclasses.replace(POS_LINES, columns=tuple(c for c in POS_LINES.columns if c.name != name))


def test_no_published_contract_was_broken_without_a_new_version():
    assert undeclared(read_published(), EVERY_CONTRACT) == ()


def test_what_is_published_is_what_the_code_says():
    """After a change: python -m poplift.contracts.compatibility"""
    assert read_published() == EVERY_CONTRACT


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (without_column("coupon_discount"), "column coupon_discount is gone"),
        (with_column("quantity", kind="float"), "column quantity: kind was int and is float"),
        (with_column("quantity", unit="cases"), "column quantity: unit was units and is cases"),
        (with_column("quantity", maximum=10), "column quantity: the greatest value fell to 10"),
        (with_column("sales_value", minimum=1), "column sales_value: the least value rose to 1"),
        (with_column("shopper_id", nullable=False), "column shopper_id may not be null any more"),
        (with_column("shopper_id", personal="none"), "column shopper_id: personal was pseudonym and is none"),
        (dataclasses.replace(POS_LINES, key=("basket_id",)), "the key was basket_id, product_id and is basket_id"),
    ],
)
def test_a_change_that_breaks_somebody_is_named(changed, said):
    assert breaking_changes(POS_LINES, changed) == (said,)


def test_a_required_column_cannot_be_added_and_an_optional_one_can():
    required = Column(name="till", kind="string", description="Till.")
    optional = dataclasses.replace(required, nullable=True)
    for column, broken in ((required, 1), (optional, 0)):
        grown = dataclasses.replace(POS_LINES, columns=(*POS_LINES.columns, column))
        assert len(breaking_changes(POS_LINES, grown)) == broken


def test_a_list_of_allowed_values_may_grow_and_not_shrink():
    def listed(*words):
        return with_column("basket_id", allowed=words)

    assert breaking_changes(listed("a"), listed("a", "b")) == ()
    assert breaking_changes(listed("a", "b"), listed("a")) == ("column basket_id: b is allowed no more",)
    assert breaking_changes(listed("a"), POS_LINES) == ()
    assert len(breaking_changes(POS_LINES, listed("a"))) == 1


def test_a_new_version_may_break_what_it_declares():
    broken = dataclasses.replace(with_column("quantity", kind="float"), version=2)
    assert undeclared((POS_LINES,), (broken,)) == ()
    assert undeclared((POS_LINES,), (dataclasses.replace(broken, version=1),)) == (
        "pos_lines: column quantity: kind was int and is float; publish version 2",
    )


def test_a_table_that_vanishes_is_named():
    assert undeclared((POS_LINES,), ()) == ("pos_lines: the table is gone; keep it until nobody reads it",)


def test_published_contracts_come_back_as_they_were_written(tmp_path):
    publish(EVERY_CONTRACT, tmp_path / "published.json")
    assert read_published(tmp_path / "published.json") == EVERY_CONTRACT
