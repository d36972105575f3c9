"""`poplift --help`, beside an empty Python process."""

import argparse
import statistics

from measure import COLUMNS, Result, interleaved, line, process

MOST_SECONDS = 0.3


def main(blocks: int) -> None:
    """Measure both in interleaved blocks and keep the result."""
    arms = {
        "poplift --help": lambda: process(["-m", "flows.cli", "--help"]),
        "python -c pass, the floor": lambda: process(["-c", "pass"]),
    }
    samples = interleaved(arms, blocks=blocks)
    Result(
        name="start_up",
        goal=f"poplift --help in less than {MOST_SECONDS} s (median)",
        met=statistics.median(s.seconds for s in samples["poplift --help"]) < MOST_SECONDS,
        columns=COLUMNS,
        rows=tuple(line(name, taken) for name, taken in samples.items()),
    ).save()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=20)
    main(parser.parse_args().blocks)
