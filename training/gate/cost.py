"""What an answer costs: time per thousand rows on this machine, and the size of the files a release carries."""

from collections.abc import Callable
from dataclasses import dataclass

from training.gate.finding import Finding

CHECK = "cost"
ROWS = 1000
REPEATS = 5
MOST_MILLISECONDS = 500.0
MOST_TIMES_SLOWER = 3.0
UNNOTICED = 50.0  # milliseconds: below that a comparison of two times is one of noise
MOST_MEGABYTES = 32.0


@dataclass(frozen=True)
class Cost:
    """Milliseconds for ROWS rows of all heads, and megabytes of model files."""

    milliseconds: float
    megabytes: float


def measure(predict: Callable[[], object], *, size: int, clock: Callable[[], float]) -> Cost:
    """The best of REPEATS runs of `predict`, which answers ROWS rows: what the machine can, not what else it did."""
    took = []
    for _ in range(REPEATS):
        began = clock()
        predict()
        took.append(clock() - began)
    return Cost(1000.0 * min(took), size / 1e6)


def check_cost(challenger: Cost, champion: Cost | None) -> Finding:
    """Refuse what is slower or larger than declared, or several times slower than the champion."""
    figures = {"milliseconds_per_1000": challenger.milliseconds, "megabytes": challenger.megabytes}
    said = f"{challenger.milliseconds:.0f} ms per {ROWS:,} rows, {challenger.megabytes:.1f} MB of files"
    too_much = []
    if challenger.milliseconds > MOST_MILLISECONDS:
        too_much.append(f"more than {MOST_MILLISECONDS:.0f} ms")
    if challenger.megabytes > MOST_MEGABYTES:
        too_much.append(f"more than {MOST_MEGABYTES:.0f} MB")
    if champion is not None:
        figures["champion_milliseconds_per_1000"] = champion.milliseconds
        said += f" (champion {champion.milliseconds:.0f} ms)"
        if challenger.milliseconds > max(UNNOTICED, MOST_TIMES_SLOWER * champion.milliseconds):
            too_much.append(f"more than {MOST_TIMES_SLOWER:.0f} times the champion")
    return Finding(CHECK, "refuse" if too_much else "pass", ", ".join([said, *too_much]), figures)
