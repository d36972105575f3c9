"""The decision log as contract tables: what was served, and what the shadow said of it, landed in the lake once."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock

from poplift.activation import Activation
from poplift.contracts.check import check
from poplift.contracts.tables import contract
from poplift.lake import Lake
from poplift.market_week import LOCAL_TIME
from poplift.sources.ingest import QUARANTINE

TABLE = "decisions"
SHADOW_TABLE = "shadow_answers"
KINDS = {"string": pa.string(), "float": pa.float64(), "bool": pa.bool_(), "timestamp": pa.timestamp("us", "UTC")}
Row = dict[str, Any]
SOURCE = "decision-log"
ROWS_A_PART = 100_000
_STATE = "decisions-landed.json"
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)  # what the platform wrote itself is not judged by a clock


@dataclass(frozen=True)
class Landed:
    """What one landing did: rows added, lines of the log that cannot be read, and rows the contract refused."""

    added: int  # decisions
    unreadable: int
    refused: int
    shadow: int = 0  # answers of the shadow


def land_decisions(folder: Path, lake: Lake) -> Landed:
    """Bring what `folder` logged since the last landing into the tables decisions and shadow_answers.

    Only whole lines are read, so a log that is being written is no problem; a crash between two steps lands the same
    lines again and adds nothing.
    """
    lake.root.mkdir(parents=True, exist_ok=True)
    state = lake.root / _STATE
    with FileLock(lake.root / f".{_STATE}.lock"):
        offsets: dict[str, int] = json.loads(state.read_text()) if state.exists() else {}
        total = Landed(0, 0, 0)
        for path in sorted(folder.glob("*.jsonl")):
            for rows, unreadable, end in _batches(path, offsets.get(path.name, 0)):
                counts = {table: _land(lake, table, rows[table]) for table in rows}
                total = Landed(
                    added=total.added + counts[TABLE][0],
                    unreadable=total.unreadable + unreadable,
                    refused=total.refused + sum(refused for _, refused in counts.values()),
                    shadow=total.shadow + counts[SHADOW_TABLE][0],
                )
                offsets[path.name] = end
                _keep(state, offsets)
    return total


def _batches(path: Path, start: int) -> Iterator[tuple[dict[str, list[Row]], int, int]]:
    """Rows by table, unreadable lines, and the offset behind them, of the whole lines after `start`."""
    rows: dict[str, list[Row]] = {TABLE: [], SHADOW_TABLE: []}
    unreadable, end = 0, start
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            try:
                logged = json.loads(line)
                if logged["kind"] == "recommendation":
                    rows[TABLE].append(_decision(logged))
                elif logged["kind"] == "shadow":
                    rows[SHADOW_TABLE].append(_shadow_answer(logged))
            except (ValueError, KeyError, TypeError, StopIteration):
                unreadable += 1
            if sum(map(len, rows.values())) == ROWS_A_PART:
                yield rows, unreadable, end
                rows, unreadable = {TABLE: [], SHADOW_TABLE: []}, 0
    if end > start:
        yield rows, unreadable, end


def _decision(logged: Row) -> Row:
    names = [Activation.model_validate(candidate["activation"]).name for candidate in logged["candidates"]]
    return _of_both(logged) | {
        "candidates": json.dumps(names),
        "propensities": json.dumps([candidate["propensity"] for candidate in logged["candidates"]]),
        "propensity": logged["propensity"],
        "arm": logged["arm"],
        "experiment": logged["experiment"],
        "policy": logged["policy"],
    }


def _shadow_answer(logged: Row) -> Row:
    chosen = next(c for c in logged["candidates"] if c["activation"] == logged["activation"])
    own = ("shadow_of", "degraded", "milliseconds", "served_milliseconds")
    return _of_both(logged) | {name: logged[name] for name in own} | {"transactions": chosen["transactions"]}


def _of_both(logged: Row) -> Row:
    decided = datetime.fromisoformat(logged["business_time"])
    week = datetime.combine(date.fromisoformat(logged["week_start"]), datetime.min.time(), LOCAL_TIME)
    return {
        "decision_id": logged["decision_id"],
        "outlet_id": logged["outlet_id"],
        "ppg_id": logged["ppg_id"],
        "week_starts_at": week.astimezone(UTC),
        "activation": Activation.model_validate(logged["activation"]).name,
        "release_id": logged["release_id"],
        "decided_at": decided,
        "created_at": decided,
    }


def _land(lake: Lake, table: str, rows: list[Row]) -> tuple[int, int]:
    if not rows:
        return 0, 0
    known = contract(table)
    schema = pa.schema([pa.field(column.name, KINDS[column.kind]) for column in known.columns])
    connection = lake.connection
    connection.register("logged_rows", pa.Table.from_pylist(rows, schema=schema))
    new = "logged_rows"
    if lake.parts(table):
        new = f"(FROM logged_rows ANTI JOIN ({lake.query(table, as_of=_NEVER)}) USING (decision_id))"
    connection.sql(f"CREATE OR REPLACE TEMP TABLE new_rows AS SELECT DISTINCT * FROM {new}")
    connection.unregister("logged_rows")
    checked = check(connection, known, source="new_rows", known={}, as_of=_NEVER)
    good = lake.append(table, f"{checked.good} ORDER BY decision_id")
    bad = lake.append(table, f"SELECT '{SOURCE}' AS source, * FROM ({checked.bad})", folder=QUARANTINE)
    return good.rows if good else 0, bad.rows if bad else 0


def _keep(state: Path, offsets: dict[str, int]) -> None:
    partial = state.with_suffix(".partial")
    partial.write_text(json.dumps(offsets, sort_keys=True))
    partial.replace(state)
