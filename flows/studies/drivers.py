"""Study S10: a demand model of simulated markets answers to its drivers as it must, and SHAP is held to the causes."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from flows.steps.progress import Progress, silent
from flows.studies.each_seed import each_seed
from flows.studies.study import Figure, Study, mean_figure
from poplift.sources.complete_journey import week_opens
from poplift.sources.market import observed
from poplift.sources.market.environment import Market, simulate
from poplift.sources.market.parameters import MarketParameters
from training.demand import Recipe, fit
from training.driver_response import Answer, answers, beside_causes
from training.effects.estimate import estimate
from training.effects.observations import observe

MARKET = MarketParameters(outlets=80, weeks=91, is_censored=False)
HELD_OUT = 13  # weeks, the steps at which the answers are asked for
FEATURES = (
    "transactions_lag_1",
    "transactions_mean_4w",
    "transactions_mean_13w",
    "display_lag_1",
    "mailer_lag_1",
    "depth_lag_1",
    "base_price_13w",
    "plan_display",
    "plan_mailer",
    "plan_both",
    "plan_depth",
    "plan_price_ratio",
)
# The other rules cannot be broken: the model is constrained to be monotone, and a plan replaces the one before it.
JUDGED = "a cut of nothing is no cut"
RECIPE = Recipe(rounds=120, learning_rate=0.08, num_leaves=15, min_child_samples=100, feature_fraction=0.6)


@dataclass(frozen=True)
class Driven:
    """Answers of one market's demand model, and its SHAP lifts beside causal and true ones."""

    answers: tuple[Answer, ...]
    beside: pd.DataFrame
    truth: dict[str, float]


def play(seed: int, parameters: MarketParameters = MARKET) -> Driven:
    """Train on the early weeks of a market, ask in the last thirteen, estimate causes on all of them."""
    market = simulate(parameters, seed=seed)
    frame = demand_frame(market)
    last = int(frame["week"].max())
    past, coming = frame[frame["week"] <= last - HELD_OUT], frame[frame["week"] > last - HELD_OUT]
    model = fit(past, recipe=RECIPE, seed=seed, threads=1, data_digest="simulated", features=FEATURES)
    found = estimate(
        observe(observed.panel(market), outlets=observed.outlets(market), calendar=observed.calendar(market)),
        seed=seed,
        is_censored=parameters.is_censored,
    )
    causes = {name: found.coefficient(name) for name in ("display", "mailer", "price")}
    own = slice(None, parameters.own_ppgs)
    truth = {
        "display": float(market.world.display[:, own].mean()),
        "mailer": float(market.world.mailer[:, own].mean()),
        "price": -float(market.world.elasticity[:, own].mean()),
    }
    return Driven(answers(model, coming), beside_causes(model, past, causes=causes, seed=seed), truth)


def demand_frame(market: Market) -> pd.DataFrame:
    """The panel as a training set of the demand model: request fields, FEATURES by strictly earlier weeks, labels."""
    panel = observed.panel(market)
    cells = panel.groupby(["outlet_id", "ppg_id"], sort=False)

    def before(column: str, weeks: int) -> pd.Series:
        return cells[column].transform(lambda values: values.shift(1).rolling(weeks, min_periods=1).mean())

    days = {int(w): (week_opens(int(w)).date() - pd.Timestamp(0).date()).days for w in panel["week"].unique()}
    depth = panel["price_cut"].to_numpy("float64")
    frame = panel.assign(
        transactions=panel["transactions"].astype("float64"),
        units=panel["units"].astype("float64"),
        planned_display=panel["display"],
        planned_mailer=panel["mailer"],
        planned_price=panel["price"],
        planned_week_start_day=panel["week"].map(days),
        transactions_lag_1=before("transactions", 1),
        transactions_mean_4w=before("transactions", 4),
        transactions_mean_13w=before("transactions", 13),
        display_lag_1=before("display", 1),
        mailer_lag_1=before("mailer", 1),
        depth_lag_1=before("price_cut", 1),
        base_price_13w=panel["base_price"],
        base_rate=0.0,  # not among FEATURES: the plan's inputs want them
        promoted_rate=0.0,
        plan_display=panel["display"].astype("float64"),
        plan_mailer=panel["mailer"].astype("float64"),
        plan_both=(panel["display"] * panel["mailer"]).astype("float64"),
        plan_depth=depth,
        plan_price_ratio=1.0 - depth,
    )
    return frame[frame["week"] > HELD_OUT].reset_index(drop=True)


def run(*, seed: int, runs: int, progress: Progress = silent) -> Study:
    """Ask the demand models of `runs` markets, and hold SHAP and causal lifts to the true ones."""
    played = list(each_seed(play, seed=seed, runs=runs, progress=progress))
    figures = [_rule(played, at) for at in range(len(played[0].answers))]
    for name in ("display", "mailer", "price"):
        rows = pd.concat([one.beside[one.beside["driver"] == name] for one in played])
        truth = np.array([one.truth[name] for one in played])
        figures += [
            mean_figure(f"{name}: causal log-lift over the true one", rows["causal"].to_numpy() / truth),
            mean_figure(f"{name}: SHAP's log-lift over the true one", rows["shap"].to_numpy() / truth),
            mean_figure(f"{name}: markets in which the two are flagged as disagreeing", rows["disagrees"].to_numpy()),
        ]
    return Study(
        id="S10",
        title="Drivers",
        question="Does the demand model answer to price and promotion as it must, and does its SHAP tell the lift?",
        figures=tuple(figures),
        note=(
            f"Simulated: {MARKET.outlets} outlets, the demand model's code on {len(FEATURES)} of its features, asked "
            f"in the {HELD_OUT} last weeks, which it was not trained on; every week counts as a step. Two rules hold "
            "by construction and are not judged: forecasts are fitted monotone in the cut, and a plan takes the place "
            "of the one before it. SHAP and causal lifts are not judged: that they differ is why both are shown."
        ),
    )


def _rule(played: list[Driven], at: int) -> Figure:
    shares = [one.answers[at].share for one in played]
    worst = min(one.answers[at].worst_share for one in played)
    rule = played[0].answers[at].rule
    figure = Figure(f"{rule}, share of rows (worst week {worst:.0%})", float(np.mean(shares)))
    return replace(figure, goal="all rows", is_met=min(shares) >= 1.0) if rule == JUDGED else figure
