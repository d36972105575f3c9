"""The week's plan as it was published, page by page: an open page goes on in its own plan when a newer one comes."""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LATEST = "latest.json"
SUMMARY_KEY = b"poplift_plan"
_FILE = re.compile(r"week=(\d{4}-\d\d-\d\d)/plan-([0-9a-f]{12})\.parquet")
_ID = re.compile(r"(\d{4}-\d\d-\d\d)-([0-9a-f]{12})")
_MOST_ROWS = 2**53


class NoPlanError(Exception):
    """No plan was published, or not the one that is asked for."""


class PlanUnreadableError(Exception):
    """The published plan cannot be read; the message is for the log."""


class CursorError(ValueError):
    """A cursor is not one that was handed out."""


@dataclass(frozen=True)
class Cursor:
    """Where a page begins: a plan and a row of its table."""

    plan_id: str
    row: int

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(f"{self.plan_id}.{self.row}".encode()).rstrip(b"=").decode()

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read what `str` wrote; raises CursorError."""
        try:
            plan_id, _, row = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii").partition(".")
        except ValueError as error:
            raise CursorError("is not a cursor of this API") from error
        if not _ID.fullmatch(plan_id) or not re.fullmatch(r"\d{1,16}", row, re.ASCII) or int(row) > _MOST_ROWS:
            raise CursorError("is not a cursor of this API")
        return cls(plan_id, int(row))


@dataclass(frozen=True)
class Page:
    """Some lines of a plan, and where the next ones begin."""

    lines: list[dict[str, Any]]
    more: Cursor | None


class PublishedPlans:
    """The plans of one folder, read from what `poplift plan` left there; the last one asked for stays in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._read: tuple[str, Any] | None = None

    def latest(self) -> str:
        """Id of the plan that was published last; raises NoPlanError, PlanUnreadableError."""
        path = self._folder / LATEST
        try:
            found = _FILE.fullmatch(json.loads(path.read_text())["file"])
        except FileNotFoundError as error:
            raise NoPlanError("No plan was published yet: run `poplift plan --budget …`.") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PlanUnreadableError(f"{path}: {type(error).__name__}: {error}") from error
        if found is None:
            raise PlanUnreadableError(f"{path}: names no plan")
        return f"{found[1]}-{found[2]}"

    def summary(self, plan_id: str) -> dict[str, Any]:
        """The figures of the whole plan; raises NoPlanError, PlanUnreadableError."""
        said: dict[str, Any] = json.loads(self._table(plan_id).schema.metadata[SUMMARY_KEY])
        return said

    def page(self, start: Cursor, *, limit: int, runs_only: bool, outlet_id: str | None) -> Page:
        """At most `limit` lines from `start` on, in the order of outlet and ppg; raises as `summary` does."""
        import numpy as np
        import pyarrow.compute as pc

        table = self._table(start.plan_id)
        wanted = np.ones(table.num_rows, dtype=bool)
        if runs_only:
            wanted &= table["runs"].to_numpy()
        if outlet_id is not None:
            wanted &= pc.equal(table["outlet_id"], outlet_id).to_numpy()
        rows = np.flatnonzero(wanted[start.row :])[: limit + 1] + start.row
        lines: list[dict[str, Any]] = table.take(rows[:limit]).to_pylist()
        return Page(lines, Cursor(start.plan_id, int(rows[limit])) if len(rows) > limit else None)

    def _table(self, plan_id: str) -> Any:
        with self._lock:
            if self._read is None or self._read[0] != plan_id:
                self._read = (plan_id, self._loaded(plan_id))
            return self._read[1]

    def _loaded(self, plan_id: str) -> Any:
        import pyarrow as pa  # a process that is never asked for a plan never carries what reads Parquet
        import pyarrow.parquet as pq

        parts = _ID.fullmatch(plan_id)
        if parts is None:
            raise NoPlanError("There is no such plan.")
        path = self._folder / f"week={parts[1]}" / f"plan-{parts[2]}.parquet"
        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest()[:12] != parts[2]:
                raise PlanUnreadableError(f"{path}: is not what was published under this name")
            return pq.read_table(pa.BufferReader(content))
        except FileNotFoundError as error:
            raise NoPlanError("The plan of this cursor is not kept any more; begin again without a cursor.") from error
        except (OSError, pa.ArrowException) as error:
            raise PlanUnreadableError(f"{path}: {error}") from error
