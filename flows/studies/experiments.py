"""Study S7: experiments find nothing where nothing is, something where something is, and say when they are broken."""

from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flows.steps.progress import Progress, silent
from flows.studies.study import Figure, Study, at_least, at_most_rate, mean_figure, rate_figure
from monitoring.experiments.design import PowerRow, design
from monitoring.experiments.outcomes import PRE_WEEKS
from monitoring.experiments.readout import Effect, Evidence, Readout, read_out
from poplift.activation import CANDIDATES
from poplift.assignment import TREATMENT, assign_arms
from poplift.launches import WEEKS_AFTER, Launch
from poplift.settings import load_settings
from poplift.sources.complete_journey import LAST_WEEK, CompleteJourney
from poplift.sources.market import observed
from poplift.sources.market.environment import Market
from poplift.sources.market.parameters import MarketParameters

WEEKS, HISTORY = 8, 52
MARKET = MarketParameters(outlets=200, weeks=HISTORY + WEEKS + WEEKS_AFTER)
TESTED = 1  # display
LOST_SHARE = 0.2  # share of the treated outlets that stop reporting in the broken experiments
ALPHA, POWER, REMOVED = 0.05, 0.8, 0.7


@dataclass
class Seen:
    """What the runs on one kind of panel gave."""

    ever: list[bool] = field(default_factory=list)  # an interval excluded the truth at some weekly look
    final: list[bool] = field(default_factory=list)  # one looked at once, at the end, excluded it
    removed: list[float] = field(default_factory=list)
    found: list[bool] = field(default_factory=list)
    caught: list[bool] = field(default_factory=list)
    alarmed: list[bool] = field(default_factory=list)
    holds: list[bool] = field(default_factory=list)


def run(*, seed: int, runs: int, progress: Progress = silent) -> Study:
    """`runs` placebo splits of the real panel and as many markets, each with and without an effect."""
    real, simulated = Seen(), Seen()
    panel = real_panel()
    for number in range(runs):
        placebo(panel, real, seed=seed + number)
        progress(f"{number + 1} of {runs} placebo splits of the real panel")
    for number in range(runs):
        market(simulated, seed=seed + number)
        progress(f"{number + 1} of {runs} markets")
    figures = (*_common("real panel", real), *_common("market", simulated), *_of_market(simulated))
    return Study(
        id="S7",
        title="Experiments",
        question="Do experiments keep their error rates and power, and say when their arms are not comparable?",
        figures=figures,
        note=(
            "Real: outlets of The Complete Journey (demonstration data) split at random, nothing was run. Market: "
            f"simulated, {MARKET.outlets} outlets. Promised effects are planted as further Poisson transactions; the "
            f"true effect is of display on all {MARKET.own_ppgs} own ppgs, against the same market without it. "
            f"{WEEKS} weeks, {WEEKS_AFTER} after, a look every week. An interval that holds at every look is wider "
            "than one for a single look; that costs power, and the design counts it in."
        ),
    )


def _common(where: str, seen: Seen) -> list[Figure]:
    runs = len(seen.ever)
    ever = rate_figure(f"{where}: A/A false positives, a look every week", sum(seen.ever), runs)
    final = rate_figure(f"{where}: A/A false positives, one look at the end", sum(seen.final), runs)
    removed = mean_figure(f"{where}: variance removed by the adjustment", seen.removed)
    rates = [at_most_rate(ever, ALPHA), at_most_rate(final, ALPHA)]
    return [*rates, at_least(removed, REMOVED, said="70 %"), _power(where, seen)]


def _power(where: str, seen: Seen) -> Figure:
    """Met where the rate's interval holds the promised power, or lies above it."""
    rate = rate_figure(f"{where}: promised effect found, by the last look", sum(seen.found), len(seen.found))
    return replace(rate, goal=f"promised {POWER:.0%}, not less", is_met=rate.high >= POWER)


