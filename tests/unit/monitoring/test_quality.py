"""The share of refused rows is graded by its worst table."""

import pytest

from monitoring.quality import Arrived, arrivals_finding


@pytest.mark.parametrize(("refused", "status"), [(0, "ok"), (20, "ok"), (21, "warn"), (50, "warn"), (51, "breach")])
def test_a_table_is_graded_by_the_share_of_its_rows_that_were_refused(refused, status):
    finding = arrivals_finding([Arrived("weeks", 10, 0), Arrived("pos_lines", 1000, refused)])
    assert finding.status == finding.figure.status == status
    assert finding.figure.value == refused / 1000
    assert bool(finding.reasons) is (status != "ok")
    assert all("of the rows of pos_lines were refused" in reason for reason in finding.reasons)


@pytest.mark.parametrize("arrived", [[], [Arrived("pos_lines", 0, 0)]])
def test_nothing_that_arrived_is_nothing_wrong(arrived):
    assert arrivals_finding(arrived).status == "ok"
