"""The cost of decisions is processor time times its price, and nothing before the first decision."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest

from serving.cost import ProcessorTime, Spent, WithCost, cost_per_million_usd, spent

amounts = st.floats(min_value=1e-3, max_value=1e9)


def test_a_million_decisions_of_3_6_milliseconds_take_one_processor_hour() -> None:
    assert cost_per_million_usd(cpu_seconds=3.6, decisions=1000, cpu_hour_usd=0.05) == pytest.approx(0.05)


def test_before_the_first_decision_there_is_no_cost() -> None:
    assert cost_per_million_usd(cpu_seconds=3.6, decisions=0, cpu_hour_usd=0.05) is None


@given(seconds=amounts, decisions=amounts, price=amounts, times=st.integers(1, 1000))
def test_the_cost_of_one_decision_does_not_depend_on_how_many_there_were(
    seconds: float, decisions: float, price: float, times: int
) -> None:
    once = cost_per_million_usd(cpu_seconds=seconds, decisions=decisions, cpu_hour_usd=price)
    often = cost_per_million_usd(cpu_seconds=seconds * times, decisions=decisions * times, cpu_hour_usd=price)
    assert once == pytest.approx(often)


def test_processor_time_is_counted_once_however_often_it_is_looked_at() -> None:
    registry = CollectorRegistry()
    counted = ProcessorTime(Counter("cpu_seconds", "Seconds.", registry=registry))
    for _ in range(3):
        sum(range(200_000))
        counted.count()
    total = registry.get_sample_value("cpu_seconds_total")
    counted.count()
    assert total is not None
    assert 0 < total <= (registry.get_sample_value("cpu_seconds_total") or 0) < total + 1


def test_the_cost_counts_the_decisions_of_every_kind() -> None:
    registry = CollectorRegistry()
    Counter("poplift_process_cpu_seconds", "Seconds.", registry=registry).inc(7.2)
    answers = Counter("poplift_answers", "Rows.", ["kind"], registry=registry)
    answers.labels("demand").inc(1500)
    answers.labels("recommendation").inc(500)
    families = {family.name: family for family in WithCost(registry, cpu_hour_usd=0.05).collect()}
    assert families["poplift_cost_per_million_decisions_usd"].samples[0].value == pytest.approx(0.05)
    assert families["poplift_cpu_hour_price_usd"].samples[0].value == 0.05


def test_what_was_told_is_read_back_and_costs_the_same() -> None:
    registry = CollectorRegistry()
    Counter("poplift_process_cpu_seconds", "Seconds.", registry=registry).inc(7.2)
    answers = Counter("poplift_answers", "Rows.", ["kind"], registry=registry)
    answers.labels("demand").inc(1500)
    answers.labels("recommendation").inc(500)
    told = generate_latest(WithCost(registry, cpu_hour_usd=0.05)).decode()
    assert spent(told) == Spent(cpu_seconds=7.2, decisions=2000, cpu_hour_usd=0.05)
    assert f"\npoplift_cost_per_million_decisions_usd {spent(told).cost_usd}\n" in told
