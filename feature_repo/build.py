"""From the lake to the feature tables that Feast reads: what every view said at every instant, and when it knew."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import ibis
from filelock import FileLock
from ibis import _

from feature_repo.catalog import BUILT, View
from feature_repo.effects import ensure_table
from feature_repo.knowledge import is_backdated, replay_instants
from feature_repo.transformations.sources import Sources
from feature_repo.versions import STORE, State, Table, table_path
from poplift.contracts.tables import CONTRACTS
from poplift.lake import Lake
from poplift.market_week import SALES_DELAY

__all__ = ["Built", "EmptyWeekError", "build", "grow_tables", "refuse_empty_weeks", "sources", "table_path"]


class Compute(Protocol):
    """Where the lake is read and views are computed: here, or by Spark (`feature_repo.spark_build`)."""

    def sources(self, lake: Lake, *, as_of: datetime) -> Sources:
        """The lake's tables as known at `as_of`."""
        ...

    def query(self, view: View, tables: Sources) -> str:
        """SQL of the lake's connection that gives the rows of a view."""
        ...


class DuckDBCompute:
    """The lake's own connection does it all."""

    def sources(self, lake: Lake, *, as_of: datetime) -> Sources:
        """The lake's tables as known at `as_of`."""
        return sources(lake, as_of=as_of)

    def query(self, view: View, tables: Sources) -> str:
        """The view as one statement."""
        return str(ibis.to_sql(view.build(tables), dialect="duckdb"))


class EmptyWeekError(Exception):
    """A week without a single POS line: a feed that did not arrive must not be read as a week of zero sales."""


@dataclass(frozen=True)
class Built:
    """What one build left; `rows` are row versions, `is_new` is False when lake, instant and code were the last's."""

    digest: str
    rows: dict[str, int]
    is_new: bool


def build(
    lake: Lake,
    *,
    features_dir: Path,
    as_of: datetime,
    progress: Callable[[str], None] = lambda _: None,
    compute: Compute | None = None,
) -> Built:
    """Bring the table of every view of the catalog up to `as_of`; raises LakeError or EmptyWeekError.

    A row whose values are those of before is not written again; one that differs is a new version, known from the
    instant that first saw it. Other code, or a lake whose past was added to, makes the tables anew.
    """
    record = features_dir / "built.json"
    digest = _digest(lake, as_of)
    if record.exists():
        stored = json.loads(record.read_text())
        if stored["digest"] == digest and all(table_path(features_dir, v.name).exists() for v in BUILT):
            return Built(digest, stored["rows"], is_new=False)
    ensure_table(features_dir)
    with FileLock(features_dir / ".lock"):
        record.unlink(missing_ok=True)  # a build that dies half-way must not pass for the one before it
        rows = grow_tables(lake, BUILT, features_dir=features_dir, as_of=as_of, progress=progress, compute=compute)
        built = Built(digest, rows, is_new=True)
        partial = record.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(built)))
        partial.replace(record)
    return built


def grow_tables(
    lake: Lake,
    views: Sequence[View],
    *,
    features_dir: Path,
    as_of: datetime,
    progress: Callable[[str], None],
    weeks: tuple[int, int] | None = None,
    compute: Compute | None = None,
) -> dict[str, int]:
    """Compute these views at every instant that counts and publish them; row versions per view.

    With `weeks` the views are made anew and every decision instant of the range is computed; a run that died goes
    on behind the last instant it finished. The caller holds the lock of `features_dir`.
    """
    compute = compute or DuckDBCompute()
    for left in (features_dir / STORE).glob(".*"):
        left.unlink()
    parts = _parts(lake)
    growing = [_Growing.open(lake, view, features_dir, parts=parts, weeks=weeks) for view in views]
    after = min((g.state.through for g in growing if g.state.through), default=None)
    behind = any(g.state.through is None for g in growing)
    builds = {b for g in growing for b in g.state.builds}
    instants = replay_instants(lake, as_of=as_of, after=None if behind else after, builds=builds, weeks=weeks)
    for number, instant in enumerate(instants, start=1):
        due = [g for g in growing if g.state.through is None or g.state.through < instant]
        if not due:
            continue
        tables = _as_known(compute, lake, instant, is_last=instant == as_of)
        for view in due:
            many = f", as of {instant:%Y-%m-%d}, {number} of {len(instants)}" if len(instants) > 1 else ""
            progress(f"{view.view.name}{many}")
            query = None if tables is None else compute.query(view.view, tables)
            view.grow(lake, query, instant)
    for view in growing:
        view.table.publish(view.state, parts=parts, as_of=as_of, is_pending=view.is_pending)
    return {g.view.name: g.table.rows(lake.connection) for g in growing}


