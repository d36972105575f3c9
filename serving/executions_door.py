"""Where reports of what became of recommendations enter: judged by their contract, in the lake on return."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from poplift.arrivals import SKEW, Refusal
from poplift.contracts.check import check
from poplift.contracts.tables import contract
from poplift.databases import exclusive
from poplift.decision_table import land_decisions
from poplift.lake import Lake, LakeError
from poplift.settings import Settings
from poplift.sources.ingest import QUARANTINE

TABLE = "executions"
CONFLICT = "conflict"  # an id that was used for another report
_SOURCE = "live"
_SENT = ("execution_id", "decision_id", "outcome", "activation", "reported_at")
_NOTHING = "SELECT NULL::VARCHAR AS value WHERE false"


@dataclass(frozen=True)
class Reported:
    """What became of the reports of one request; the three add up to its length."""

    accepted: int
    duplicates: int
    refused: tuple[Refusal, ...]


class ExecutionsDoor:
    """Takes reports of the contract `executions` without created_at; one request at a time per lake."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._lake: Lake | None = None

    def receive(self, reports: Sequence[Mapping[str, Any]]) -> Reported:
        """Take reports; an id that is known already with the same content is a duplicate, with another one a conflict.

        A report of a decision that nobody made is quarantined. Raises LakeError; then the same may be sent again.
        """
        try:
            with self._lock, exclusive(self._settings, TABLE):
                lake = self._lake = self._lake or Lake(self._settings.lake_dir, threads=1)
                return self._take(lake, reports)
        except (OSError, duckdb.Error) as error:
            raise LakeError(
                f"executions cannot be written: {error}. Look at the disk and rights of the lake"
            ) from error

    def _take(self, lake: Lake, reports: Sequence[Mapping[str, Any]]) -> Reported:
        as_of = self._settings.now()
        rows: list[dict[str, Any]] = [
            {**{name: report.get(name) for name in _SENT}, "message": str(n)} for n, report in enumerate(reports)
        ]
        known = self._known(lake, [row["execution_id"] for row in rows])
        fresh, duplicates, conflicts = [], 0, []
        for row in rows:
            said, before = _says(row), known.get(row["execution_id"])
            if before is None:
                known[row["execution_id"]] = said
                fresh.append(row)
            elif before == said:
                duplicates += 1
            else:
                conflicts.append(row)
        self._register(lake, fresh, as_of)
        decisions = self._decisions(lake, [row["decision_id"] for row in fresh])
        checked = check(
            lake.connection,
            contract(TABLE),
            source="execution_reports",
            known={"decisions.decision_id": decisions},
            as_of=as_of + SKEW,
        )
        good = lake.append(TABLE, f"{checked.good} ORDER BY execution_id")
        refused = self._quarantine(lake, checked.bad, conflicts)
        return Reported(good.rows if good else 0, duplicates, refused)

    def _known(self, lake: Lake, ids: Sequence[str]) -> dict[str, str]:
        """What the reports with these ids said that are in the lake already."""
        if not lake.parts(TABLE):
            return {}
        query = lake.query(TABLE, as_of=self._settings.now() + SKEW, every_version=True)
        columns = ", ".join(_SENT)
        found = lake.connection.execute(
            f"SELECT {columns} FROM ({query}) WHERE execution_id IN (SELECT unnest(?))", [list(ids)]
        ).fetchall()
        return {row[0]: _says(dict(zip(_SENT, row, strict=True))) for row in found}

    def _decisions(self, lake: Lake, ids: Sequence[str]) -> str:
        """Query of those of `ids` that are decisions; looks into the newest decision log where one is missing."""
        found = _found(lake, ids)
        if len(found) < len(set(ids)):
            land_decisions(self._settings.decisions_dir, lake)
            found = _found(lake, ids)
        lake.connection.register("execution_decisions", pa.table({"value": pa.array(sorted(found), pa.string())}))
        return "SELECT value FROM execution_decisions" if found else _NOTHING

    @staticmethod
    def _register(lake: Lake, rows: Sequence[Mapping[str, Any]], as_of: Any) -> None:
        instant = pa.timestamp("us", "UTC")
        kinds = [pa.field(name, instant if name == "reported_at" else pa.string()) for name in (*_SENT, "message")]
        sent = pa.Table.from_pylist([dict(row) for row in rows], schema=pa.schema(kinds))
        known = sent.append_column("created_at", pa.array([as_of] * len(rows), instant))
        lake.connection.register("execution_reports_sent", known)
        lake.connection.sql("CREATE OR REPLACE TEMP TABLE execution_reports AS FROM execution_reports_sent")
        lake.connection.unregister("execution_reports_sent")

    @staticmethod
    def _quarantine(lake: Lake, bad: str, conflicts: Sequence[Mapping[str, Any]]) -> tuple[Refusal, ...]:
        """Keep what was refused, once for each report and rule, and say which reports of the request they were."""
        rows = lake.connection.sql(f'SELECT rule, "column", row FROM ({bad})').fetchall()
        rows += [(CONFLICT, "execution_id", json.dumps(dict(row), default=str, sort_keys=True)) for row in conflicts]
        if not rows:
            return ()
        columns = dict(zip(("rule", "column", "row"), map(list, zip(*rows, strict=True)), strict=True))
        lake.connection.register("execution_refusals", pa.table(columns))
        said = "json_extract_string(row, '$.execution_id')"
        new = f"SELECT '{_SOURCE}' AS source, rule, \"column\", row, {said} AS id FROM execution_refusals"
        kept = lake.parts(TABLE, folder=QUARANTINE)
        if kept:
            files = ", ".join(f"'{part}'" for part in kept)
            before = f"SELECT rule, {said} AS id FROM read_parquet([{files}], union_by_name = true)"
            # Without an id nobody can tell two reports apart: NULL joins nothing, so all of those are kept.
            new = f"FROM ({new}) ANTI JOIN ({before}) USING (rule, id)"
        lake.append(TABLE, f"SELECT * EXCLUDE (id) FROM ({new}) ORDER BY row", folder=QUARANTINE)
        lake.connection.unregister("execution_refusals")
        return tuple(Refusal(json.loads(row)["message"], column, rule) for rule, column, row in rows)


def _found(lake: Lake, ids: Sequence[str]) -> set[str]:
    parts = lake.parts("decisions")
    if not parts or not ids:
        return set()
    files = ", ".join(f"'{part}'" for part in parts)
    rows = lake.connection.execute(
        f"SELECT decision_id FROM read_parquet([{files}]) WHERE decision_id IN (SELECT unnest(?))", [list(ids)]
    ).fetchall()
    return {row[0] for row in rows}


def _says(row: Mapping[str, Any]) -> str:
    return json.dumps([str(row[name]) for name in _SENT if name != "reported_at"] + [row["reported_at"].timestamp()])
