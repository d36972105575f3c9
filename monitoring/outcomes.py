"""What became of decisions: the realised sales of the decided week beside what was predicted, once they are known."""

from datetime import datetime
from pathlib import Path

import duckdb
import pandas as pd

KEYS = ("outlet_id", "ppg_id", "week_start_day")
REALISED = (*KEYS, "week", "transactions", "units", "display", "mailer", "price_cut")
CUT_APART = 0.05  # share of the regular price: a candidate whose cut is further off is another activation
JUDGED = "judged"

_CANDIDATE = (
    "STRUCT(activation STRUCT(display BOOLEAN, mailer BOOLEAN, price_cut DOUBLE), transactions DOUBLE, "
    "transactions_low DOUBLE, transactions_high DOUBLE, units DOUBLE)"
)
_COLUMNS = {
    "decision_id": "VARCHAR",
    "kind": "VARCHAR",
    "wall_time": "TIMESTAMPTZ",
    "business_time": "TIMESTAMPTZ",
    "week_start": "DATE",
    "outlet_id": "VARCHAR",
    "ppg_id": "VARCHAR",
    "release_id": "VARCHAR",
    "degraded": "BOOLEAN",
    "activation": "STRUCT(display BOOLEAN, mailer BOOLEAN, price_cut DOUBLE)",
    "candidates": f"{_CANDIDATE}[]",
    "shadow_of": "VARCHAR",
    "milliseconds": "DOUBLE",
    "served_milliseconds": "DOUBLE",
}


class RealisedError(ValueError):
    """The realised sales cannot be joined; the message says which columns are missing."""


def decided_weeks(decisions_dir: Path, *, as_of: datetime) -> tuple[int, ...]:
    """First days (since 1970-01-01) of the weeks that decisions made up to `as_of` are about, oldest first."""
    with duckdb.connect() as connection:
        if not open_log(connection, decisions_dir, as_of):
            return ()
        rows = connection.execute("SELECT DISTINCT week_start_day FROM log ORDER BY 1").fetchall()
    return tuple(int(day) for (day,) in rows)


def join_outcomes(decisions_dir: Path, realised: pd.DataFrame, *, as_of: datetime) -> pd.DataFrame:
    """One row per decision made up to `as_of` whose week is in `realised`, sorted; the same inputs, the same rows.

    `realised` has one row per outlet, ppg and week as known at `as_of`: REALISED, the last three being what really
    ran. `prediction`, `low`, `high` (transactions) and `predicted_units` are those that were given for what ran:
    what was predicted for an activation that nobody ran is right or wrong about nothing. `state` is `judged`,
    `degraded` (answered from defaults), `ran_otherwise` (no candidate is what ran) or `superseded` (the same
    release decided the same cell again later). What a release said in the shadow of another is no decision.
    """
    absent = [name for name in REALISED if name not in realised.columns]
    if absent:
        raise RealisedError(f"the realised sales lack {', '.join(absent)}")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        if not open_log(connection, decisions_dir, as_of):
            return pd.DataFrame()
        connection.register("realised", realised[list(REALISED)])
        return connection.execute(_JOIN).df()


def open_log(connection: duckdb.DuckDBPyConnection, decisions_dir: Path, as_of: datetime) -> bool:
    """Make the view `log` of whole lines, one a decision; False without any file.

    A torn line is the end of a file whose writer wrote it again elsewhere, so a decision may also be there twice.
    """
    files = [str(path) for path in sorted(decisions_dir.glob("*.jsonl"))]
    if not files:
        return False
    connection.execute("SET TimeZone = 'UTC'")
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in _COLUMNS.items())
    connection.execute(
        f"CREATE TEMP TABLE log AS SELECT *, datediff('day', DATE '1970-01-01', week_start) AS week_start_day FROM "
        f"read_json(?, format = 'newline_delimited', columns = {{{columns}}}, ignore_errors = true) "
        "WHERE decision_id IS NOT NULL AND business_time <= ?::TIMESTAMPTZ "
        "QUALIFY row_number() OVER (PARTITION BY decision_id ORDER BY wall_time) = 1",
        [files, as_of.isoformat()],
    )
    return True


def said_of_what_ran(candidates: str) -> str:
    """SQL: the candidate of a list that is what ran (display, mailer, price_cut); NULL where none is."""
    return f"""list_sort(list_filter(
        list_transform(
            list_filter({candidates}, c -> c.activation.display = (display > 0) AND c.activation.mailer = (mailer > 0)),
            c -> {{'apart': abs(c.activation.price_cut - price_cut), 'candidate': c}}
        ),
        p -> p.apart <= {CUT_APART}
    ))[1].candidate"""


_JOIN = f"""
WITH followed AS (
    SELECT log.*, r.week, r.transactions, r.units, r.display, r.mailer, r.price_cut,
        row_number() OVER (
            PARTITION BY release_id, outlet_id, ppg_id, week_start_day ORDER BY wall_time DESC, decision_id
        ) AS newest
    FROM log JOIN realised r USING (outlet_id, ppg_id, week_start_day)
    WHERE kind IS DISTINCT FROM 'shadow'
),
ran AS (SELECT *, {said_of_what_ran("candidates")} AS said FROM followed)
SELECT decision_id, kind, release_id, outlet_id, ppg_id, week, week_start_day, business_time, wall_time,
    activation.display AS recommended_display, activation.mailer AS recommended_mailer,
    activation.price_cut AS recommended_price_cut,
    display > 0 AS ran_display, mailer > 0 AS ran_mailer, price_cut AS ran_price_cut,
    coalesce(
        activation.display = (display > 0) AND activation.mailer = (mailer > 0)
        AND abs(activation.price_cut - price_cut) <= {CUT_APART}, false
    ) AS was_followed,
    said.transactions AS prediction, said.transactions_low AS low, said.transactions_high AS high,
    said.units AS predicted_units, transactions, units,
    CASE WHEN newest > 1 THEN 'superseded' WHEN degraded THEN 'degraded' WHEN said IS NULL THEN 'ran_otherwise'
        ELSE '{JUDGED}' END AS state
FROM ran ORDER BY week_start_day, outlet_id, ppg_id, wall_time, decision_id
"""