@dataclass
class _Growing:
    """One view on its way to `as_of`."""

    view: View
    table: Table
    state: State
    is_pending: bool

    @classmethod
    def open(
        cls, lake: Lake, view: View, features_dir: Path, *, parts: Sequence[str], weeks: tuple[int, int] | None
    ) -> "_Growing":
        """Go on with the table that is read, else with a making that was not finished, else anew."""
        table = Table(features_dir, view.name, view.entities, [f.name for f in view.features])
        code = _code(view)
        for state, is_pending in ((table.current, False), (table.pending, True)):
            is_asked = is_pending and state and state.weeks == weeks if weeks else True
            if state and is_asked and _goes_on(lake, state, code=code, parts=parts):
                return cls(view, table, state, is_pending)
        return cls(view, table, table.begin(code=code, parts=parts, weeks=weeks), is_pending=True)

    def grow(self, lake: Lake, query: str | None, instant: datetime) -> None:
        """Add what became known at `instant`; nothing was, when there is no query."""
        self.state = self.table.grow(
            self.state, query, instant=instant, connection=lake.connection, is_pending=self.is_pending
        )


def _goes_on(lake: Lake, state: State, *, code: str, parts: Sequence[str]) -> bool:
    """Whether the table says what this code says of this lake, as far as it got."""
    if state.code != code or not set(state.parts) <= set(parts):
        return False
    added = [lake.root / part for part in sorted(set(parts) - set(state.parts))]
    return state.through is None or not is_backdated(lake, added, through=state.through)


def _as_known(compute: Compute, lake: Lake, instant: datetime, *, is_last: bool) -> Sources | None:
    """What was known at `instant`; where a week was missing then, what a build knew before that week."""
    tables = compute.sources(lake, as_of=instant)
    if is_last:
        refuse_empty_weeks(tables, as_of=instant)
        return tables
    empty = empty_weeks(tables, as_of=instant)
    known = tables.pos_lines.filter(_.week < empty[0]) if empty else tables.pos_lines
    return replace(tables, pos_lines=known) if known.count().execute() else None


def sources(lake: Lake, *, as_of: datetime) -> Sources:
    """The lake's tables as known at `as_of`; promotions only of the managed assortment, which is all that is used."""
    products, weeks = _snapshot(lake, "products", as_of), _snapshot(lake, "weeks", as_of)
    managed = products.filter(_.ppg_id.notnull()).select("product_id")
    only = {"product_id": managed.product_id.to_pyarrow().to_pylist()}
    return Sources(
        pos_lines=_snapshot(lake, "pos_lines", as_of).semi_join(_landed(weeks, as_of), "week"),
        promotions=_snapshot(lake, "promotions", as_of, only=only).semi_join(managed, "product_id"),
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
    """The table read once into memory when rows have versions, which every view would otherwise compare again.

    `only` is a hint that spares comparing the versions of rows that the caller leaves out.
    """
    if lake.has_unique_keys(table):
        return lake.read(table, as_of=as_of)
    name = f"_snapshot_{table}"
    lake.connection.sql(f"CREATE OR REPLACE TEMP TABLE {name} AS {lake.query(table, as_of=as_of, only=only)}")
    return lake.backend.sql(f"SELECT * FROM {name}")


def empty_weeks(tables: Sources, *, as_of: datetime) -> list[int]:
    """Weeks without a line from the first with sales to the newest landed one, in order."""
    sold = tables.pos_lines.select("week").distinct()
    first = tables.pos_lines.aggregate(first=_.week.min())
    landed = _landed(tables.weeks, as_of).cross_join(first).filter(_.week >= _.first).select("week")
    return sorted(landed.anti_join(sold, "week").week.to_pyarrow().to_pylist())


def refuse_empty_weeks(tables: Sources, *, as_of: datetime) -> None:
    """Raise EmptyWeekError that names the empty weeks, if there are any."""
    empty = empty_weeks(tables, as_of=as_of)
    if empty:
        raise EmptyWeekError(
            f"pos_lines has no line in week {', '.join(map(str, empty))}, whose sales should have landed: a feed is "
            "missing, and zero-filling it would teach the model that nobody bought. Ingest the week and run again."
        )


def _parts(lake: Lake) -> list[str]:
    return [str(part.relative_to(lake.root)) for contract in CONTRACTS for part in lake.parts(contract.table)]


def _code(*views: View) -> str:
    """Digest of everything that decides what the tables of these views hold, apart from the lake."""
    here = Path(__file__).parent
    modules = [*here.glob("transformations/*.py"), *(here / f"{m}.py" for m in ("catalog", "build", "versions"))]
    total = sha256(repr([(v.name, v.entities, [f.name for f in v.features]) for v in views]).encode())
    for module in sorted([*modules, here / "knowledge.py"]):
        total.update(module.read_bytes())
    return total.hexdigest()


def _digest(lake: Lake, as_of: datetime) -> str:
    return sha256("\n".join([as_of.isoformat(), _code(*BUILT), *_parts(lake)]).encode()).hexdigest()