def _of_market(seen: Seen) -> list[Figure]:
    caught = rate_figure("market: lost outlets of one arm noticed", sum(seen.caught), len(seen.caught))
    alarms = rate_figure("market: false alarms of that check", sum(seen.alarmed), len(seen.alarmed))
    holds = rate_figure("market: last interval holds the true effect", sum(seen.holds), len(seen.holds))
    return [
        at_least(caught, 0.95, said="95 %"),
        replace(at_most_rate(alarms, 0.002), goal="at most 0.2%"),
        replace(holds, goal="at least 95%", is_met=holds.high >= 0.95),
    ]


def real_panel() -> pd.DataFrame:
    """Outlet-weeks of managed soft drinks in the demonstration data: outlet_id, week, transactions, zeros included."""
    source = CompleteJourney.from_settings(load_settings())
    connection = duckdb.connect()
    connection.sql("SET TimeZone = 'UTC'")
    source.open(connection)
    tables = source.tables()
    rows = connection.sql(
        f"SELECT outlet_id, week, count(DISTINCT basket_id) AS transactions FROM ({tables['pos_lines']}) "
        f"WHERE product_id IN (SELECT product_id FROM ({tables['products']}) WHERE ppg_id IS NOT NULL) "
        f"AND outlet_id IN (SELECT outlet_id FROM ({tables['outlets']}) WHERE is_managed) AND week < {LAST_WEEK} "
        "GROUP BY ALL"
    ).df()
    wide = rows.pivot_table(index="outlet_id", columns="week", values="transactions", fill_value=0)
    return wide.reset_index().melt("outlet_id", var_name="week", value_name="transactions")


def placebo(panel: pd.DataFrame, seen: Seen, *, seed: int) -> None:
    """One split of the real panel at a window of its own: as it is, and with the effect that the design promises."""
    random = np.random.default_rng([seed, 7])
    observed_weeks = WEEKS + WEEKS_AFTER
    first = int(random.integers(PRE_WEEKS + 1, int(panel["week"].max()) - observed_weeks + 2))
    history = panel[panel["week"] < first]
    row = _promised(history)
    record = _launch(history, f"placebo-{seed}", first, row.detectable)
    until = panel[panel["week"] < first + observed_weeks]
    _look(record, until, seen, truth=0.0)
    _find_planted(record, until, row, seen, seed)


def market(seen: Seen, *, seed: int) -> None:
    """One market as usual, with the promised effect planted, with the activation in earnest, and with lost outlets."""
    first = HISTORY + 1
    played = Market(MARKET, seed)
    for _ in range(HISTORY):
        played.step()
    usual = _played_on(played, None)
    history = usual[usual["week"] < first]
    row = _promised(history)
    record = _launch(history, f"market-{seed}", first, row.detectable)
    _look(record, usual, seen, truth=0.0)
    _find_planted(record, usual, row, seen, seed)
    _break(record, usual, seen, seed)
    treated = np.array([record.arms[o] == TREATMENT for o in observed.outlet_ids(played)])
    loud, quiet = _played_on(played, treated), _played_on(played, np.zeros_like(treated))
    effect, truth = _final(read_out(record, Evidence(loud))), _true_effect(quiet, loud, record)
    seen.holds.append(effect.interval.low <= truth <= effect.interval.high)


def _find_planted(record: Launch, outcomes: pd.DataFrame, row: PowerRow, seen: Seen, seed: int) -> None:
    """The effect that the design says it finds in POWER of the cases, as further transactions of treated outlets."""
    random = np.random.default_rng([seed, 70])
    weeks = outcomes["week"].between(record.first_week, record.first_week + record.weeks - 1)
    more = random.poisson(row.detectable, len(outcomes)) * (
        outcomes["outlet_id"].map(record.arms).eq(TREATMENT) & weeks
    )
    planted = outcomes.assign(transactions=outcomes["transactions"] + more)
    seen.found.append(_final(read_out(record, Evidence(planted))).interval.above(0.0))


