"""Newest event time of every view: from the feature tables, and from an answer of the online store."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def newest_offline(features_dir: Path, *, views: Iterable[str], as_of: datetime) -> dict[str, datetime | None]:
    """Newest `event_timestamp` per view in `<features_dir>/<view>/**/*.parquet` among rows known at `as_of`.

    None for a view without files or rows. Raises duckdb.Error for a file that cannot be read.
    """
    newest: dict[str, datetime | None] = {}
    with duckdb.connect() as connection:
        for view in views:
            files = [str(path) for path in sorted((features_dir / view).rglob("*.parquet"))]
            newest[view] = _newest(connection, files, as_of) if files else None
    return newest


def _newest(connection: duckdb.DuckDBPyConnection, files: list[str], as_of: datetime) -> datetime | None:
    row = connection.execute(
        "select epoch_us(max(event_timestamp)) from read_parquet(?, union_by_name => true) "
        "where epoch_us(created_timestamp) <= ?",
        [files, (as_of - _EPOCH) // timedelta(microseconds=1)],
    ).fetchone()
    return None if row is None or row[0] is None else _EPOCH + timedelta(microseconds=row[0])


def newest_online(
    event_timestamps: Mapping[str, npt.NDArray[np.datetime64]],
) -> dict[str, datetime | None]:
    """Newest timestamp per view out of the online store's answer: datetime64 in UTC, NaT where missing.

    Redis reports 1970-01-01 for a missing value; that counts as missing too.
    """
    newest: dict[str, datetime | None] = {}
    for view, stamps in event_timestamps.items():
        micros = stamps.astype("datetime64[us]")
        present = micros[~np.isnat(micros) & (micros > np.datetime64(0, "us"))]
        newest[view] = _EPOCH + timedelta(microseconds=int(present.max().astype(np.int64))) if len(present) else None
    return newest
