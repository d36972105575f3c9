"""POS lines one by one: read, judged by their contract in small batches, and landed in the lake in larger parts.

Versions of a line are told apart by when they arrived. A version that is known already, or says what the newest one
says, is a duplicate. Of copies the one delivered first stays, however they are cut into batches: lines delivered again
after a crash are then known since when they were known before. Everything between two landings is in memory only:
whoever delivers the lines forgets them after `land`, and delivers again what was lost.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from poplift.contracts.check import check
from poplift.contracts.schema import SQL_TYPES
from poplift.contracts.tables import POS_LINES
from poplift.lake import Lake
from poplift.sources.ingest import QUARANTINE

SKEW = timedelta(minutes=5)  # how far clocks of tills may run ahead
SOURCE = "live"  # who delivered a quarantined row
REFERENCES = ("weeks", "products", "outlets")
# Tables of the lake's own connection.
LINES, TAKEN, OPEN_WEEK = "live_lines", "live_taken", "live_open_week"
_UNLANDED, _REFUSED = "live_unlanded", "live_refused"
_SENT = tuple(c for c in POS_LINES.column_names if c != "created_at")
_COLUMNS = ", ".join(f'"{c}"' for c in POS_LINES.column_names)
_KEY = ", ".join(f'"{c}"' for c in POS_LINES.key)
_REST = tuple(c for c in _SENT if c not in POS_LINES.key)
_SAYS = "{" + ", ".join(f"'{c}': \"{c}\"" for c in _REST) + "}"
# Lake.read takes the first row of the opposite order.
_ORDER = ", ".join(["created_at", *(f'"{c}" DESC NULLS FIRST' for c in _REST)])
_EMPTY = "SELECT " + ", ".join(f'NULL::{SQL_TYPES[c.kind]} AS "{c.name}"' for c in POS_LINES.columns) + " LIMIT 0"

_NONE_REFUSED = "SELECT '' AS rule, '' AS \"column\", '' AS row, '' AS message LIMIT 0"


@dataclass(frozen=True)
class Arrival:
    """One POS line as it came: a JSON object of the contract's columns without created_at, which is `arrived_at`."""

    message: str
    arrived_at: datetime
    payload: bytes


@dataclass(frozen=True)
class Refusal:
    """Why one message was quarantined; `column` is empty where the whole of it could not be read."""

    message: str
    column: str
    rule: str


@dataclass(frozen=True)
class Taken:
    """What became of one batch; the three add up to its length."""

    accepted: int
    duplicates: int
    refused: tuple[Refusal, ...]


def reference(table: str) -> str:
    """Name under which the newest rows of a reference table are in memory."""
    return f"live_{table}"


def open_week(lake: Lake, *, as_of: datetime) -> str:
    """Query of the week of the calendar that is open at `as_of`: one row, or none."""
    now = f"TIMESTAMPTZ '{as_of.isoformat()}'"
    return f"SELECT * FROM ({lake.query('weeks', as_of=as_of)}) WHERE starts_at <= {now} AND closes_at > {now}"


def open_week_lines(lake: Lake, *, as_of: datetime) -> str:
    """Query of every version of a line that belongs to the week open at `as_of`, or became known since it opened.

    The second half tells which lines have been moved out of the week.
    """
    if not lake.parts("pos_lines"):
        return _EMPTY
    week = open_week(lake, as_of=as_of)
    every = lake.query("pos_lines", as_of=as_of + SKEW, every_version=True)
    return (
        f"SELECT {_COLUMNS} FROM ({every}) WHERE week = (SELECT week FROM ({week})) "
        f"OR created_at >= (SELECT starts_at FROM ({week}))"
    )


