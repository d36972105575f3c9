"""From the tables of the lake to observations: the panel of what was run, outlet attributes and the calendar."""

from dataclasses import dataclass

import ibis
import numpy as np
import pandas as pd
from ibis import _

from feature_repo.transformations.observed_panel import observed_panel
from feature_repo.transformations.season import season
from feature_repo.transformations.sources import Sources
from poplift.market_week import LOCAL_TIME
from training.effects.observations import Observations, observe

WEEKS_A_YEAR = 52
FEWEST_FOR_SEASON = 2 * WEEKS_A_YEAR  # with less, the phase of the year is another name for time


@dataclass(frozen=True)
class Reports:
    """Tables that not every lake has; None where nothing was ever reported."""

    decisions: ibis.Table | None = None
    executions: ibis.Table | None = None
    availability: ibis.Table | None = None
    profiles: ibis.Table | None = None


def observations_of(sources: Sources, reports: Reports) -> Observations:
    """Everything that effects may be estimated from, as known when the tables were read.

    Raises ObservationError when it is too little. Outlets are told apart by their traffic, and by income and coolers
    where a profile says them.
    """
    panel = observed_panel(
        sources, decisions=reports.decisions, executions=reports.executions, availability=reports.availability
    ).to_pandas()
    outlets = outlet_attributes(sources, reports.profiles)
    attributes = tuple(name for name in outlets.columns if name != "outlet_id")
    return observe(panel, outlets=outlets, calendar=calendar(sources), attributes=attributes)


def outlet_attributes(sources: Sources, profiles: ibis.Table | None) -> pd.DataFrame:
    """Grain: managed outlet. Columns: outlet_id, size (log of all its baskets), income and coolers if told."""
    managed = sources.outlets.filter(_.is_managed).select("outlet_id")
    traffic = sources.pos_lines.group_by("outlet_id").aggregate(baskets=_.basket_id.nunique())
    frame = managed.left_join(traffic, "outlet_id").select("outlet_id", "baskets").to_pandas()
    made = pd.DataFrame({"outlet_id": frame["outlet_id"], "size": np.log1p(frame["baskets"].fillna(0.0))})
    if profiles is None:
        return made
    told = profiles.select("outlet_id", "income", "coolers").to_pandas()
    joined = made.merge(told, on="outlet_id", how="left")
    for name in ("income", "coolers"):
        values = joined[name].astype("float64")
        if values.notna().any():
            made[name] = values.fillna(values.mean()).to_numpy()
    return made


def calendar(sources: Sources) -> pd.DataFrame:
    """Grain: week. Columns: week, season_sin, season_cos (zero with less than two years), holiday (0/1)."""
    weeks = sources.weeks.select("week", "starts_at").to_pandas().sort_values("week", ignore_index=True)
    first, last = sources.pos_lines.aggregate(first=_.week.min(), last=_.week.max()).to_pandas().iloc[0]
    local = pd.to_datetime(weeks["starts_at"], utc=True).dt.tz_convert(LOCAL_TIME).dt.tz_localize(None)
    days = local.to_numpy().astype("datetime64[D]").astype("int64")
    angle = 2 * np.pi * days / 365.25 * float(last - first + 1 >= FEWEST_FOR_SEASON)
    return pd.DataFrame(
        {
            "week": weeks["week"],
            "season_sin": np.sin(angle),
            "season_cos": np.cos(angle),
            "holiday": (season(days)["weeks_to_holiday"] == 0).astype("int64"),
        }
    )
