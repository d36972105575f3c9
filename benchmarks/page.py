"""The page of this folder, out of the results that are kept beside it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
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
    "planner",
    "serving_requests",
    "serving_stages",
    "tree_engines",
    "reasons",
    "shadow",
    "serving_start",
    "batch_scoring",
    "soak",
)


def write_page() -> None:
    """Put every result at hand on README.md; what was never measured is named with its command."""
    page = [
        "# Benchmarks",
        "",
        "Written by `make bench`, or by one script for its own part, from `results/`, which says what machine it was.",
        "One script per claim; peers and ours run in interleaved blocks on the same data.",
    ]
    for script in SCRIPTS:
        result = RESULTS / f"{script}.json"
        page += ["", *(_section(json.loads(result.read_text())) if result.exists() else _absent(script))]
    (HERE / "README.md").write_text("\n".join(page) + "\n")


def _absent(script: str) -> list[str]:
    return [f"## {script}", f"Not measured yet: `python benchmarks/{script}.py` does it."]


def _section(result: Mapping[str, Any]) -> list[str]:
    columns = list(result["columns"])
    return [
        f"## {result['name']}",
        f"Goal: {result['goal']}. **{'Met' if result['met'] else 'Not met'}.**",
        f"Measured on {result['machine']}.",
        "",
        "| " + " | ".join(columns) + " |",
        "|---|" + "---:|" * (len(columns) - 1),
        *("| " + " | ".join(row) + " |" for row in result["rows"]),
    ]