class Arrivals:
    """The lines of the open week, in memory on the lake's connection; one at a time per lake, not thread-safe."""

    def __init__(self, lake: Lake, *, as_of: datetime) -> None:
        """Load the open week; LakeError when the lake has no calendar, catalogue or outlets."""
        self._lake = lake
        self._connection = lake.connection
        self._parts: dict[str, set[str]] = {}
        self.closes_at: datetime | None = None
        self.unlanded = 0
        for name in (_UNLANDED, TAKEN):
            self._create(name, _EMPTY)
        self._create(_REFUSED, _NONE_REFUSED)
        self.load(as_of=as_of)

    def load(self, *, as_of: datetime) -> None:
        """Read references and the week that is open at `as_of` anew; what is not landed yet stays."""
        self._parts = self._listed()
        for table in REFERENCES:
            self._create(reference(table), self._lake.query(table, as_of=as_of))
        self._create(OPEN_WEEK, open_week(self._lake, as_of=as_of))
        known = f"{open_week_lines(self._lake, as_of=as_of)} UNION SELECT {_COLUMNS} FROM {_UNLANDED}"
        self._create(LINES, known)
        week = self._connection.sql(f"SELECT closes_at FROM {OPEN_WEEK}").fetchone()
        self.closes_at = week[0] if week else None

    def has_closed(self, *, as_of: datetime) -> bool:
        """True when the week in memory is over."""
        return self.closes_at is not None and as_of >= self.closes_at

    def is_behind(self) -> bool:
        """True when somebody else has written to the lake since the last load."""
        return self._parts != self._listed()

    def take(self, arrivals: Sequence[Arrival], *, as_of: datetime) -> Taken:
        """Judge a batch and keep what is new in LINES; the rows that were new are in TAKEN until the next call."""
        limit = as_of + SKEW
        unreadable = self._register(arrivals)
        checked = check(self._connection, POS_LINES, source="live_incoming", known=self._known_keys(), as_of=limit)
        self._create("live_checked", checked.good)
        bad = f"SELECT *, json_extract_string(row, 'message') AS message FROM ({checked.bad})"
        is_clean = self._count("live_checked") == self._count("live_incoming")  # the rule, and then nothing to look for
        self._create("live_bad", _NONE_REFUSED if is_clean else bad)
        if unreadable:
            self._connection.executemany("INSERT INTO live_bad VALUES ('unreadable', '', ?, ?)", unreadable)
        self._create(TAKEN, self._new(as_of=limit))
        for table in (LINES, _UNLANDED):
            self._connection.sql(f"INSERT INTO {table} SELECT {_COLUMNS} FROM {TAKEN}")
        self._connection.sql(f'INSERT INTO {_REFUSED} SELECT rule, "column", row, message FROM live_bad')
        refused = self._connection.sql('SELECT message, "column", rule FROM live_bad ORDER BY 1').fetchall()
        accepted = self._count(TAKEN)
        self.unlanded += accepted + len(refused)
        return Taken(accepted, len(arrivals) - accepted - len(refused), tuple(Refusal(*row) for row in refused))

    def land(self) -> None:
        """Write what was taken since the last landing to the lake, and what was refused to its quarantine, once."""
        if not self.unlanded:
            return
        behind = self.is_behind()
        self._lake.append("pos_lines", f"SELECT {_COLUMNS} FROM {_UNLANDED} ORDER BY {_KEY}, created_at")
        refused = f"SELECT '{SOURCE}' AS source, rule, \"column\", row FROM {_REFUSED}"
        quarantined = self._lake.parts("pos_lines", folder=QUARANTINE)
        if quarantined:
            files = ", ".join(f"'{p}'" for p in quarantined)
            before = f"SELECT row FROM read_parquet([{files}], union_by_name = true) WHERE source = '{SOURCE}'"
            refused += f" WHERE row NOT IN ({before})"
        self._lake.append("pos_lines", f"{refused} ORDER BY row", folder=QUARANTINE)
        for table in (_UNLANDED, _REFUSED):
            self._connection.sql(f"TRUNCATE {table}")
        self.unlanded = 0
        if not behind:
            self._parts = self._listed()

    def _register(self, arrivals: Sequence[Arrival]) -> list[tuple[str, str]]:
        """Make the readable lines visible as live_incoming; returns the others as (row, message)."""
        rows: list[tuple[Any, ...]] = []
        unreadable: list[tuple[str, str]] = []
        for arrival in arrivals:
            try:
                rows.append((*_texts(arrival.payload), arrival.arrived_at, arrival.message, len(rows)))
            except (ValueError, RecursionError):
                payload = arrival.payload.decode(errors="replace")
                unreadable.append((json.dumps({"payload": payload, "message": arrival.message}), arrival.message))
        columns: Iterator[Any] = zip(*rows, strict=True) if rows else iter([()] * (len(_SENT) + 3))
        kinds = [*(pa.field(c, pa.string()) for c in _SENT), pa.field("created_at", pa.timestamp("us", "UTC"))]
        schema = pa.schema([*kinds, pa.field("message", pa.string()), pa.field("delivered", pa.int64())])
        incoming = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
        self._connection.register("live_sent", incoming)
        once = ", ".join(f'"{c}"' for c in POS_LINES.column_names)
        # The same line twice at one instant is a duplicate, not a broken row.
        self._create("live_incoming", f"SELECT {once}, min(message) AS message FROM live_sent GROUP BY {once}")
        order = f"SELECT {_KEY}, created_at, min(delivered) AS delivered FROM live_sent GROUP BY {_KEY}, created_at"
        self._create("live_order", order)  # not beside the lines: a refused one is kept as it came, and once
        self._connection.unregister("live_sent")
        return unreadable

    def _new(self, *, as_of: datetime) -> str:
        """Query of the checked rows that change what is known, in the order in which they became known."""
        self._create("live_known", f"SELECT {_COLUMNS} FROM {LINES} SEMI JOIN live_checked USING ({_KEY})")
        unseen = f"SELECT * FROM live_checked ANTI JOIN live_known USING ({_KEY})"
        if self._lake.parts("pos_lines") and self._count(f"({unseen} ANTI JOIN {OPEN_WEEK} USING (week))"):
            landed = self._lake.query("pos_lines", as_of=as_of, every_version=True)
            self._connection.sql(
                f"INSERT INTO live_known SELECT {_COLUMNS} FROM ({landed}) SEMI JOIN live_checked USING ({_KEY}) "
                "EXCEPT FROM live_known"
            )
        fresh = (
            f"SELECT * FROM (SELECT {_COLUMNS} FROM live_checked EXCEPT FROM live_known) "
            f"JOIN live_order USING ({_KEY}, created_at)"
        )
        newest = f"SELECT {_KEY}, last({_SAYS} ORDER BY {_ORDER}) AS says FROM live_known GROUP BY {_KEY}"
        ordered = (
            f"SELECT *, {_SAYS} AS says, lag({_SAYS}) OVER line AS said, row_number() OVER line AS place "
            f"FROM ({fresh}) WINDOW line AS (PARTITION BY {_KEY} ORDER BY {_ORDER})"
        )
        compared = (
            f"SELECT a.*, a.says IS DISTINCT FROM CASE WHEN place = 1 THEN k.says ELSE said END AS is_other "
            f"FROM ({ordered}) AS a LEFT JOIN ({newest}) AS k USING ({_KEY})"
        )
        told = f"SELECT *, count_if(is_other) OVER (PARTITION BY {_KEY} ORDER BY place) AS version FROM ({compared})"
        return (
            f"SELECT {_COLUMNS} FROM ({told}) WHERE version > 0 "
            f"QUALIFY delivered = min(delivered) OVER (PARTITION BY {_KEY}, version)"
        )

    def _known_keys(self) -> dict[str, str]:
        # Only what this batch asks for: a set of the whole catalogue would be built anew for every batch.
        known = {"weeks.week": f"SELECT week AS value FROM {reference('weeks')}"}
        for table, column in (("products", "product_id"), ("outlets", "outlet_id")):
            asked = f"SELECT {column} FROM live_incoming"
            known[f"{table}.{column}"] = (
                f"SELECT {column} AS value FROM {reference(table)} SEMI JOIN ({asked}) USING ({column})"
            )
        return known

    def _create(self, table: str, query: str) -> None:
        self._connection.sql(f"CREATE OR REPLACE TEMP TABLE {table} AS {query}")

    def _listed(self) -> dict[str, set[str]]:
        return {t: {p.name for p in self._lake.parts(t)} for t in (*REFERENCES, "pos_lines")}

    def _count(self, relation: str) -> int:
        (count,) = self._connection.sql(f"SELECT count(*) FROM {relation}").fetchone() or (0,)
        return int(count)


def _texts(payload: bytes) -> list[str | None]:
    """The contract's columns as text, for the contract to judge; ValueError for what is no JSON object in UTF-8."""
    line = json.loads(payload)
    if not isinstance(line, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 # like the errors of json itself
    texts = [None if (v := line.get(c)) is None else v if isinstance(v, str) else json.dumps(v) for c in _SENT]
    "".join(filter(None, texts)).encode()  # half a surrogate pair is valid JSON and no text
    return texts
