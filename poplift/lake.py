"""Append-only, bitemporal Parquet: nothing is overwritten, and `read(as_of=...)` gives the same rows for ever."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from uuid import uuid4

import duckdb
import ibis
from filelock import FileLock

from poplift.contracts.schema import SQL_TYPES, Contract
from poplift.contracts.tables import contract

UNIQUE_KEYS = "poplift_unique_keys"


class LakeError(Exception):
    """A table cannot be read or written; the message says which and what to do."""


@dataclass(frozen=True)
class Part:
    """One immutable file of a table, named for the hash of its bytes."""

    path: Path
    rows: int
    is_new: bool


class Lake:
    """A folder with one sub-folder per table; writers rename finished files into place, so readers need no lock."""

    def __init__(self, root: Path, *, threads: int = 2, memory: str = "3GB") -> None:
        self.root = root
        self._threads = threads
        self._memory = memory

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """DuckDB in UTC, with bounded memory that spills under the lake's own folder."""
        self.root.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect(
            config={
                "threads": self._threads,
                "memory_limit": self._memory,
                "temp_directory": str(self.root / ".spill"),
            }
        )
        connection.sql("SET TimeZone = 'UTC'")
        return connection

    @cached_property
    def backend(self) -> ibis.BaseBackend:
        """The same connection for Ibis expressions."""
        return ibis.duckdb.from_connection(self.connection)

    def append(self, table: str, query: str, *, has_unique_keys: bool = False, folder: str = "") -> Part | None:
        """Write the rows of `query` as one new part; None when there are none, `is_new` False when they are here.

        `has_unique_keys` promises that no key repeats in `query`, which spares readers of a lone part the comparison
        of versions. A crash leaves only a `.partial` file, which no reader looks at and the next append removes.
        """
        target = self.root / folder / table
        target.mkdir(parents=True, exist_ok=True)
        with FileLock(target / ".lock"):
            for left in target.glob("*.partial"):
                left.unlink()
            return self._write(query, target / f"{uuid4().hex}.partial", has_unique_keys=has_unique_keys)

    def _write(self, query: str, partial: Path, *, has_unique_keys: bool) -> Part | None:
        (rows,) = self.connection.execute(
            f"COPY ({query}) TO '{partial}' "
            f"(FORMAT parquet, KV_METADATA {{{UNIQUE_KEYS}: '{str(has_unique_keys).lower()}'}})"
        ).fetchone() or (0,)
        if not rows:
            partial.unlink()
            return None
        with partial.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        part = partial.with_name(f"part-{digest[:24]}.parquet")
        is_new = not part.exists()
        partial.replace(part)
        return Part(part, int(rows), is_new)

    def parts(self, table: str, *, folder: str = "") -> list[Path]:
        """Finished files of a table in a stable order."""
        return sorted((self.root / folder / table).glob("part-*.parquet"))

    def read(self, table: str, *, as_of: datetime, only: Mapping[str, Iterable[str | int]] | None = None) -> ibis.Table:
        """The newest version of every row that was known at `as_of`; columns of the contract, in its order.

        `only` keeps rows whose key columns have one of the given values, before versions are compared.
        Raises LakeError when nothing was ever ingested, or `only` names a column outside the key.
        """
        return self.backend.sql(self.query(table, as_of=as_of, only=only))

    def query(
        self,
        table: str,
        *,
        as_of: datetime,
        only: Mapping[str, Iterable[str | int]] | None = None,
        every_version: bool = False,
    ) -> str:
        """`read` as SQL of this lake's connection; `every_version` keeps the superseded versions of a row too."""
        known = contract(table)
        parts = self.parts(table)
        if not parts:
            raise LakeError(f"table {table} is empty under {self.root}: run `poplift ingest` first")
        outside = set(only or {}) - set(known.key)
        if outside:
            raise LakeError(f"table {table}: cannot filter by {sorted(outside)}, the key is {known.key}")
        filters = [f"created_at <= TIMESTAMPTZ '{as_of.isoformat()}'"]
        for column, values in (only or {}).items():
            literals = ", ".join(f"'{v}'" if isinstance(v, str) else str(v) for v in values)
            filters.append(f'"{column}" IN ({literals})')
        columns = ", ".join(f'"{c}"' for c in known.column_names)
        newest = "" if every_version or self.has_unique_keys(table) else _newest_version(known)
        return f"SELECT {columns} FROM {self._rows(known, parts)} WHERE {' AND '.join(filters)}{newest}"

    def _rows(self, known: Contract, parts: list[Path]) -> str:
        """The rows of all parts; a column that the contract got after they were written is null in them."""
        rows = f"read_parquet([{', '.join(repr(str(p)) for p in parts)}], union_by_name = true)"
        optional = [c for c in known.columns if c.nullable]
        if not optional:
            return rows
        found = self.connection.execute("SELECT name FROM parquet_schema(?)", [str(parts[0])]).fetchall()
        added = [f'NULL::{SQL_TYPES[c.kind]} AS "{c.name}"' for c in optional if (c.name,) not in found]
        return f"(SELECT {', '.join(added)} WHERE false UNION ALL BY NAME SELECT * FROM {rows})" if added else rows

    def has_unique_keys(self, table: str) -> bool:
        """Whether no key repeats: the table is one part whose writer promised so."""
        parts = self.parts(table)
        if len(parts) != 1:
            return False
        rows = self.connection.execute(
            "SELECT value FROM parquet_kv_metadata(?) WHERE key = ?", [str(parts[0]), UNIQUE_KEYS.encode()]
        ).fetchall()
        return bool(rows) and rows[0][0] == b"true"


def _newest_version(known: Contract) -> str:
    key = ", ".join(f'"{c}"' for c in known.key)
    rest = ", ".join(f'"{c}"' for c in known.column_names if c not in known.key)
    # Equal created_at can only come from two parts; the order of the values makes the winner the same for ever.
    return f" QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY created_at DESC, {rest}) = 1"
