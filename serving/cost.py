"""What answering costs, from measured processor time and a declared price of it."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from prometheus_client import Counter
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

CPU_SECONDS, DECISIONS = "poplift_process_cpu_seconds_total", "poplift_answers_total"
CPU_HOUR = "poplift_cpu_hour_price_usd"


class Collected(Protocol):
    """A registry, or what reads the counters of several processes."""

    def collect(self) -> Iterable[Metric]:
        """All series of this moment."""


class ProcessorTime:
    """Advances a counter by the processor time that this process took since it was last looked at."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._lock = Lock()
        self._counted = 0.0

    def count(self) -> None:
        """Look at it: before /metrics is told, and every few seconds for the sums that another process tells."""
        with self._lock:
            taken = time.process_time()
            self._counter.inc(max(0.0, taken - self._counted))
            self._counted = taken


class WithCost(Collector):
    """Series, and after them the price of a processor hour and what a million decisions cost at it."""

    def __init__(self, series: Collected, *, cpu_hour_usd: float) -> None:
        self._series = series
        self._cpu_hour_usd = cpu_hour_usd

    def collect(self) -> Iterable[Metric]:
        """All series; the cost is absent until something was decided."""
        sums = {CPU_SECONDS: 0.0, DECISIONS: 0.0}
        for family in self._series.collect():
            for sample in family.samples:
                if sample.name in sums:
                    sums[sample.name] += sample.value
            yield family
        yield GaugeMetricFamily(CPU_HOUR, "Declared price of one hour of one processor.", self._cpu_hour_usd)
        cost = cost_per_million_usd(
            cpu_seconds=sums[CPU_SECONDS], decisions=sums[DECISIONS], cpu_hour_usd=self._cpu_hour_usd
        )
        family = GaugeMetricFamily(
            "poplift_cost_per_million_decisions_usd",
            "Processor time of the API since its start, at the declared price, for a million decisions.",
        )
        if cost is not None:
            family.add_metric([], cost)
        yield family


def cost_per_million_usd(*, cpu_seconds: float, decisions: float, cpu_hour_usd: float) -> float | None:
    """Price of the processor time that a million decisions took; None before the first one."""
    return cpu_seconds / decisions * 1e6 / 3600 * cpu_hour_usd if decisions else None


@dataclass(frozen=True)
class Spent:
    """What the processes of an API spent since its start, and what was decided for it."""

    cpu_seconds: float
    decisions: float
    cpu_hour_usd: float

    @property
    def cost_usd(self) -> float | None:
        """Of a million decisions; None before the first one."""
        return cost_per_million_usd(
            cpu_seconds=self.cpu_seconds, decisions=self.decisions, cpu_hour_usd=self.cpu_hour_usd
        )


def spent(exposition: str) -> Spent:
    """What /metrics of an API tells."""
    sums = {CPU_SECONDS: 0.0, DECISIONS: 0.0, CPU_HOUR: 0.0}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name in sums:
                sums[sample.name] += sample.value
    return Spent(cpu_seconds=sums[CPU_SECONDS], decisions=sums[DECISIONS], cpu_hour_usd=sums[CPU_HOUR])
