"""What the platform earned: its own experiment's answer, and beside it what only the simulation knows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitoring.experiments.cuped import adjusted_difference
from monitoring.experiments.outcomes import Weekly, before, weekly
from poplift.assumptions import Assumptions
from poplift.margin import give_away_usd, margin_usd, placement_cost_usd
from poplift.statistics import Interval

METRICS = ("net_margin_usd", "transactions", "trade_spend_usd")
PARTS = ("units", "base_price", "price_cut", "display", "mailer")


@dataclass(frozen=True)
class Arms:
    """Outlet-weeks as the platform knows them, those of the same luck under account managers, and who was whose.

    `usual` is what only a simulation has. `is_platform` is by outlet; the platform decides from `first_week` on.
    """

    seen: pd.DataFrame
    usual: pd.DataFrame
    is_platform: dict[str, bool]
    first_week: int


@dataclass(frozen=True)
class Measured:
    """One metric per outlet and week: what the experiment says, what was true, and the level under the status quo.

    `beside` is what the platform changed in the outlets left to account managers, who answer to the chain's sales.
    """

    metric: str
    experiment: Interval
    comparison: float  # what the experiment takes the platform's outlets to have had without it
    truth: float
    status_quo: float  # and what they really would have had
    beside: float

    @property
    def holds_truth(self) -> bool:
        """Whether the experiment's interval holds the hidden truth."""
        return self.experiment.low <= self.truth <= self.experiment.high


def outlet_weeks(panel: pd.DataFrame, assumptions: Assumptions) -> pd.DataFrame:
    """Grain: outlet x week. Columns: outlet_id, week, and METRICS summed over the own ppgs."""
    value = {name: panel[name].to_numpy(np.float64) for name in PARTS}
    cost = placement_cost_usd(value["display"], value["mailer"], assumptions=assumptions)
    margin = margin_usd(
        value["units"], base_price=value["base_price"], price_cut=value["price_cut"], assumptions=assumptions
    )
    given = give_away_usd(value["units"], base_price=value["base_price"], price_cut=value["price_cut"])
    rows = panel[["outlet_id", "week", "transactions"]].assign(
        net_margin_usd=margin - cost, trade_spend_usd=cost + given
    )
    return rows.groupby(["outlet_id", "week"], as_index=False)[list(METRICS)].sum()


def measure(arms: Arms) -> tuple[Measured, ...]:
    """Every metric, platform outlets against the ones left to account managers, per outlet and week.

    The experiment is adjusted for the weeks before and clustered by outlet; the truth is the platform outlets against
    themselves under account managers, on the same luck.
    """
    found = []
    for metric in METRICS:
        seen, twin, treated = _both(arms, metric)
        after, as_usual = (_after(one, arms).mean(axis=1) for one in (seen, twin))
        interval = adjusted_difference(after, treated, before(seen, arms.first_week)).interval()
        changed = after - as_usual
        found.append(
            Measured(
                metric,
                experiment=interval,
                comparison=float(after[treated].mean()) - interval.estimate,
                truth=float(changed[treated].mean()),
                status_quo=float(as_usual[treated].mean()),
                beside=float(changed[~treated].mean()),
            )
        )
    return tuple(found)


def cumulative(arms: Arms) -> pd.DataFrame:
    """Net margin earned so far per platform outlet. Columns: week, measured, low, high, truth (USD)."""
    seen, twin, treated = _both(arms, "net_margin_usd")
    covariates = before(seen, arms.first_week)
    weeks = [week for week in seen.weeks if week >= arms.first_week]
    rows = []
    for count, week in enumerate(weeks, start=1):
        so_far, as_usual = (_after(one, arms)[:, :count].sum(axis=1) for one in (seen, twin))
        interval = adjusted_difference(so_far, treated, covariates).interval()
        true = float((so_far - as_usual)[treated].mean())
        rows.append((week, interval.estimate, interval.low, interval.high, true))
    return pd.DataFrame(rows, columns=["week", "measured", "low", "high", "truth"])


def _both(arms: Arms, metric: str) -> tuple[Weekly, Weekly, NDArray[np.bool_]]:
    seen = weekly(arms.seen, metric)
    twin = weekly(arms.usual, metric).only(seen.outlets)
    return seen, twin, np.array([arms.is_platform[outlet] for outlet in seen.outlets])


def _after(metric: Weekly, arms: Arms) -> NDArray[np.float64]:
    return metric.between(arms.first_week, metric.weeks[-1])
