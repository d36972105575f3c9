"""Study S2: effects estimated from confounded sales of simulated markets, held to the truth."""

from dataclasses import dataclass

import numpy as np

from flows.steps.progress import Progress, silent
from flows.studies.each_seed import each_seed
from flows.studies.study import Figure, Study, at_most, covers, mean_figure, rate_figure, within
from poplift.activation import CANDIDATES
from poplift.assumptions import Assumptions
from poplift.sources.market import observed
from poplift.sources.market.environment import simulate
from poplift.sources.market.parameters import MarketParameters
from poplift.sources.market.truth import truth_of
from training.effects.effect_table import effect_table
from training.effects.estimate import estimate
from training.effects.nuisances import HISTORY
from training.effects.observations import observe

MARKET = MarketParameters(outlets=100, weeks=104, is_censored=False)
NAMES = tuple(a.name for a in CANDIDATES[1:])
BIAS, PEHE = 0.05, 0.5


@dataclass(frozen=True)
class KnownLift:
    """Per activation (7,): estimate, truth, naive difference, whether intervals hold the truth, error over cells."""

    estimate: np.ndarray
    truth: np.ndarray
    naive: np.ndarray
    covered: np.ndarray
    cells_covered: np.ndarray
    pehe: np.ndarray


def play(seed: int, parameters: MarketParameters = MARKET) -> KnownLift:
    """One market from its first week to the comparison of its effect table with its truth."""
    market = simulate(parameters, seed=seed)
    panel = observed.panel(market)
    found = estimate(
        observe(panel, outlets=observed.outlets(market), calendar=observed.calendar(market)),
        seed=seed,
        is_censored=parameters.is_censored,
    )
    table = effect_table(found, assumptions=Assumptions())
    truth = truth_of(market).net_gain[:, :, HISTORY:, :].mean(axis=2)
    average = truth.mean(axis=(0, 1))[1:]
    figures = table.averages.set_index("activation").loc[list(NAMES)]
    cells, low, high = (
        table.cells[f"incremental_transactions{end}"].to_numpy().reshape(truth.shape)[..., 1:]
        for end in ("", "_low", "_high")
    )
    of_cell = truth[..., 1:]
    sold = panel.groupby("activation")["transactions"].mean()
    return KnownLift(
        estimate=figures["incremental_transactions"].to_numpy(),
        truth=average,
        naive=(sold.reindex(NAMES) - sold["none"]).to_numpy(),
        covered=(
            (figures["incremental_transactions_low"] <= average) & (average <= figures["incremental_transactions_high"])
        ).to_numpy(),
        cells_covered=((low <= of_cell) & (of_cell <= high)).mean(axis=(0, 1)),
        pehe=np.sqrt(((cells - of_cell) ** 2).mean(axis=(0, 1))) / of_cell.std(axis=(0, 1)),
    )


def run(*, seed: int, runs: int, progress: Progress = silent) -> Study:
    """Estimate the effects of `runs` confounded markets and compare every activation's average and every cell."""
    played = list(each_seed(play, seed=seed, runs=runs, progress=progress))
    return Study(
        id="S2",
        title="Known lift",
        question="Do effects learned from what account managers did find the truth, and do their intervals hold it?",
        figures=tuple(figures(played)),
        note=(
            f"Simulated: {MARKET.outlets} outlets, {MARKET.own_ppgs} own ppgs, {MARKET.weeks} weeks, no stock-outs "
            f"(S3 has them), {MARKET.exploration:.0%} of cells drawn at random. The truth is net of switching and of "
            "the dip afterwards; "
            "the naive figure is the mean of cells with an activation less that of cells without any. Coverage counts "
            "seven activations per market; they share its luck, so the interval is that of the markets."
        ),
    )


def figures(played: list[KnownLift]) -> list[Figure]:
    """Bias by activation and over all, coverage, error over cells, and the naive answer beside them."""
    estimates, truths, naive, covered = (
        np.array([getattr(one, name) for one in played]) for name in ("estimate", "truth", "naive", "covered")
    )
    scale = truths.mean(axis=0)
    error = (estimates - truths) / scale
    total = (estimates - truths).sum(axis=1) / truths.sum(axis=1).mean()
    found = [within(mean_figure("bias over all activations, share of the true effect", total), BIAS)]
    found += [
        within(mean_figure(f"bias of {name}, share of its true effect", error[:, at]), BIAS)
        for at, name in enumerate(NAMES)
    ]
    found.append(mean_figure("naive estimate over the truth", naive.sum(axis=1) / truths.sum(axis=1), unit="times"))
    shares = covered.mean(axis=1)
    found.append(covers(mean_figure("coverage of the 95 % intervals", shares), 0.95))
    found += [
        covers(rate_figure(f"coverage for {name}", int(covered[:, at].sum()), len(played)), 0.95)
        for at, name in enumerate(NAMES)
    ]
    by_cell = np.array([one.cells_covered.mean() for one in played])
    found.append(mean_figure("coverage of the intervals of single outlets and ppgs", by_cell))
    pehe = np.array([one.pehe for one in played]).mean(axis=1)
    found.append(
        at_most(mean_figure("error over outlets and ppgs (sqrt-PEHE over sd of the effect)", pehe), PEHE, said="0.5")
    )
    return found
