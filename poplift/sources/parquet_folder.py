"""A source that is a folder with one Parquet file per contract table, already in the contract's columns."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

import duckdb

from poplift.contracts.tables import EVERY_CONTRACT
from poplift.settings import Settings
from poplift.sources.ingest import SourceError


@dataclass(frozen=True)
class ParquetFolder:
    """Tables that have no file are left as they are; other files are refused, or a misspelt one would go unseen."""

    folder: Path
    name: str = "parquet_folder"

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The folder `events` under the platform's home."""
        return cls(settings.home / "events")

    def digest(self) -> str:
        """Hash of the files' names and bytes."""
        total = sha256()
        for path in self._files():
            total.update(path.name.encode() + sha256(path.read_bytes()).digest())
        return total.hexdigest()

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Look at every file once; SourceError for one that is not a complete Parquet file."""
        for path in self._files():
            try:
                connection.sql(f"DESCRIBE SELECT * FROM read_parquet('{path}')").fetchall()
            except duckdb.Error as error:
                why = str(error).splitlines()[0]
                raise SourceError(f"{path}: not a complete Parquet file ({why}). Nothing was taken in") from error

    def tables(self) -> dict[str, str]:
        """Contract table → query over its file, in the order of the contracts."""
        return {path.stem: f"SELECT * FROM read_parquet('{path}')" for path in self._files()}

    def _files(self) -> Iterable[Path]:
        order = [known.table for known in EVERY_CONTRACT]
        files = {path.stem: path for path in self.folder.glob("*.parquet")}
        odd = sorted(set(files) - set(order))
        if odd or not files:
            found = f"{', '.join(odd)}: no contract of that name" if odd else "no .parquet file"
            raise SourceError(f"{self.folder}: {found}; name the files for their tables: {', '.join(order)}")
        return [files[table] for table in order if table in files]
