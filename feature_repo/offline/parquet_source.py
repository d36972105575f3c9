"""The Parquet table behind a feature view, opened in DuckDB: one file, a folder or a pattern, local or on S3."""

import fnmatch
import glob
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlparse

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource
from pyarrow import fs

from feature_repo.offline.errors import PointInTimeError

S3 = "s3://"


def is_parquet(source: DataSource | None) -> bool:
    """Whether this module reads the source."""
    return isinstance(source, FileSource) and isinstance(source.file_format, ParquetFormat | None)


@dataclass(frozen=True)
class ParquetSource:
    """The table of the view named `view`; relative paths are of `repo_path`. Methods raise PointInTimeError."""

    view: str
    source: FileSource
    repo_path: str

    @property
    def path(self) -> str:
        """As the source names it."""
        return str(self.source.path)

    def relation(self, connection: duckdb.DuckDBPyConnection) -> str:
        """What to write after FROM; a column that some files lack is null there."""
        if not self.path.startswith(S3):
            files = ", ".join(literal(glob.escape(file)) for file in self._files)
            return f"read_parquet([{files}], union_by_name = true)"
        # DuckDB's own reader of S3 is an extension that it downloads at run time; Arrow's is there already.
        try:
            factory = ds.FileSystemDatasetFactory(self._filesystem, self._files, ds.ParquetFileFormat())
            connection.register("files", factory.finish(factory.inspect(promote_options="permissive")))
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(error) from error
        return "files"

    def types(self, connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
        """DuckDB's type of every column, under its name in the files."""
        try:
            described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
        except duckdb.Error as error:
            raise self._unreadable(error) from error
        return {name: kind for name, kind, *_ in described}

    def columns_by_file(self) -> Mapping[str, Collection[str]]:
        """The names of the columns of every file."""
        filesystem = self._filesystem if self.path.startswith(S3) else None
        try:
            return {file: pq.read_schema(file, filesystem=filesystem).names for file in self._files}
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(error) from error

    @cached_property
    def _files(self) -> list[str]:
        """Local files, or S3 keys without the scheme; never empty."""
        files = self._on_s3() if self.path.startswith(S3) else self._on_disk()
        if not files:
            raise PointInTimeError(
                f"feature view {self.view}: no Parquet file at {self.path}: write it first, or correct the path"
            )
        return files

    def _on_disk(self) -> list[str]:
        path = unquote(urlparse(self.path).path) if self.path.startswith("file://") else self.path
        place = Path(self.repo_path) / path
        if place.is_dir():
            return sorted(str(file) for file in place.rglob("*.parquet"))
        return [str(place)] if place.exists() else sorted(glob.glob(str(place), recursive=True))  # noqa: PTH207 - pathlib matches no absolute pattern

    @cached_property
    def _filesystem(self) -> fs.FileSystem:
        return FileSource.create_filesystem_and_path(
            self.path, self.source.s3_endpoint_override, self.source.resolve_credentials()
        )[0]

    def _on_s3(self) -> list[str]:
        key = self.path.removeprefix(S3).rstrip("/")
        pattern = key if "*" in key else f"{key}/*.parquet"
        folder = key.split("*", 1)[0].rsplit("/", 1)[0] if "*" in key else key
        try:
            if "*" not in key and self._filesystem.get_file_info(key).type == fs.FileType.File:
                return [key]
            found = self._filesystem.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
        except OSError as error:
            raise self._unreadable(error) from error
        return sorted(f.path for f in found if f.type == fs.FileType.File and fnmatch.fnmatchcase(f.path, pattern))

    def _unreadable(self, error: Exception) -> PointInTimeError:
        return PointInTimeError(f"feature view {self.view}: {self.path} cannot be read: {error}")


def identifier(name: str) -> str:
    """A column name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
