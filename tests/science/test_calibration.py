"""The simulated market has the real panel's shares of promotion, zeros and spread."""

import pytest

from flows.studies.calibration import run

pytestmark = pytest.mark.science


def test_two_markets_lie_within_the_bounds_of_the_real_panel() -> None:
    study = run(seed=1, runs=2)
    assert [figure.name for figure in study.figures if not figure.is_met] == []
