"""Running features of the open week, kept in step with the lines as they arrive.

The batch build and this module run the same expression; here it sees only the lines of the cells that a batch touched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import ibis
import pyarrow as pa

from feature_repo.catalog import RUNNING_VIEWS
from feature_repo.transformations.outlet_ppg_running import CELL, LINE, outlet_ppg_running
from feature_repo.versions import table_path
from poplift.arrivals import (
    LINES,
    OPEN_WEEK,
    TAKEN,
    Arrival,
    Arrivals,
    Taken,
    open_week,
    open_week_lines,
    reference,
)
from poplift.contracts.schema import Kind
from poplift.contracts.tables import contract
from poplift.feature_store import FeatureStoreError, OnlineWriter
from poplift.lake import Lake
from poplift.settings import Settings

VIEW = RUNNING_VIEWS[0]
_KEY, _CELL = ", ".join(LINE), ", ".join(CELL)
_TYPES: Mapping[Kind, str] = {
    "string": "string",
    "int": "int64",
    "float": "float64",
    "bool": "boolean",
    "timestamp": "timestamp('UTC', 6)",
}
_MANAGED, _SOLD = "live_managed_products", "live_managed_lines"
_TOUCHED, _BESIDE = "live_touched_cells", "live_cell_lines"


@dataclass(frozen=True)
class _OpenWeek:
    pos_lines: ibis.Table
    products: ibis.Table
    outlets: ibis.Table
    weeks: ibis.Table


class RunningWeek:
    """The open week of one lake: takes lines, gives the feature rows that changed, lands the lines when told to."""

    def __init__(self, lake: Lake, *, as_of: datetime) -> None:
        """Load the open week from the lake; raises LakeError when it has no calendar, catalogue or outlets."""
        self._connection = lake.connection
        self.arrivals = Arrivals(lake, as_of=as_of)
        self._keep()

    def load(self, *, as_of: datetime) -> None:
        """Read the lake anew: another week has opened, or somebody else has written."""
        self.arrivals.load(as_of=as_of)
        self._keep()

    def rows(self) -> pa.Table:
        """Every cell of the open week: entity columns, features and both timestamps; empty when no week is open."""
        self._create(_BESIDE, f"FROM {_SOLD}")
        return self._connection.sql(_compiled()).to_arrow_table()

    def take(self, arrivals: Sequence[Arrival], *, as_of: datetime) -> tuple[Taken, pa.Table]:
        """Take a batch of lines; what became of them, and the feature rows of the cells it changed.

        When the week in memory has closed, the next one is loaded first and every cell of it is returned.
        """
        rolled = self.arrivals.has_closed(as_of=as_of)
        if rolled:
            self.load(as_of=as_of)
        taken = self.arrivals.take(arrivals, as_of=as_of)
        self._connection.sql(f"INSERT INTO {_SOLD} FROM {TAKEN} SEMI JOIN {_MANAGED} USING (product_id)")
        return taken, self.rows() if rolled else self._changed()

    def _keep(self) -> None:
        """Pick the lines of managed products, a small part of all, which every batch is compared with."""
        products = reference("products")
        self._create(_MANAGED, f"SELECT product_id, ppg_id FROM {products} WHERE ppg_id IS NOT NULL")
        self._create(_SOLD, f"FROM {LINES} SEMI JOIN {_MANAGED} USING (product_id)")

    def _changed(self) -> pa.Table:
        # A line that was moved to another cell changes the one it left too.
        self._create(
            _TOUCHED,
            f"SELECT DISTINCT {_CELL} FROM {_SOLD} SEMI JOIN {TAKEN} USING ({_KEY}) SEMI JOIN {OPEN_WEEK} USING (week) "
            f"JOIN {_MANAGED} USING (product_id)",
        )
        self._create(
            _BESIDE,
            f"FROM {_SOLD} SEMI JOIN (SELECT {_KEY} FROM {_SOLD} JOIN {_MANAGED} USING (product_id) "
            f"SEMI JOIN {_TOUCHED} USING ({_CELL})) USING ({_KEY})",
        )
        changed = f"SELECT * FROM ({_compiled()}) SEMI JOIN {_TOUCHED} USING ({_CELL})"
        return self._connection.sql(changed).to_arrow_table()

    def _create(self, table: str, query: str) -> None:
        self._connection.sql(f"CREATE OR REPLACE TEMP TABLE {table} AS {query}")


class RunningWriter:
    """Writes rows of the running view to the online store; made once per process, which takes seconds."""

    def __init__(self, settings: Settings) -> None:
        """Raises FeatureStoreError when the view is not registered."""
        self._online = OnlineWriter(settings, view=VIEW.name)

    def write(self, rows: pa.Table) -> None:
        """Store rows with the columns of RunningWeek.rows; raises FeatureStoreError when the store does not."""
        if not len(rows):
            return
        try:
            self._online.write(rows)
        except Exception as error:
            raise FeatureStoreError(f"view {VIEW.name}: {len(rows)} rows were not written online ({error})") from error


def recomputed(lake: Lake, *, as_of: datetime) -> pa.Table:
    """The rows of the running view from what has landed in the lake by `as_of`; raises LakeError for an empty lake."""
    queries = {
        _BESIDE: open_week_lines(lake, as_of=as_of),
        reference("products"): lake.query("products", as_of=as_of),
        reference("outlets"): lake.query("outlets", as_of=as_of),
        OPEN_WEEK: open_week(lake, as_of=as_of),
    }
    tables = ", ".join(f"{name} AS ({query})" for name, query in queries.items())
    return lake.connection.sql(f"WITH {tables} SELECT * FROM ({_compiled()})").to_arrow_table()


def write_table(lake: Lake, *, features_dir: Path, as_of: datetime) -> int:
    """Replace the table that Feast reads by the open week as of `as_of`, unless it says the same; returns its rows.

    It holds no history: of a week that has closed the batch views tell what is left to know.
    """
    import pyarrow.parquet as pq

    target = table_path(features_dir, VIEW.name) / "features.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    rows = recomputed(lake, as_of=as_of).sort_by([(key, "ascending") for key in VIEW.entities])
    if target.exists() and pq.read_table(target).equals(rows):
        return len(rows)
    partial = target.with_suffix(".partial")
    pq.write_table(rows, partial)
    partial.replace(target)
    return len(rows)


@cache
def _compiled() -> str:
    """The expression over the tables of Arrivals; to write it out takes longer than to run it."""
    return str(
        ibis.to_sql(
            outlet_ppg_running(
                _OpenWeek(
                    pos_lines=_table(_BESIDE, "pos_lines"),
                    products=_table(reference("products"), "products"),
                    outlets=_table(reference("outlets"), "outlets"),
                    weeks=_table(OPEN_WEEK, "weeks"),
                )
            ),
            dialect="duckdb",
        )
    )


def _table(name: str, table: str) -> ibis.Table:
    return ibis.table({c.name: _TYPES[c.kind] for c in contract(table).columns}, name=name)
