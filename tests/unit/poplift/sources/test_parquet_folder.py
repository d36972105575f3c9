"""A folder of Parquet files as a source: named for their tables, or refused."""

from pathlib import Path

import duckdb
import pandas as pd
import pytest

from poplift.sources.ingest import SourceError
from poplift.sources.parquet_folder import ParquetFolder


def test_a_file_without_a_contract_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "poslines.parquet")
    with pytest.raises(
        SourceError, match=r"poslines: no contract of that name; name the files for their tables: weeks"
    ):
        ParquetFolder(tmp_path).tables()


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no \.parquet file"):
        ParquetFolder(tmp_path).digest()


def test_a_torn_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "weeks.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(SourceError, match=r"weeks\.parquet: not a complete Parquet file"):
        ParquetFolder(tmp_path).open(duckdb.connect())


def test_other_bytes_are_another_digest(tmp_path: Path) -> None:
    pd.DataFrame({"week": [1]}).to_parquet(tmp_path / "weeks.parquet")
    before = ParquetFolder(tmp_path).digest()
    pd.DataFrame({"week": [2]}).to_parquet(tmp_path / "weeks.parquet")
    assert ParquetFolder(tmp_path).digest() != before
