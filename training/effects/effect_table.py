"""The effect table: what every activation adds per week at every outlet and ppg, net, with 95 % intervals."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from poplift.activation import CANDIDATES, NONE, Activation
from poplift.assumptions import Assumptions
from training.effects.estimate import Estimate
from training.effects.overlap import component_overlap, overlap_of
from training.effects.response import earlier

Floats = np.ndarray
MEASURES = ("transactions", "units", "margin_usd")
GIVE_AWAY = "give_away_usd"  # what a cut gives away a week on all that is bought at it; no interval, it is a cost
COLUMNS = tuple(f"incremental_{m}{end}" for m in MEASURES for end in ("", "_low", "_high"))
Z = 1.959964
LEAST_OVERLAP = 0.2  # share of a cell's weeks in which the activation could have gone either way
PRIOR_TRANSACTIONS = 4.0  # weight of the model's level against the cell's own sales
STEP = 1e-4


@dataclass(frozen=True)
class EffectTable:
    """`cells`: one row per outlet x ppg x activation; `averages`: one row per activation, the mean over all cells.

    Both hold COLUMNS, GIVE_AWAY, overlap and evidence. All figures are per week, of an average week of the panel.
    """

    cells: pd.DataFrame
    averages: pd.DataFrame


@dataclass(frozen=True)
class Gains:
    """What the effect table is made of, as cubes (outlets, ppgs, activations), `net` one cube per measure.

    `errors` (sources, measures, outlets, ppgs, activations): what one standard deviation of every independent source of
    error moves, so that the error of any average is told; `level_error` (outlets, ppgs): relative, a cell's own.
    """

    outlets: tuple[str, ...]
    ppgs: tuple[str, ...]
    activations: tuple[str, ...]
    net: Floats
    errors: Floats
    level_error: Floats
    given: Floats
    overlap: Floats


@dataclass(frozen=True)
class Values:
    """What a transaction is worth in one measure: under every activation (ppgs, a), and under what ran (cube)."""

    of_candidate: Floats
    as_run: Floats


def effect_table(
    estimate: Estimate, *, assumptions: Assumptions, activations: tuple[Activation, ...] = CANDIDATES
) -> EffectTable:
    """The table of what each activation is estimated to add, before any experiment is heard."""
    return tabulate(gained(estimate, assumptions=assumptions, activations=activations))


def gained(estimate: Estimate, *, assumptions: Assumptions, activations: tuple[Activation, ...] = CANDIDATES) -> Gains:
    """Expected transactions, units and margin that each activation adds against none, all else as it was.

    Own gain less what the rest of the own portfolio loses in the same week less the dip of the two weeks after.
    Margin is before the cost of the activation; a cut is also given to those who would have bought without it.
    """
    values = worth(estimate, assumptions=assumptions, activations=activations)
    gains, given = _gains(estimate, estimate.parameters, values, activations)
    moved = [
        (_gains(estimate, _nudged(estimate.parameters, at), values, activations)[0] - gains) / STEP
        for at in range(len(estimate.parameters))
    ]
    variances, vectors = np.linalg.eigh(estimate.covariance)
    independent = (vectors * np.sqrt(np.maximum(variances, 0.0))).T
    observations = estimate.response.observations
    return Gains(
        outlets=observations.outlets,
        ppgs=observations.ppgs,
        activations=tuple(a.name for a in activations),
        net=gains,
        errors=np.tensordot(independent, np.stack(moved), axes=1),
        level_error=_level_error(estimate),
        given=given,
        overlap=overlap_of(component_overlap(estimate), activations),
    )


def tabulate(gains: Gains) -> EffectTable:
    """Both tables, with intervals."""
    of_cell = (gains.errors**2).sum(axis=0) + (gains.net * gains.level_error[..., None]) ** 2
    of_mean = (gains.errors.mean(axis=(2, 3)) ** 2).sum(axis=0)
    outlets, ppgs, kinds = gains.overlap.shape
    keys = pd.DataFrame(
        {
            "outlet_id": np.repeat(gains.outlets, ppgs * kinds),
            "ppg_id": np.tile(np.repeat(gains.ppgs, kinds), outlets),
            "activation": np.tile(gains.activations, outlets * ppgs),
        }
    )
    net, error = (cubes.reshape(len(MEASURES), -1) for cubes in (gains.net, np.sqrt(of_cell)))
    cells = with_intervals(keys, net, error, gains.overlap.ravel())
    averages = with_intervals(
        pd.DataFrame({"activation": gains.activations}),
        gains.net.mean(axis=(1, 2)),
        np.sqrt(of_mean),
        gains.overlap.mean(axis=(0, 1)),
    )
    return EffectTable(
        cells.assign(**{GIVE_AWAY: gains.given.ravel()}),
        averages.assign(**{GIVE_AWAY: gains.given.mean(axis=(0, 1))}),
    )


def worth(estimate: Estimate, *, assumptions: Assumptions, activations: tuple[Activation, ...]) -> list[Values]:
    """Value of a transaction by MEASURES; units per transaction rise with the cut as they did in the panel."""
    observations = estimate.response.observations
    depth = np.array([a.price_cut for a in activations])
    ran = 1 - np.exp(-observations.treatment[..., 3])
    units, deeper = units_per_transaction(estimate)
    price, margin = observations.base_price, assumptions.unit_margin
    of_candidate, as_run = units[:, None] * (1 + deeper * depth), units * (1 + deeper * ran)
    return [
        Values(np.ones_like(of_candidate), np.ones_like(as_run)),
        Values(of_candidate, as_run),
        Values(of_candidate * price[:, None] * (margin - depth), as_run * price * (margin - ran)),
    ]


def units_per_transaction(estimate: Estimate) -> tuple[Floats, float]:
    """Units of a transaction of every ppg at its base price, and the relative rise per unit of depth."""
    observations = estimate.response.observations
    sold, units = observations.transactions, observations.units
    depth = 1 - np.exp(-observations.treatment[..., 3])
    regular = depth < 0.01
    plain, bought = (np.where(regular, cube, 0.0).sum(axis=(0, 1)) for cube in (units, sold))
    overall = units.sum() / max(sold.sum(), 1.0)
    per = (plain + 5 * overall) / (bought + 5)
    expected = per * sold
    slope = (depth * (units - expected)).sum() / max((depth**2 * expected).sum(), 1e-9)
    return per, float(np.clip(slope, -1.0, 5.0)) if (depth > 0.01).any() else 0.0


def _gains(
    estimate: Estimate, parameters: Floats, values: list[Values], activations: tuple[Activation, ...]
) -> tuple[Floats, Floats]:
    """Net gains (measures, outlets, ppgs, activations) under these parameters, and what cuts give away."""
    response, usable = estimate.response, estimate.usable
    lift, effect = response.effect(parameters)
    first, second, switching = parameters[-3:]
    share = switching / max(lift.shape[2] - 1, 1)
    mean = estimate.base * np.exp(effect) * _credibility(estimate, effect)
    weeks = np.maximum(usable.sum(axis=0), 1)

    def average(cube: Floats) -> Floats:
        total: Floats = np.where(usable, cube, 0.0).sum(axis=0) / weeks
        return total

    lifts = response.candidate_lift(parameters, activations)
    baseline = activations.index(NONE)
    own = average(mean * np.exp(-lift))[..., None] * np.exp(lifts)
    gains = []
    for value in values:
        worth_now = mean * value.as_run
        others = average((worth_now.sum(axis=2, keepdims=True) - worth_now) * np.exp(share * lift))
        gain = own * value.of_candidate - (own[..., baseline] * value.of_candidate[:, baseline])[..., None]
        gain += others[..., None] * np.expm1(-share * lifts)
        for weeks_later, lost in ((1, first), (2, second)):
            after = average(_later(worth_now, weeks_later) * np.exp(lost * lift))
            gain += after[..., None] * np.expm1(-lost * lifts)
        gains.append(gain)
    depth = np.array([a.price_cut for a in activations])
    prices = estimate.response.observations.base_price[:, None]
    return np.stack(gains), own * values[MEASURES.index("units")].of_candidate * prices * depth


def _later(cube: Floats, weeks: int) -> Floats:
    """The cube as it was `weeks` later; the last weeks stand in for those to come."""
    moved: Floats = np.where(
        np.arange(len(cube))[:, None, None] < len(cube) - weeks, earlier(cube[::-1], weeks)[::-1], cube
    )
    return moved


def _credibility(estimate: Estimate, effect: Floats) -> Floats:
    """Factor that brings each cell's expected level to what it sold, as far as its sales carry (Buehlmann 1967)."""
    freed = np.where(estimate.usable, estimate.demand * np.exp(-effect), 0.0).sum(axis=0)
    expected = np.where(estimate.usable, estimate.base, 0.0).sum(axis=0)
    factor: Floats = (freed + PRIOR_TRANSACTIONS) / (expected + PRIOR_TRANSACTIONS)
    return factor


