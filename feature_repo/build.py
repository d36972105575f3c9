"""From the lake to the feature tables that Feast reads: one Parquet file per view, replaced as a whole."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import ibis
from filelock import FileLock
from ibis import _

from feature_repo.catalog import VIEWS, View
from feature_repo.transformations.sources import Sources
from poplift.contracts.tables import CONTRACTS
from poplift.lake import Lake
from poplift.market_week import SALES_DELAY


class EmptyWeekError(Exception):
    """A week without a single POS line: a feed that did not arrive must not be read as a week of zero sales."""


@dataclass(frozen=True)
class Built:
    """What one build wrote; `is_new` is False when lake, instant and code were those of the last build."""

    digest: str
    rows: dict[str, int]
    is_new: bool


def build(
    lake: Lake, *, features_dir: Path, as_of: datetime, progress: Callable[[str], None] = lambda _: None
) -> Built:
    """Write the table of every view of the catalog as known at `as_of`; raises LakeError or EmptyWeekError."""
    record = features_dir / "built.json"
    digest = _digest(lake, as_of)
    if record.exists():
        stored = json.loads(record.read_text())
        if stored["digest"] == digest and all(table_path(features_dir, v.name).exists() for v in VIEWS):
            return Built(digest, stored["rows"], is_new=False)
    features_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(features_dir / ".lock"):
        record.unlink(missing_ok=True)  # a build that dies half-way must not pass for the one before it
        tables = sources(lake, as_of=as_of)
        refuse_empty_weeks(tables, as_of=as_of)
        rows = {}
        for view in VIEWS:
            progress(view.name)
            rows[view.name] = _write(lake, view, tables, features_dir)
        built = Built(digest, rows, is_new=True)
        partial = record.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(built)))
        partial.replace(record)
    return built


def table_path(features_dir: Path, view: str) -> Path:
    """Where the table of a view lies: one folder a view."""
    return features_dir / view / "features.parquet"


def sources(lake: Lake, *, as_of: datetime) -> Sources:
    """The lake's tables as known at `as_of`; promotions only of the managed assortment, which is all that is used."""
    products, weeks = _snapshot(lake, "products", as_of), _snapshot(lake, "weeks", as_of)
    managed = products.filter(_.ppg_id.notnull()).product_id.to_pyarrow().to_pylist()
    return Sources(
        pos_lines=_snapshot(lake, "pos_lines", as_of).semi_join(_landed(weeks, as_of), "week"),
        promotions=_snapshot(lake, "promotions", as_of, only={"product_id": managed}),
        products=products,
        outlets=_snapshot(lake, "outlets", as_of),
        weeks=weeks,
        price_calendar=_snapshot(lake, "price_calendar", as_of),
    )


def _landed(weeks: ibis.Table, as_of: datetime) -> ibis.Table:
    """Weeks whose sales are complete; the lines of a week that is still open would read as a bad week."""
    return weeks.filter(_.closes_at <= ibis.literal(as_of - SALES_DELAY)).select("week")


def _snapshot(
    lake: Lake, table: str, as_of: datetime, only: Mapping[str, Iterable[str | int]] | None = None
) -> ibis.Table:
    """The table read once into memory: every view would otherwise read and compare its versions again."""
    name = f"_snapshot_{table}"
    lake.connection.sql(f"CREATE OR REPLACE TEMP TABLE {name} AS {lake.query(table, as_of=as_of, only=only)}")
    return lake.backend.sql(f"SELECT * FROM {name}")


def refuse_empty_weeks(tables: Sources, *, as_of: datetime) -> None:
    """Raise EmptyWeekError that names the weeks from the first with sales to the newest landed one that have none."""
    sold = tables.pos_lines.select("week").distinct()
    first = tables.pos_lines.aggregate(first=_.week.min())
    landed = _landed(tables.weeks, as_of).cross_join(first).filter(_.week >= _.first).select("week")
    empty = sorted(landed.anti_join(sold, "week").week.to_pyarrow().to_pylist())
    if empty:
        raise EmptyWeekError(
            f"pos_lines has no line in week {', '.join(map(str, empty))}, whose sales should have landed: a feed is "
            "missing, and zero-filling it would teach the model that nobody bought. Ingest the week and run again."
        )


def _write(lake: Lake, view: View, tables: Sources, features_dir: Path) -> int:
    expression = view.build(tables).order_by(["event_timestamp", *view.entities])
    target = table_path(features_dir, view.name)
    target.parent.mkdir(exist_ok=True)
    partial = target.with_suffix(".partial")
    (rows,) = lake.connection.execute(
        f"COPY ({ibis.to_sql(expression, dialect='duckdb')}) TO '{partial}' (FORMAT parquet)"
    ).fetchone() or (0,)
    partial.replace(target)
    return int(rows)


def _digest(lake: Lake, as_of: datetime) -> str:
    total = sha256(as_of.isoformat().encode())
    for contract in CONTRACTS:
        for part in lake.parts(contract.table):
            total.update(part.name.encode())
    here = Path(__file__).parent
    for module in sorted([*here.glob("transformations/*.py"), here / "catalog.py", here / "build.py"]):
        total.update(module.read_bytes())
    return total.hexdigest()
