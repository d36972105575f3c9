"""Source → contract → lake: good rows land once, bad rows are quarantined and counted, and the counts add up."""

import importlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Protocol, Self

import duckdb

from poplift.contracts.check import Violation, check
from poplift.contracts.schema import Contract
from poplift.contracts.tables import EVERY_CONTRACT, contract
from poplift.lake import Lake, Part
from poplift.settings import Settings

QUARANTINE = "quarantine"
RECORDS = "ingests"
FUTURE = "future"  # the rule of poplift.contracts.check


class Source(Protocol):
    """What a source offers: a name, a digest of its content, and one query per contract table."""

    @property
    def name(self) -> str:
        """Name of the source."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The source of these settings; called when POPLIFT_SOURCE names the class."""

    def digest(self) -> str:
        """Equal digests mean equal events."""

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the raw data visible to `connection`."""

    def tables(self) -> dict[str, str]:
        """Contract table → query."""


@dataclass(frozen=True)
class TableReport:
    """What became of the rows of one table; rows_in = rows_good + rows_quarantined."""

    table: str
    contract_version: int
    rows_in: int
    rows_good: int
    rows_quarantined: int
    violations: tuple[Violation, ...]


@dataclass(frozen=True)
class IngestReport:
    """What one ingest did; `is_new` is False when the same content was here already."""

    source: str
    digest: str
    is_new: bool
    tables: tuple[TableReport, ...]


class SourceError(Exception):
    """A source or one of its files cannot be used; nothing of it was taken in."""


class IngestError(Exception):
    """The books of an ingest do not balance; good data is kept, nothing is recorded as ingested."""


def ingest(
    source: Source, lake: Lake, *, as_of: datetime, progress: Callable[[str], None] = lambda _: None
) -> IngestReport:
    """Take a source into the lake; the same content twice adds nothing. Raises SourceError or ContractError."""
    # A changed contract judges the same rows anew.
    digest = sha256(f"{source.digest()}{EVERY_CONTRACT!r}".encode()).hexdigest()
    record = lake.root / RECORDS / f"{source.name}-{digest[:24]}.json"
    if record.exists():
        return _read(record)
    source.open(lake.connection)
    reports = []
    for table, query in source.tables().items():
        progress(table)
        reports.append(_ingest_table(lake, contract(table), query, source.name, as_of))
    report = IngestReport(source.name, digest, is_new=True, tables=tuple(reports))
    if not any(v.rule == FUTURE for t in reports for v in t.violations):
        # Rows of the future may be good ones at a later instant: without a record the same files are looked at again.
        _write(record, report)
    return report


def open_source(settings: Settings) -> Source:
    """The source that POPLIFT_SOURCE names as module:Class; SourceError when there is none of that name."""
    module, _, name = settings.source.partition(":")
    try:
        source: Source = getattr(importlib.import_module(module), name).from_settings(settings)
    except (ImportError, AttributeError) as error:
        raise SourceError(
            f"POPLIFT_SOURCE={settings.source}: {error}. It is module:Class of a class with from_settings(settings)"
        ) from error
    return source


def _ingest_table(lake: Lake, known: Contract, query: str, source: str, as_of: datetime) -> TableReport:
    connection = lake.connection
    view = f"_incoming_{known.table}"
    connection.sql(f"CREATE OR REPLACE TEMP VIEW {view} AS {query}")
    checked = check(connection, known, source=view, known=_known_keys(lake, known, as_of), as_of=as_of)
    (rows_in,) = connection.sql(f"SELECT count(*) FROM {view}").fetchone() or (0,)
    good = lake.append(known.table, checked.good, has_unique_keys=checked.has_unique_keys)
    rows_good, bad = good.rows if good else 0, None
    if rows_in > rows_good:
        refused = f"SELECT '{source}' AS source, * FROM ({checked.bad})"
        bad = lake.append(known.table, refused, folder=QUARANTINE)
    rows_bad = bad.rows if bad else 0
    if rows_in != rows_good + rows_bad:
        raise IngestError(f"table {known.table}: {rows_in} rows in, {rows_good} good and {rows_bad} quarantined")
    violations = _violations(connection, known, bad) if bad else ()
    return TableReport(known.table, known.version, rows_in, rows_good, rows_bad, violations)


def _known_keys(lake: Lake, known: Contract, as_of: datetime) -> dict[str, str]:
    keys = {}
    for reference in {c.references for c in known.columns if c.references}:
        table, column = reference.split(".")
        keys[reference] = f'SELECT DISTINCT "{column}" AS value FROM ({lake.query(table, as_of=as_of)}) '
        keys[reference] += f'WHERE "{column}" IS NOT NULL'
    return keys


def _violations(connection: duckdb.DuckDBPyConnection, known: Contract, quarantined: Part) -> tuple[Violation, ...]:
    rows = connection.execute(
        'SELECT "column", rule, count(*) FROM read_parquet(?) GROUP BY ALL ORDER BY 3 DESC, 1, 2',
        [str(quarantined.path)],
    ).fetchall()
    return tuple(Violation(known.table, column, rule, count) for column, rule, count in rows)


def _write(path: Path, report: IngestReport) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(report), indent=1))
    partial.replace(path)


def _read(path: Path) -> IngestReport:
    stored = json.loads(path.read_text())
    tables = tuple(
        TableReport(**{**t, "violations": tuple(Violation(**v) for v in t["violations"])}) for t in stored["tables"]
    )
    return IngestReport(stored["source"], stored["digest"], is_new=False, tables=tables)
