"""Step: what other policies would have brought where the platform decided, from its own log and the sales since."""

from datetime import datetime, timedelta

import pandas as pd

from flows.steps.outcomes import realised
from flows.steps.progress import Progress, silent
from poplift.assumptions import Assumptions
from poplift.decision_table import TABLE, land_decisions
from poplift.lake import Lake
from poplift.market_week import LOCAL_TIME, SALES_DELAY, day_number
from poplift.settings import Settings
from training.off_policy.estimators import OffPolicyError
from training.off_policy.platform_log import HISTORY_WEEKS, Valued, value_policies


def value_log(settings: Settings, progress: Progress = silent) -> Valued:
    """Value every policy to beat on the decisions whose week has closed and landed, as known now.

    Raises OffPolicyError where the log cannot tell, LakeError where nothing was ingested.
    """
    as_of = settings.now()
    lake = Lake(settings.lake_dir, threads=settings.threads)
    progress("decisions of the log")
    land_decisions(settings.decisions_dir, lake)
    decisions = _decided(lake, as_of=as_of)
    if decisions.empty:
        raise OffPolicyError("off-policy: no decision was logged yet for a week whose sales are in")
    progress("sales of the decided weeks")
    opened = decisions["week_starts_at"].min().tz_convert(LOCAL_TIME).date()
    first_day = day_number(opened - timedelta(weeks=HISTORY_WEEKS))
    cells = realised(settings, as_of=as_of, first_day=first_day)
    progress("values")
    return value_policies(decisions, cells, assumptions=Assumptions(), seed=settings.seed)


def _decided(lake: Lake, *, as_of: datetime) -> pd.DataFrame:
    """The newest decision of every outlet, ppg and week that is over; asked again, the last answer is what stood."""
    if not lake.parts(TABLE):
        return pd.DataFrame()
    return lake.connection.sql(
        "SELECT outlet_id, ppg_id, week, week_starts_at, activation, arm, candidates, propensities "
        f"FROM ({lake.query(TABLE, as_of=as_of)}) "
        f"JOIN (SELECT week, starts_at, closes_at FROM ({lake.query('weeks', as_of=as_of)})) "
        "ON starts_at = week_starts_at "
        f"WHERE closes_at <= TIMESTAMPTZ '{(as_of - SALES_DELAY).isoformat()}' "
        "QUALIFY row_number() OVER (PARTITION BY outlet_id, ppg_id, week "
        "ORDER BY decided_at DESC, decision_id DESC) = 1"
    ).df()