def _look(record: Launch, outcomes: pd.DataFrame, seen: Seen, *, truth: float) -> None:
    """Every weekly look, and one at the end as if nobody had looked before."""
    ever = False
    for week in range(record.first_week, record.first_week + record.weeks + record.weeks_after):
        readout = read_out(record, Evidence(outcomes[outcomes["week"] <= week]))
        interval = _final(readout).interval
        ever |= not interval.low <= truth <= interval.high
    effect = _final(readout)
    once = effect.estimate.interval()
    seen.ever.append(ever)
    seen.final.append(not once.low <= truth <= once.high)
    seen.removed.append(effect.variance_removed)


def _final(readout: Readout) -> Effect:
    if readout.effect is None:
        raise RuntimeError(f"{readout.record.name}: no effect is shown: {readout.verdict.sentence}")
    return readout.effect


def _promised(history: pd.DataFrame) -> PowerRow:
    return design("study", history, weeks=(WEEKS,)).rows[0]


def _launch(history: pd.DataFrame, name: str, first: int, detectable: float) -> Launch:
    volume = history.groupby("outlet_id")["transactions"].mean()
    strata = {str(o): str(int(s)) for o, s in pd.qcut(volume.rank(method="first"), 5, labels=False).items()}
    return Launch(
        name=name,
        activation=CANDIDATES[TESTED].name,
        ppg_ids=("own-00",),
        arms=assign_arms(strata, experiment=name, share=0.5),
        strata=strata,
        share=0.5,
        first_week=first,
        starts_on=date(2018, 1, 1),
        weeks=WEEKS,
        detectable=detectable,
        launched_at=datetime(2018, 1, 1, tzinfo=UTC),
    )


def _played_on(market: Market, treated: NDArray[np.bool_] | None) -> pd.DataFrame:
    """Outlet-weeks of the own portfolio, history and experiment, in a copy of a market that stands at its launch.

    In the weeks of the experiment treated outlets run the activation and the others nothing; None leaves all of them
    to the account managers.
    """
    played = deepcopy(market)
    while played.week <= MARKET.weeks:
        if treated is not None and played.week <= HISTORY + WEEKS:
            played.act(np.where(treated[:, None], TESTED, 0) * np.ones(MARKET.own_ppgs, dtype=np.intp))
        played.step()
    ids = observed.outlet_ids(played)
    rows = [
        pd.DataFrame(
            {"outlet_id": ids, "week": w.week, "transactions": w.transactions[:, : MARKET.own_ppgs].sum(axis=1)}
        )
        for w in played.history
    ]
    return pd.concat(rows, ignore_index=True)


def _true_effect(quiet: pd.DataFrame, loud: pd.DataFrame, record: Launch) -> float:
    """Mean over the treated outlets of what the same luck gave more, weeks afterwards included, per week with it."""
    more = (loud["transactions"] - quiet["transactions"])[quiet["outlet_id"].map(record.arms).eq(TREATMENT)]
    return float(more.sum()) / (sum(arm == TREATMENT for arm in record.arms.values()) * record.weeks)


def _break(record: Launch, outcomes: pd.DataFrame, seen: Seen, seed: int) -> None:
    """Treated outlets that report no more must be noticed; as many lost from both arms alike must not."""
    random = np.random.default_rng([seed, 77])
    treated = sorted(o for o, arm in record.arms.items() if arm == TREATMENT)
    lost = set(random.choice(treated, size=round(LOST_SHARE * len(treated)), replace=False))
    alike = set(random.choice(sorted(record.arms), size=len(lost), replace=False))
    for gone, noticed in ((lost, seen.caught), (alike, seen.alarmed)):
        kept = outcomes[~(outcomes["outlet_id"].isin(gone) & (outcomes["week"] >= record.first_week))]
        noticed.append(read_out(record, Evidence(kept)).ratio.is_broken)
