"""What champion and challenger said of the same questions, beside what was sold once that is known."""

from datetime import datetime
from pathlib import Path

import duckdb
import pandas as pd

from monitoring.outcomes import REALISED, open_log, said_of_what_ran


def answered_twice(
    decisions_dir: Path, *, champion: str, challenger: str, realised: pd.DataFrame | None, as_of: datetime
) -> pd.DataFrame:
    """One row per decision up to `as_of` that both releases gave, one to the outlet and one in the shadow; sorted.

    `by_challenger`: who answered. `*_said`: predicted transactions of what was served; `is_changed`: the other release
    would have recommended another activation (None for a plan that was asked about). With `realised` (REALISED), week,
    transactions and `*_predicted` of what really ran; `is_judged` is the newest such pair of an outlet, ppg and week
    that was answered from features, not from defaults.
    """
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        if not open_log(connection, decisions_dir, as_of):
            return pd.DataFrame()
        kinds = {name: "str" if name.endswith("_id") else "float64" for name in REALISED}
        nothing = pd.DataFrame(columns=list(REALISED)).astype(kinds)
        connection.register("realised", (nothing if realised is None else realised)[list(REALISED)])
        return connection.execute(_PAIRS, {"champion": champion, "challenger": challenger}).df()


_PAIRS = f"""
WITH pair AS (
    SELECT served.*, served.release_id = $challenger AS by_challenger,
        CASE WHEN by_challenger THEN served ELSE shadow END AS b,
        CASE WHEN by_challenger THEN shadow ELSE served END AS a,
        shadow.milliseconds AS shadow_took, shadow.served_milliseconds AS served_took,
        CASE WHEN served.kind = 'recommendation' THEN shadow.activation <> served.activation END AS is_changed
    FROM log AS served JOIN log AS shadow ON shadow.shadow_of = served.decision_id AND shadow.kind = 'shadow'
    WHERE (served.release_id, shadow.release_id) IN (($champion, $challenger), ($challenger, $champion))
),
followed AS (
    SELECT pair.* EXCLUDE (shadow_of, milliseconds, served_milliseconds),
        r.week, r.transactions, r.display, r.mailer, r.price_cut
    FROM pair LEFT JOIN realised r USING (outlet_id, ppg_id, week_start_day)
),
ran AS (
    SELECT *, CASE WHEN week IS NOT NULL THEN {said_of_what_ran("a.candidates")}.transactions END AS champion_predicted,
        CASE WHEN week IS NOT NULL THEN {said_of_what_ran("b.candidates")}.transactions END AS challenger_predicted,
        champion_predicted IS NOT NULL AND challenger_predicted IS NOT NULL
            AND NOT a.degraded AND NOT b.degraded AS can_be
    FROM followed
)
SELECT decision_id, kind, outlet_id, ppg_id, week_start_day, wall_time, by_challenger, is_changed,
    a.degraded AS champion_degraded, b.degraded AS challenger_degraded,
    list_filter(a.candidates, c -> c.activation = activation)[1].transactions AS champion_said,
    list_filter(b.candidates, c -> c.activation = activation)[1].transactions AS challenger_said,
    CASE WHEN by_challenger THEN shadow_took ELSE served_took END AS champion_ms,
    CASE WHEN by_challenger THEN served_took ELSE shadow_took END AS challenger_ms,
    week, transactions, champion_predicted, challenger_predicted,
    can_be AND row_number() OVER (
        PARTITION BY outlet_id, ppg_id, week_start_day, can_be ORDER BY wall_time DESC, decision_id
    ) = 1 AS is_judged
FROM ran ORDER BY week_start_day, outlet_id, ppg_id, wall_time, decision_id
"""
