"""Demand before shelves ran empty: what would have sold, given sales that end with the stock and a flag that errs.

Sales are the smaller of demand and stock. Demand is negative binomial around its expectation; stock is log-normal
around what the outlet expects; the flag misses some empty shelves and accuses some full ones. Shares, spreads and flag
errors are estimated by EM (Dempster, Laird, Rubin 1977), and the outlet's better knowledge of its own demand, which
makes stock and demand move together, from how long surprises in sales last.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import betainc, gammaln, ndtr

from training.effects.observations import Flags, Floats

SHAPES = (0.3, 1e4)  # of the negative binomial: from wild to Poisson
LARGEST_SHARE = 0.6  # of the spread of stock that may be the outlet's knowledge of its demand


@dataclass(frozen=True)
class StockModel:
    """log stock = log(expected demand without lift) + `level` + `foreseen` x lift + normal(`spread`).

    `reported` and `accused` are the shares of empty and of full shelves whose flag says empty; `shape` is the
    negative binomial's; `shared` is the part of the spread that is demand the outlet knew of and we did not.
    """

    level: float = 0.6
    foreseen: float = 0.5
    spread: float = 0.5
    reported: float = 0.9
    accused: float = 0.05
    shape: float = 5.0
    shared: float = 0.0


@dataclass(frozen=True)
class Latent:
    """Expectation and variance of demand given what was seen, and the probability that the shelf ran empty."""

    mean: Floats
    variance: Floats
    empty: Floats
    model: StockModel


def expect(sold: Floats, *, flagged: Flags, mean: Floats, lift: Floats, model: StockModel, steps: int) -> Latent:
    """EM steps over cells (n,): `mean` is the expected demand with the `lift` (log) of what ran.

    Raises ValueError when no cell is flagged: then nothing says when shelves ran empty.
    """
    if not flagged.any():
        raise ValueError("no cell is flagged as out of stock: there is nothing to correct")
    for _ in range(steps):
        found = _posterior(sold, flagged, mean, lift, model)
        model = _refit(sold, flagged, mean, lift, found)
    return replace(found, model=model)


def shared_knowledge(demand: Floats, mean: Floats, *, model: StockModel) -> float:
    """Share of the stock's variance that is lasting surprise in demand; cubes over (weeks, outlets, ppgs).

    A surprise with memory m and variance v leaves autocovariances v m and v m^2 relative to the mean. Cells count by
    their precision, so that the largest do not decide alone.
    """
    scale = np.sqrt(mean + mean**2 / model.shape)
    surprise, unit = (demand - mean) / scale, mean / scale
    first, second = (
        float((surprise[lag:] * surprise[:-lag]).sum() / (unit[lag:] * unit[:-lag]).sum()) for lag in (1, 2)
    )
    if first <= 0:
        return 0.0
    variance = first**2 / second if 0 < second < first else first
    return min(variance / model.spread**2, LARGEST_SHARE)


def _posterior(sold: Floats, flagged: Flags, mean: Floats, lift: Floats, model: StockModel) -> Latent:
    centre = np.log(mean) - lift + model.level + model.foreseen * lift
    known = mean * np.exp(model.shared * (_log_stock(sold) - centre))
    tail, beyond, variance = _tail(sold, known, model.shape)
    lower, upper = (_standard(sold - 1, centre, model), _standard(sold, centre, model))
    stock_here = np.where(sold >= 1, ndtr(upper) - ndtr(lower), 0.0)
    stock_enough = np.maximum(1 - ndtr(lower), 1e-12)
    says_empty = np.where(flagged, model.reported, 1 - model.reported)
    says_full = np.where(flagged, model.accused, 1 - model.accused)
    empty = says_empty * stock_here * tail
    full = says_full * np.exp(_log_probability(sold, mean, model.shape)) * stock_enough
    share = empty / np.maximum(empty + full, 1e-300)
    return Latent(
        mean=(1 - share) * sold + share * beyond,
        variance=share * variance + share * (1 - share) * (beyond - sold) ** 2,
        empty=share,
        model=model,
    )


def _refit(sold: Floats, flagged: Flags, mean: Floats, lift: Floats, found: Latent) -> StockModel:
    """The M step: regress expected log stock on the lift, count what the flag said, match second moments."""
    model, share = found.model, found.empty
    base = np.log(mean) - lift
    centre = base + model.level + model.foreseen * lift
    lower = _standard(sold - 1, centre, model)
    hazard = np.exp(-0.5 * lower**2) / np.sqrt(2 * np.pi) / np.maximum(1 - ndtr(lower), 1e-9)
    above = centre + model.spread * hazard  # of stock that was not reached
    above_variance = model.spread**2 * np.maximum(1 + lower * hazard - hazard**2, 0.0)
    here = _log_stock(sold)
    design = np.stack([np.ones_like(lift), lift], axis=1)
    (level, foreseen), *_ = np.linalg.lstsq(design, share * here + (1 - share) * above - base, rcond=None)
    fitted = base + level + foreseen * lift
    spread = np.sqrt((share * (here - fitted) ** 2 + (1 - share) * ((above - fitted) ** 2 + above_variance)).mean())
    excess = ((found.mean - mean) ** 2 + found.variance - mean).sum()
    return replace(
        model,
        level=float(level),
        foreseen=float(foreseen),
        spread=float(max(spread, 0.05)),
        reported=float((flagged * share).sum() / max(share.sum(), 1e-9)),
        accused=float((flagged * (1 - share)).sum() / max((1 - share).sum(), 1e-9)),
        shape=float(np.clip((mean**2).sum() / max(excess, 1e-9), *SHAPES)),
    )


def _log_stock(sold: Floats) -> Floats:
    return np.log(np.maximum(sold - 0.5, 0.3))  # stock is whole pieces: the middle of what rounds up to them


def _standard(stock: Floats, centre: Floats, model: StockModel) -> Floats:
    return (np.log(np.maximum(stock, 1e-9)) - centre) / model.spread


def _tail(sold: Floats, mean: Floats, shape: float) -> tuple[Floats, Floats, Floats]:
    """P(D > sold), and mean and variance of D given that, for a negative binomial D.

    k P(k; shape) = mean P(k - 1; shape + 1), so that partial moments are tails of their own.
    """
    odds = mean / (shape + mean)
    tail = np.maximum(betainc(sold + 1, shape, odds), 1e-12)
    first = mean * np.where(sold > 0, betainc(np.maximum(sold, 1e-9), shape + 1, odds), 1.0)
    second = mean**2 * (1 + 1 / shape) * np.where(sold > 1, betainc(np.maximum(sold - 1, 1e-9), shape + 2, odds), 1.0)
    beyond = np.maximum(first / tail, sold + 1)
    return tail, beyond, np.maximum(second / tail + beyond - beyond**2, 0.0)


def _log_probability(sold: Floats, mean: Floats, shape: float) -> Floats:
    of_shape = gammaln(sold + shape) - gammaln(shape) - gammaln(sold + 1)
    result: Floats = of_shape + shape * np.log(shape / (shape + mean)) + sold * np.log(mean / (shape + mean))
    return result
