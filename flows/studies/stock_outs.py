"""Study S3: effects where shelves run empty, with and without the correction, held to the truth."""

from dataclasses import dataclass

import numpy as np

from flows.steps.progress import Progress, silent
from flows.studies.each_seed import each_seed
from flows.studies.study import Study, covers, mean_figure, within
from poplift.assumptions import Assumptions
from poplift.sources.market import observed
from poplift.sources.market.environment import simulate
from poplift.sources.market.parameters import MarketParameters
from poplift.sources.market.truth import truth_of
from training.effects.effect_table import effect_table
from training.effects.estimate import estimate
from training.effects.nuisances import HISTORY
from training.effects.observations import observe

MARKET = MarketParameters(outlets=100, weeks=104)
BIAS = 0.05


@dataclass(frozen=True)
class StockOuts:
    """Per activation (7,): truth, corrected and uncorrected estimates; shares of empty and flagged shelves; latent."""

    truth: np.ndarray
    corrected: np.ndarray
    uncorrected: np.ndarray
    covered: np.ndarray
    empty: float
    latent: float  # total of the corrected demand over the true latent demand
    sold: float  # total sold over the true latent demand


def play(seed: int, parameters: MarketParameters = MARKET) -> StockOuts:
    """One market whose shelves run empty, estimated twice."""
    market = simulate(parameters, seed=seed)
    panel = observed.panel(market)
    observations = observe(panel, outlets=observed.outlets(market), calendar=observed.calendar(market))
    truth = truth_of(market)
    wanted = truth.latent.transpose(2, 0, 1)
    average = truth.net_gain[:, :, HISTORY:, :].mean(axis=(0, 1, 2))[1:]
    fits = [estimate(observations, seed=seed, is_censored=correct) for correct in (True, False)]
    corrected, uncorrected = (effect_table(fit, assumptions=Assumptions()).averages.iloc[1:] for fit in fits)
    low, high = (corrected[f"incremental_transactions_{end}"].to_numpy() for end in ("low", "high"))
    return StockOuts(
        truth=average,
        corrected=corrected["incremental_transactions"].to_numpy(),
        uncorrected=uncorrected["incremental_transactions"].to_numpy(),
        covered=(low <= average) & (average <= high),
        empty=float((observations.transactions < wanted).mean()),
        latent=float(fits[0].demand.sum() / wanted.sum()),
        sold=float(observations.transactions.sum() / wanted.sum()),
    )


def run(*, seed: int, runs: int, progress: Progress = silent) -> Study:
    """Play `runs` markets and compare both estimates with what would have sold on full shelves."""
    played = list(each_seed(play, seed=seed, runs=runs, progress=progress))
    truths, corrected, uncorrected = (
        np.array([getattr(one, name).sum() for one in played]) for name in ("truth", "corrected", "uncorrected")
    )
    scale = truths.mean()
    return Study(
        id="S3",
        title="Stock-outs",
        question="Is an activation that empties the shelf still seen for what it would have sold?",
        figures=(
            within(mean_figure("bias after correction, share of the true effect", (corrected - truths) / scale), BIAS),
            mean_figure("bias without correction, share of the true effect", (uncorrected - truths) / scale),
            mean_figure("error of total demand after correction", [one.latent - 1 for one in played]),
            mean_figure("error of total demand without correction", [one.sold - 1 for one in played]),
            covers(
                mean_figure("coverage of the corrected 95 % intervals", [one.covered.mean() for one in played]), 0.95
            ),
            mean_figure("share of outlet, ppg and week with an empty shelf", [one.empty for one in played]),
        ),
        note=(
            f"Simulated: {MARKET.outlets} outlets, {MARKET.weeks} weeks; the flag reports "
            f"{MARKET.flag_sensitivity:.0%} of the empty shelves and {MARKET.flag_false_alarms:.0%} of the full ones. "
            "How well it reports, how much is ordered and what outlets foresee is estimated, not given. Bias is that "
            "of the seven activations together, net of switching and dip."
        ),
    )
