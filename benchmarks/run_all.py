"""Runs every script of this folder and writes README.md from their results."""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = (
    "start_up",
    "ingest",
    "point_in_time",
    "history_depth",
    "materialise",
    "online_read",
    "demo",
    "demand",
    "features_scale",
    "streaming",
)


def main(*, measure: bool) -> None:
    """Measure everything, unless the results at hand will do, then write the page."""
    for script in SCRIPTS if measure else ():
        subprocess.run([sys.executable, str(HERE / f"{script}.py")], check=True)
    page = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}.",
        "One script per claim; peers and ours run in interleaved blocks on the same data.",
    ]
    for script in SCRIPTS:
        result = HERE / "results" / f"{script}.json"
        page += ["", *(_section(json.loads(result.read_text())) if result.exists() else _absent(script))]
    (HERE / "README.md").write_text("\n".join(page) + "\n")


def _absent(script: str) -> list[str]:
    return [f"## {script}", f"No result of this machine: `python benchmarks/{script}.py` measures it."]


def _section(result: dict[str, object]) -> list[str]:
    columns, rows = list(result["columns"]), list(result["rows"])  # type: ignore[call-overload]
    return [
        f"## {result['name']}",
        f"Goal: {result['goal']}. **{'Met' if result['met'] else 'Not met'}.**",
        "",
        "| " + " | ".join(columns) + " |",
        "|---|" + "---:|" * (len(columns) - 1),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page-only", action="store_true", help="Write the page from the results at hand.")
    main(measure=not parser.parse_args().page_only)
