"""The pseudonym in Python and the one in the source's SQL are the same."""

import duckdb

from poplift.pseudonym import pseudonym
from poplift.sources.complete_journey import CompleteJourney, package_folder


def test_a_shopper_has_the_same_pseudonym_at_the_door_and_in_the_source():
    source = CompleteJourney(package_folder(), shopper_key="a key")
    with duckdb.connect() as connection:
        source.open(connection)
        known = connection.sql("SELECT household_id, shopper_id FROM pseudonyms ORDER BY 1 LIMIT 20").fetchall()
    assert {pseudonym(str(household), key="a key") for household, _ in known} == {s for _, s in known}
    assert len({s for _, s in known}) == 20


def test_another_key_gives_another_pseudonym_of_the_same_length():
    one, other = (pseudonym("1229", key=key) for key in ("a", "b"))
    assert one != other
    assert len(one) == len(other) == 20
