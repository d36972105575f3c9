"""A version is overtaken exactly when its id knew a later event no later; what is left is tied only where it says so."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.offline.overtaken import overtaken

VERSIONS = st.lists(st.tuples(*[st.integers(-3, 3)] * 3), max_size=12)
NEAR, FAR = 1, 2**60  # instants that fit into one number with their ids, and some that do not


@given(VERSIONS, st.sampled_from([NEAR, FAR]), st.sampled_from([0, 3]))
def test_overtaken_versions_and_ties_are_those_of_the_definition(drawn, apart, first_id):
    versions = [(first_id + i, visible * apart, event * apart) for i, visible, event in drawn]
    columns = np.array(versions, dtype=np.int64).reshape(-1, 3).T
    expected = [
        any(i == other and seen <= visible and later > event for other, seen, later in versions)
        for i, visible, event in versions
    ]
    left = [(i, visible) for (i, visible, _), gone in zip(versions, expected, strict=True) if not gone]
    found, has_ties = overtaken(*columns)
    assert found.tolist() == expected
    assert has_ties == (len(set(left)) < len(left))
