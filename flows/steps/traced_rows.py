"""The rows behind one decision: of the feature tables, of the lake, and of what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from feature_repo.build import table_path
from feature_repo.catalog import VIEWS, View
from monitoring.served_vectors import REPLACED
from poplift.lake import Lake
from poplift.settings import Settings

IN_PPG = "product_id IN (SELECT product_id FROM known_products WHERE ppg_id = $ppg)"
LAKE_TABLES = {  # which rows of a table are about one outlet and ppg
    "pos_lines": f"outlet_id = $outlet AND {IN_PPG}",
    "promotions": f"outlet_id = $outlet AND {IN_PPG}",
    "price_calendar": "ppg_id = $ppg",
}


@dataclass(frozen=True)
class ViewRow:
    """The row of a view that was known at the business time of a decision, beside what was served.

    `values` are the served ones; `differing` has those of the table where they are not the same.
    """

    view: str
    entity: Mapping[str, str]
    event_time: datetime | None
    created_time: datetime | None
    file: str | None
    values: Mapping[str, float | None]
    differing: Mapping[str, float | None]
    note: str


@dataclass(frozen=True)
class LakeRows:
    """Rows of one immutable part of a lake table that are about the outlet and ppg and were known then."""

    table: str
    part: str
    rows: int
    first_week: int
    last_week: int
    known_until: datetime


def view_rows(settings: Settings, row: Mapping[str, Any], *, as_of: datetime) -> tuple[ViewRow, ...]:
    """One row per view of the catalog, in its order."""
    replaced = {view: kind for kind, _, view in (str(flag).partition(":") for flag in row["flags"]) if kind in REPLACED}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = []
        for view in VIEWS:
            files = [str(path) for path in sorted(table_path(settings.features_dir, view.name).glob("*.parquet"))]
            found.append(_view_row(_Asked(connection, files, as_of), view, row, replaced=replaced.get(view.name)))
    return tuple(found)


@dataclass(frozen=True)
class _Asked:
    """The files of one view, and as of when they are asked."""

    connection: duckdb.DuckDBPyConnection
    files: list[str]
    as_of: datetime


def _view_row(asked: _Asked, view: View, row: Mapping[str, Any], *, replaced: str | None) -> ViewRow:
    entity = {key: str(row[key]) for key in view.entities}
    values = {f.name: row["features"][f.name] for f in view.features if f.name in row["features"]}
    found = _newest(asked, entity, tuple(values)) if asked.files else None
    if found is None:
        note = "no row was known then" if replaced is None else f"answered from defaults: {replaced}"
        return ViewRow(view.name, entity, None, None, None, values, {}, note)
    event, created, file, *known = found
    told = dict(zip(values, known, strict=True))
    differing = {} if replaced else {name: told[name] for name in values if told[name] != values[name]}
    note = f"answered from defaults: {replaced}" if replaced else ""
    if differing:
        note = (
            f"{len(differing)} values were served otherwise than the table says now (docs/runbooks/features-skewed.md)"
        )
    return ViewRow(view.name, entity, event, created, str(file).rpartition("/")[2], values, differing, note)


def _newest(asked: _Asked, entity: Mapping[str, str], features: tuple[str, ...]) -> tuple[Any, ...] | None:
    columns = "".join(f', "{name}"' for name in features)
    where = " AND ".join(f'"{key}" = ?' for key in entity)
    as_of = asked.as_of.isoformat()
    return asked.connection.execute(
        f"SELECT event_timestamp::TIMESTAMPTZ, created_timestamp::TIMESTAMPTZ, filename{columns} "
        f"FROM read_parquet(?, union_by_name => true, filename => true) WHERE {where} "
        "AND event_timestamp <= ?::TIMESTAMPTZ AND created_timestamp <= ?::TIMESTAMPTZ "
        "ORDER BY event_timestamp DESC, created_timestamp DESC LIMIT 1",
        [asked.files, *(entity[key] for key in entity), as_of, as_of],
    ).fetchone()


def lake_rows(settings: Settings, entity: Mapping[str, str], *, as_of: datetime) -> tuple[LakeRows, ...]:
    """Rows known at `as_of` of one outlet and ppg, by table and part; every version of a row counts."""
    lake = Lake(settings.lake_dir, threads=settings.threads)
    if not lake.parts("products"):
        return ()
    connection = lake.connection
    connection.execute(f"CREATE OR REPLACE TEMP VIEW known_products AS {lake.query('products', as_of=as_of)}")
    found = []
    for table, about in LAKE_TABLES.items():
        parts = [str(part) for part in lake.parts(table)]
        if not parts:
            continue
        asked = {"parts": parts, "as_of": as_of.isoformat(), "ppg": entity["ppg_id"]}
        if "$outlet" in about:
            asked["outlet"] = entity["outlet_id"]
        rows = connection.execute(
            "SELECT filename, count(*), min(week), max(week), max(created_at) "
            f"FROM read_parquet($parts, union_by_name => true, filename => true) WHERE {about} "
            "AND created_at <= $as_of::TIMESTAMPTZ GROUP BY filename ORDER BY filename",
            asked,
        ).fetchall()
        found += [LakeRows(table, str(file).rpartition("/")[2], *rest) for file, *rest in rows]
    return tuple(found)


def outcome_of(settings: Settings, decision_id: str) -> dict[str, Any] | None:
    """What became of a decision, as known last; None before `poplift monitor` saw the sales of its week."""
    files = sorted((settings.home / "outcomes").glob("*.parquet"))
    if not files:
        return None
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        asked = connection.execute("SELECT * FROM read_parquet(?) WHERE decision_id = ?", [str(files[-1]), decision_id])
        names = [column[0] for column in asked.description or ()]
        row = asked.fetchone()
    return dict(zip(names, row, strict=True)) if row else None
