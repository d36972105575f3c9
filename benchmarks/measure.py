"""How the scripts of this folder measure: whole processes in interleaved blocks, peak memory by the kernel's count."""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"


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

    def save(self) -> None:
        """Keep the result for the README of this folder, and print it."""
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.name}.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        print(f"{self.name}: {self.goal}: {'met' if self.met else 'NOT met'}")
        for row in (self.columns, *self.rows):
            print("  " + " | ".join(row))


def process(arguments: list[str], environment: Mapping[str, str] | None = None) -> Sample:
    """Run Python with `arguments` to its end and measure it; raises CalledProcessError when it fails."""
    began = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *arguments], env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise subprocess.CalledProcessError(code, arguments)
    return Sample(seconds, usage.ru_maxrss / 1024)


def interleaved(arms: Mapping[str, Callable[[], Sample]], *, blocks: int) -> dict[str, list[Sample]]:
    """Run every arm once a block, in turning order, so that a slow minute of the machine hits all of them."""
    samples: dict[str, list[Sample]] = {name: [] for name in arms}
    for block in range(blocks):
        names = list(arms) if block % 2 == 0 else list(reversed(arms))
        for name in names:
            samples[name].append(arms[name]())
    return samples


def interval(numerator: list[float], denominator: list[float]) -> tuple[float, float, float]:
    """Ratio of the means and its 95 % interval: both sides resampled 10,000 times."""
    random = np.random.default_rng(7)
    above, below = (
        random.choice(values, size=(10_000, len(values))).mean(axis=1) for values in (numerator, denominator)
    )
    low, high = np.quantile(above / below, [0.025, 0.975])
    return statistics.mean(numerator) / statistics.mean(denominator), float(low), float(high)


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """host:port of a Redis of our own, without persistence; raises FileNotFoundError where none is installed."""
    program = shutil.which("redis-server")
    if program is None:
        raise FileNotFoundError("redis-server is not installed: this benchmark starts its own")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        while server.poll() is None and not _answers(port):
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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
