"""An experiment without an effect, as fixtures."""

import pytest

from tests.unit.monitoring.experiments.planted_sales import record_of, sales


@pytest.fixture
def outcomes():
    return sales()


@pytest.fixture
def record(outcomes):
    return record_of(outcomes)
