"""The table of the effect view: every fit is a new event, and what was believed before stays readable as of then."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from feature_repo.catalog import EFFECT_VIEW
from feature_repo.versions import STORE, Table

SUFFICIENT = "sufficient"
KEYS = EFFECT_VIEW.entities
FEATURES = tuple(feature.name for feature in EFFECT_VIEW.features)
TIMES = ("event_timestamp", "created_timestamp")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEVER = "never"  # the recipe of a table that no fit has filled yet


def write_table(effects: pd.DataFrame, *, features_dir: Path, as_of: datetime, recipe: str) -> int:
    """Add a fit as known at `as_of` and return the row versions of the table; the same recipe again adds nothing.

    `effects` has the view's entities, its features but `is_sufficient`, and `evidence`. A second fit at one instant
    takes the place of the first.
    """
    table = _table(features_dir)
    with FileLock(features_dir / ".lock"), duckdb.connect() as connection:
        connection.sql("SET TimeZone = 'UTC'")
        known = table.current
        if known is None or known.code != recipe:
            goes_on = known is not None and known.through is not None and known.through < as_of
            state = known if known is not None and goes_on else table.begin(code=recipe, parts=(), weeks=None)
            if known is not None and not goes_on:
                _keep_others(features_dir / STORE, known.folder, state.folder, but=as_of)
            fitted = effects.assign(is_sufficient=(effects["evidence"] == SUFFICIENT).astype("float64"))
            connection.register("fitted", fitted[[*KEYS, *FEATURES, "evidence"]])
            instant = f"TIMESTAMPTZ '{as_of.isoformat()}'"
            query = f"SELECT *, {instant} AS event_timestamp, {instant} AS created_timestamp FROM fitted"
            grown = table.grow(state, query, instant=as_of, connection=connection, is_pending=not goes_on)
            named = replace(grown, code=recipe)
            table.publish(named, parts=(), as_of=as_of, is_pending=not goes_on)
        return table.rows(connection)


def _keep_others(store: Path, before: str, now: str, *, but: datetime) -> None:
    """Take the fits of other instants along into a new making; a table's files are never changed, so links will do."""
    for part in (store / before).glob("*.parquet"):
        times = pq.read_table(part, columns=["event_timestamp"])["event_timestamp"]
        if len(times) and times[0].as_py() != but:
            os.link(part, store / now / part.name)


def ensure_table(features_dir: Path) -> None:
    """An empty table where there is none, so that the view can be registered before the first fit."""
    table = _table(features_dir)
    with FileLock(features_dir / ".lock"):
        if table.current is None:
            state = table.begin(code=NEVER, parts=(), weeks=None)
            instant = pa.timestamp("us", tz="UTC")
            types = {**dict.fromkeys((*KEYS, "evidence"), pa.string()), **dict.fromkeys(FEATURES, pa.float64())}
            schema = pa.schema({**types, **dict.fromkeys(TIMES, instant)})
            pq.write_table(schema.empty_table(), features_dir / STORE / state.folder / "empty.parquet")
            table.publish(state, parts=(), as_of=EPOCH, is_pending=True)


def fitted_recipe(features_dir: Path) -> str | None:
    """Of what the newest fit was made; None before the first."""
    known = _table(features_dir).current
    return None if known is None or known.code == NEVER else known.code


def _table(features_dir: Path) -> Table:
    features_dir.mkdir(parents=True, exist_ok=True)
    return Table(features_dir, EFFECT_VIEW.name, KEYS, FEATURES)
