"""Step: join decisions with the sales of their week, and hold every release that decided to its promise."""

from datetime import datetime
from pathlib import Path

import pandas as pd

from feature_repo.build import sources
from feature_repo.transformations.observed_panel import observed_panel
from flows.steps.progress import Progress, silent
from monitoring.outcomes import decided_weeks, join_outcomes
from monitoring.promise import Kept, Promise, keep, promise
from poplift.lake import Lake
from poplift.market_week import LOCAL_TIME
from poplift.settings import Settings
from serving import release
from serving.release import ReleaseError
from serving.scoring import score
from training.folds import HOLDOUT_WEEKS


def outcomes_path(settings: Settings, as_of: datetime) -> Path:
    """Where the outcomes known at an instant are kept: a later instant has a file of its own."""
    return settings.home / "outcomes" / f"{as_of:%Y%m%dT%H%M%SZ}.parquet"


def decision_outcomes(settings: Settings, progress: Progress = silent) -> pd.DataFrame:
    """Every decision whose week's sales are known now, written to `outcomes_path`; no rows before there is one.

    The same log, lake and instant write the same file. A correction that became known later changes the figures of
    later instants only.
    """
    as_of = settings.now()
    weeks = decided_weeks(settings.decisions_dir, as_of=as_of)
    if not weeks:
        return pd.DataFrame()
    progress("sales of the decided weeks")
    sold = realised(settings, as_of=as_of, first_day=weeks[0])
    joined = join_outcomes(settings.decisions_dir, sold, as_of=as_of)
    if len(joined):
        path = outcomes_path(settings, as_of)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        joined.to_parquet(partial, index=False, coerce_timestamps="us", allow_truncated_timestamps=True)
        partial.replace(path)
    return joined


def realised(settings: Settings, *, as_of: datetime, first_day: int) -> pd.DataFrame:
    """Sales, and what really ran, of managed outlets and ppgs in the weeks from `first_day` on that have landed.

    What an outlet reported to have run or refused counts before the plans of the chain.
    """
    lake = Lake(settings.lake_dir, threads=settings.threads)
    tables = sources(lake, as_of=as_of)
    weeks = tables.weeks.select("week", "starts_at").to_pandas()
    local = pd.to_datetime(weeks["starts_at"], utc=True).dt.tz_convert(LOCAL_TIME).dt.tz_localize(None)
    weeks = weeks.assign(week_start_day=local.to_numpy().astype("datetime64[D]").astype("int64"))
    wanted = [int(week) for week in weeks.loc[weeks["week_start_day"] >= first_day, "week"]]
    reports = {name: lake.read(name, as_of=as_of) for name in ("decisions", "executions") if lake.parts(name)}
    cells = observed_panel(tables, **reports)
    sold: pd.DataFrame = cells.filter(cells.week.isin(wanted)).to_pandas()
    return sold.merge(weeks[["week", "week_start_day"]], on="week")


def kept_promises(settings: Settings, progress: Progress = silent, *, frame: pd.DataFrame) -> tuple[Kept, ...]:
    """How each release did on its decisions, the one that decided last first; `frame` is the training set."""
    joined = decision_outcomes(settings, progress)
    if joined.empty:
        return ()
    newest = joined.groupby("release_id")["wall_time"].max().sort_values(ascending=False)
    return tuple(
        keep(joined, release_id=str(one), promised=_promise(settings, str(one), frame), seed=settings.seed)
        for one in newest.index
    )


def _promise(settings: Settings, release_id: str, frame: pd.DataFrame) -> Promise | None:
    """The release's forecasts of the weeks that were held out when it was trained; None when it is gone."""
    try:
        loaded = release.load(settings.releases_dir / release_id)
    except ReleaseError:
        return None
    through = int(loaded.plan["trained_through_week"])
    held_out = frame[(frame["week"] > through) & (frame["week"] <= through + HOLDOUT_WEEKS)]
    if held_out.empty:
        return None
    said = score(loaded, held_out)
    return promise(held_out.assign(prediction=said.transactions, low=said.low, high=said.high))
