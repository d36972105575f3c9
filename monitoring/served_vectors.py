"""Feature vectors that were served, read back from the end of the decision log."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

KEYS = ("outlet_id", "ppg_id")
# A flag that says that the values of a view were replaced by defaults: what was served is then "none".
REPLACED = ("missing", "expired", "future", "unavailable")
TAIL_BYTES = 8 << 20  # some two thousand decisions: enough to sample from, read in a tenth of a second


@dataclass(frozen=True)
class ServedVector:
    """One logged decision: whose features, at which business time, and the values; None where there was none."""

    decision_id: str
    entity: Mapping[str, str]
    business_time: datetime
    features: Mapping[str, float | None]
    replaced: frozenset[str]  # views whose values were defaults


def served_vectors(decisions_dir: Path, *, since: datetime, limit: int) -> list[ServedVector]:
    """Up to `limit` of the newest decisions made after wall time `since`, spread evenly, newest first.

    An entity counts once for each business time. A line that cannot be read is the torn end of a file and is passed
    over, as its writer wrote it again elsewhere.
    """
    found: dict[tuple[str, ...], ServedVector] = {}
    for row in _newest_rows(decisions_dir):
        if datetime.fromisoformat(row["wall_time"]) >= since:
            vector = _vector(row)
            found.setdefault((*vector.entity.values(), row["business_time"]), vector)
    vectors = list(found.values())
    step = max(1, -(-len(vectors) // limit))
    return vectors[::step]


def _newest_rows(decisions_dir: Path) -> Iterator[dict[str, Any]]:
    left = TAIL_BYTES
    for path in sorted(decisions_dir.glob("*.jsonl"), key=lambda p: p.stat().st_mtime_ns, reverse=True):
        if left <= 0:
            return
        with path.open("rb") as file:
            size = path.stat().st_size
            file.seek(max(0, size - left))
            lines = file.read().split(b"\n")
        left -= size
        for line in reversed(lines):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row


def _vector(row: Mapping[str, Any]) -> ServedVector:
    flags = [str(flag).partition(":") for flag in row["flags"]]
    return ServedVector(
        decision_id=row["decision_id"],
        entity={key: row[key] for key in KEYS},
        business_time=datetime.fromisoformat(row["business_time"]),
        features=row["features"],
        replaced=frozenset(view for kind, _, view in flags if kind in REPLACED),
    )
