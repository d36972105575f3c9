"""A part of an answer is timed whatever becomes of it, and costs next to nothing where nobody traces."""

import time

import pytest
from prometheus_client import CollectorRegistry, Histogram

from serving.stages import timed


@pytest.fixture
def seconds() -> Histogram:
    return Histogram("stage_seconds", "Seconds.", ["stage"], registry=CollectorRegistry())


def total(seconds: Histogram, suffix: str, stage: str) -> float:
    (family,) = seconds.collect()
    return {s.labels["stage"]: s.value for s in family.samples if s.name == f"stage_seconds_{suffix}"}[stage]


def test_the_time_of_a_part_is_that_of_its_block(seconds: Histogram) -> None:
    with timed("model", seconds):
        time.sleep(0.02)
    assert 0.02 <= total(seconds, "sum", "model") < 1
    assert total(seconds, "count", "model") == 1


def test_a_part_that_fails_is_timed_and_its_error_goes_on(seconds: Histogram) -> None:
    with pytest.raises(ValueError, match="as it was"), timed("policy", seconds):
        raise ValueError("as it was")
    assert total(seconds, "count", "policy") == 1


def test_a_part_that_is_not_traced_costs_microseconds(seconds: Histogram) -> None:
    def once() -> float:
        began = time.perf_counter()
        for _ in range(200):
            with timed("answer", seconds):
                pass
        return (time.perf_counter() - began) / 200

    assert min(once() for _ in range(20)) < 50e-6
