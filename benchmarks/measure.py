"""How the scripts of this folder measure: whole processes in interleaved blocks, peak memory by the kernel's count."""

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass

import numpy as np
from page import RESULTS, write_page

MACHINE = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


@dataclass(frozen=True)
class Sample:
    """Wall seconds and peak resident memory in megabytes of one process."""

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Result:
    """What one script found; `rows` are the lines of its table, `met` whether its goal was reached."""

    name: str
    goal: str
    met: bool
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    machine: str = MACHINE

    def save(self) -> None:
        """Keep the result, put it into the README of this folder, and print it."""
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.name}.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        write_page()
        print(f"{self.name}: {self.goal}: {'met' if self.met else 'NOT met'}")
        for row in (self.columns, *self.rows):
            print("  " + " | ".join(row))


# A process begins with the peak memory of the one it was forked from, which may hold gigabytes; this one holds little.
LAUNCHER = """
import json, os, sys, time
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
began = time.perf_counter()
child = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ, file_actions=quiet)
_, status, usage = os.wait4(child, 0)
print(json.dumps([time.perf_counter() - began, usage.ru_maxrss / 1024]))
sys.exit(abs(os.waitstatus_to_exitcode(status)))
"""


def process(arguments: list[str], environment: Mapping[str, str] | None = None) -> Sample:
    """Run Python with `arguments` to its end and measure it; raises CalledProcessError when it fails."""
    launched = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *arguments],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        check=True,
    )
    return Sample(*json.loads(launched.stdout))


def interleaved(arms: Mapping[str, Callable[[], Sample]], *, blocks: int) -> dict[str, list[Sample]]:
    """Run every arm once a block, in turning order, so that a slow minute of the machine hits all of them."""
    samples: dict[str, list[Sample]] = {name: [] for name in arms}
    for block in range(blocks):
        names = list(arms) if block % 2 == 0 else list(reversed(arms))
        for name in names:
            samples[name].append(arms[name]())
    return samples


def interval(numerator: list[float], denominator: list[float], *, in_turns: bool = False) -> tuple[float, float, float]:
    """Ratio of the means and its 95 % interval: both sides resampled 10,000 times.

    `in_turns`: both have as many values and those at one place were taken right after each other, so they are drawn
    together, and a slow minute of the machine, which hits both, does not widen the interval.
    """
    random = np.random.default_rng(7)
    places = [random.integers(0, len(values), (10_000, len(values))) for values in (numerator, denominator)]
    above = np.array(numerator)[places[0]].mean(axis=1)
    below = np.array(denominator)[places[0 if in_turns else 1]].mean(axis=1)
    low, high = np.quantile(above / below, [0.025, 0.975])
    return statistics.mean(numerator) / statistics.mean(denominator), float(low), float(high)


@contextmanager
def awake_processors() -> Iterator[None]:
    """Keep every processor from falling asleep, by processes of the lowest priority that give way to everything.

    Waking a sleeping virtual processor takes longer than a round trip to Redis; it is the machine's time, not a
    store's, and hides what the stores add.
    """
    with ExitStack() as stack:
        for _ in range(os.cpu_count() or 1):
            idler = subprocess.Popen([sys.executable, "-c", "import os; os.nice(19)\nwhile True: pass"])
            stack.callback(idler.wait)
            stack.callback(idler.kill)
        yield


def line(name: str, samples: list[Sample]) -> tuple[str, ...]:
    """Median, least and most seconds, and the highest peak memory."""
    seconds = sorted(s.seconds for s in samples)
    return (
        name,
        f"{statistics.median(seconds):.2f}",
        f"{seconds[0]:.2f} to {seconds[-1]:.2f}",
        f"{max(s.megabytes for s in samples):.0f}",
    )


COLUMNS = ("what", "median s", "range s", "peak MB")
