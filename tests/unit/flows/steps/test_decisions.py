"""What a landing did is said in one line."""

import pytest

from flows.steps.decisions import summary
from poplift.decision_table import Landed


@pytest.mark.parametrize(
    ("landed", "said"),
    [
        (Landed(0, 0, 0), "0 decisions landed"),
        (Landed(1200, 0, 0), "1,200 decisions landed"),
        (Landed(3, 0, 0, shadow=9), "3 decisions landed, 9 answers of the shadow"),
        (Landed(7, 2, 1), "7 decisions landed, 2 unreadable lines, 1 rows in quarantine"),
    ],
)
def test_what_could_not_land_is_named_beside_what_did(landed, said):
    assert summary(landed) == said
