"""The whole demo in an empty home, and again in the same one: no peer does the same job, so the bound is the goal."""

import argparse
import tempfile

from measure import COLUMNS, Result, line, process

MOST_SECONDS = 120


def main(runs: int) -> None:
    """Measure first and second runs and keep the result."""
    first, second = [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="poplift-bench-") as home:
            environment = {"POPLIFT_HOME": home}
            first.append(process(["-m", "flows.cli", "demo"], environment))
            second.append(process(["-m", "flows.cli", "demo"], environment))
    Result(
        name="demo",
        goal=f"poplift demo in at most {MOST_SECONDS} s after installation",
        met=max(s.seconds for s in first) <= MOST_SECONDS,
        columns=COLUMNS,
        rows=(line("first run", first), line("second run", second)),
    ).save()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2)
    main(parser.parse_args().runs)
