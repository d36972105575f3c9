"""The story of the loop: a history, then week by week decide, execute, observe, and every few weeks learn."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from flows.loop.decisions import Decided, Outlets, decide, decision_rows, plan_indices
from flows.loop.feed import Feed
from flows.loop.learning import Learn
from flows.loop.measure import Arms, Measured, cumulative, measure, outlet_weeks
from flows.loop.parameters import LoopParameters
from flows.steps.progress import Progress, silent
from poplift.assignment import is_held_out
from poplift.assumptions import Assumptions
from poplift.market_week import SALES_DELAY
from poplift.sources.complete_journey import week_opens
from poplift.sources.market import observed
from poplift.sources.market.environment import AS_USUAL, Market


@dataclass(frozen=True)
class WeekLog:
    """What the platform did in one week, in cells of its outlets."""

    week: int
    decided: int
    drawn: int
    executed: int


@dataclass(frozen=True)
class LoopResult:
    """Everything the page shows."""

    parameters: LoopParameters
    seed: int
    budget_usd: float
    measured: tuple[Measured, ...]
    cumulative: pd.DataFrame
    weeks: tuple[WeekLog, ...]
    effects: pd.DataFrame
    shares: pd.DataFrame  # activation → share of the cells under the platform and under account managers
    platform_outlets: int

    def of(self, metric: str) -> Measured:
        """One of the measured metrics."""
        return next(one for one in self.measured if one.metric == metric)

    @property
    def spent_usd(self) -> float:
        """What activations in the platform's outlets really cost a week, price cuts and draws included."""
        spend = self.of("trade_spend_usd")
        return (spend.truth + spend.status_quo) * self.platform_outlets

    @property
    def relative(self) -> float:
        """True gain in net margin over the status quo, as a share of it."""
        margin = self.of("net_margin_usd")
        return margin.truth / margin.status_quo


def run_loop(
    parameters: LoopParameters,
    *,
    seed: int,
    feed: Callable[[Market], Feed],
    learn: Learn,
    assumptions: Assumptions,
    progress: Progress = silent,
) -> LoopResult:
    """Play the market with the platform in it, and once more without, on the same luck."""
    market = Market(parameters.market(), seed)
    outlets = _outlets(market, parameters)
    sent = feed(market)
    for week in range(1, parameters.history_weeks + 1):
        sent.send(market.step(), pd.DataFrame())
        if week % 13 == 0:
            progress(f"history, week {week} of {parameters.history_weeks}")
    budget = _usual_budget(market, outlets, assumptions)
    effects, logs = pd.DataFrame(), []
    for number in range(parameters.weeks):
        week = market.week
        at = week_opens(week) + SALES_DELAY
        if number % parameters.refit_every == 0:
            progress(f"week {number + 1} of {parameters.weeks}: learning effects")
            effects = learn(sent.panel(as_of=at), observed.outlets(market), observed.calendar(market))
        planned = plan_indices(effects, outlets, budget_usd=budget, assumptions=assumptions)
        made = decide(planned, outlets, week=week, parameters=parameters, seed=seed)
        market.act(made.executed, propensity=made.propensity)
        rows = decision_rows(
            made, outlets, week=week, opens=week_opens(week), at=at, release="loop", exploration=parameters.exploration
        )
        sent.send(market.step(), rows)
        logs.append(_log(week, made))
    progress("measuring")
    return _measured(market, sent, outlets, parameters, assumptions, effects=effects, logs=logs, budget=budget)


def _outlets(market: Market, parameters: LoopParameters) -> Outlets:
    ids = observed.outlet_ids(market)
    salt = f"loop-{market.seed}"
    kept = [is_held_out(outlet, share=parameters.held_out, salt=salt) for outlet in ids]
    return Outlets(ids, observed.ppg_ids(market), ~np.array(kept))


def _usual_budget(market: Market, outlets: Outlets, assumptions: Assumptions) -> float:
    """What account managers spent a week on activations, price cuts included, in the platform's outlets before."""
    history = outlet_weeks(observed.panel(market), assumptions)
    ours = history["outlet_id"].isin(np.array(outlets.outlet_ids)[outlets.is_platform])
    return float(history[ours].groupby("week")["trade_spend_usd"].sum().mean())


def _log(week: int, made: Decided) -> WeekLog:
    ours = made.decided != AS_USUAL
    return WeekLog(
        week=week,
        decided=int(ours.sum()),
        drawn=int(made.drawn.sum()),
        executed=int((ours & (made.executed == made.decided)).sum()),
    )


def _measured(
    market: Market,
    sent: Feed,
    outlets: Outlets,
    parameters: LoopParameters,
    assumptions: Assumptions,
    *,
    effects: pd.DataFrame,
    logs: list[WeekLog],
    budget: float,
) -> LoopResult:
    first = parameters.history_weeks + 1
    # the last lines come in two weeks after the last week
    known = sent.panel(as_of=week_opens(market.week + 3))
    usual = Market(parameters.market(), market.seed)
    for _ in range(market.week - 1):
        usual.step()
    twin = observed.panel(usual)
    seen, as_usual = outlet_weeks(known, assumptions), outlet_weeks(twin, assumptions)
    is_platform = dict(zip(outlets.outlet_ids, outlets.is_platform.tolist(), strict=True))
    arms = Arms(seen, as_usual, is_platform, first)
    return LoopResult(
        parameters=parameters,
        seed=market.seed,
        budget_usd=budget,
        measured=measure(arms),
        cumulative=cumulative(arms),
        weeks=tuple(logs),
        effects=effects,
        shares=_shares(observed.panel(market), twin, outlets, first),
        platform_outlets=int(outlets.is_platform.sum()),
    )


def _shares(played: pd.DataFrame, usual: pd.DataFrame, outlets: Outlets, first_week: int) -> pd.DataFrame:
    ours = np.array(outlets.outlet_ids)[outlets.is_platform]
    parts = {}
    for name, panel in (("platform", played), ("account managers", usual)):
        rows = panel[panel["outlet_id"].isin(ours) & (panel["week"] >= first_week)]
        parts[name] = rows["activation"].value_counts(normalize=True)
    return pd.DataFrame(parts).fillna(0.0).sort_values("platform", ascending=False)