def _level_error(estimate: Estimate) -> Floats:
    """Relative standard error of each cell's level, (outlets, ppgs); lasting surprises count by what cells show."""
    _, effect = estimate.response.effect(estimate.parameters)
    base = np.where(estimate.usable, estimate.base, 0.0)
    freed = np.where(estimate.usable, estimate.demand * np.exp(-effect), 0.0)
    scatter = (base * np.exp(-effect) + base**2 / estimate.shape).sum(axis=0)
    lasting = max(1.0, float(((freed - base).sum(axis=0) ** 2).sum() / max(scatter.sum(), 1e-9)))
    error: Floats = np.sqrt(lasting * scatter) / (base.sum(axis=0) + PRIOR_TRANSACTIONS)
    return error


def _nudged(parameters: Floats, at: int) -> Floats:
    moved = parameters.copy()
    moved[at] += STEP
    return moved


def with_intervals(frame: pd.DataFrame, gains: Floats, errors: Floats, overlap: Floats) -> pd.DataFrame:
    """The frame, which has an activation, with COLUMNS of gains and errors (measures, rows), overlap and evidence."""
    columns = {}
    for measure, gain, error in zip(MEASURES, gains, errors, strict=True):
        columns[f"incremental_{measure}"] = gain
        columns[f"incremental_{measure}_low"] = gain - Z * error
        columns[f"incremental_{measure}_high"] = gain + Z * error
    made = frame.assign(**columns, overlap=overlap)
    return made.assign(evidence=evidence(made))


def evidence(frame: pd.DataFrame) -> Floats:
    """Thin where the activation could hardly have gone either way, or its interval holds zero; else sufficient."""
    unclear = (frame["incremental_transactions_low"] <= 0) & (frame["incremental_transactions_high"] >= 0)
    is_thin = (unclear | (frame["overlap"] < LEAST_OVERLAP)) & (frame["activation"] != NONE.name)
    return np.where(is_thin, "thin", "sufficient")
