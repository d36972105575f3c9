"""The gate's story: newer weeks only, sane forecasts, the race, then no harm, fairness and calibration."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from training.gate import calibration, contests, cost, fairness, generalisation, knowledge, response, sanity, slices
from training.gate.contender import Contender
from training.gate.finding import Finding, Verdict, conclude
from training.gate.resampling import Resampling

EVIDENCE = "evidence"
CHAMPION = "champion"
LEAST_WEEKS = 6
LEAST_OUTLETS = 20
# A model that is to be registered must have been through all of these.
REQUIRED = (
    EVIDENCE,
    sanity.CHECK,
    contests.CHECK,
    slices.CHECK,
    fairness.CHECK,
    calibration.CHECK,
    calibration.INTERVAL_CHECK,
    response.CHECK,
    knowledge.CHECK,
    knowledge.AUDIT_CHECK,
    generalisation.CHECK,
    cost.CHECK,
)


def judge(
    cells: pd.DataFrame,
    *,
    challenger: Contender,
    baselines: Mapping[str, np.ndarray],
    champion: Contender | None,
    seed: int,
    draws: int = 2000,
    examined: Iterable[Finding] = (),
    required: Iterable[str] = (),
) -> Verdict:
    """Judge forecasts of transactions on the same held-out cells, as far as they are newer than every training.

    `cells` has outlet_id, week, transactions and the columns of slices and groups that the data has. `examined` are
    findings about the model itself (`training.gate.examine`); every check of `required` without a finding keeps the
    verdict open. Raises ValueError when no baseline is in the race.
    """
    if not baselines:
        raise ValueError("gate: no baseline is in the race; a challenger is never judged alone")
    sane = sanity.check_forecasts(challenger, rows=len(cells))
    if sane.outcome != "pass":
        return conclude([sane])
    newer = newer_weeks(cells, challenger, champion)
    enough = _evidence(cells[newer], champion)
    if enough.outcome != "pass":
        return conclude([sane, *examined, enough])
    resampling = Resampling(seed, draws)
    tested = _tested(
        cells[newer],
        challenger.at(newer),
        baselines={name: values[newer] for name, values in baselines.items()},
        champion=None if champion is None else champion.at(newer),
        resampling=resampling,
    )
    return conclude([sane, enough, *examined, *tested], required=required)


def newer_weeks(cells: pd.DataFrame, challenger: Contender, champion: Contender | None) -> np.ndarray:
    """Rows of weeks after everybody's training; weeks that the champion has seen would flatter it."""
    through = [c.trained_through for c in (challenger, champion) if c is not None and c.trained_through is not None]
    newer: np.ndarray = (cells["week"] > max(through)).to_numpy() if through else np.ones(len(cells), dtype=bool)
    return newer


def _evidence(cells: pd.DataFrame, champion: Contender | None) -> Finding:
    weeks, outlets = cells["week"].nunique(), cells["outlet_id"].nunique()
    figures = {"weeks": float(weeks), "outlets": float(outlets), "cells": float(len(cells))}
    if weeks >= LEAST_WEEKS and outlets >= LEAST_OUTLETS:
        said = f"{len(cells):,} cells of {weeks} weeks and {outlets} outlets, newer than every training"
        return Finding(EVIDENCE, "pass", said, figures, is_told=False)
    said = f"{weeks} weeks and {outlets} outlets held out"
    if champion is not None and champion.trained_through is not None:
        said += f", newer than the champion's training through week {champion.trained_through}"
    said += f"; at least {LEAST_WEEKS} and {LEAST_OUTLETS} are needed"
    return Finding(EVIDENCE, "not enough evidence", said, figures)


def _tested(
    cells: pd.DataFrame,
    challenger: Contender,
    *,
    baselines: Mapping[str, np.ndarray],
    champion: Contender | None,
    resampling: Resampling,
) -> list[Finding]:
    rivals = dict(baselines) if champion is None else {**baselines, CHAMPION: champion.mean}
    name = CHAMPION if champion is not None else contests.closest(cells, baselines)
    mean = challenger.mean
    return [
        *calibration.check_calibration(cells, challenger=mean, resampling=resampling),
        *contests.race(cells, challenger=mean, rivals=rivals, resampling=resampling),
        *slices.check_slices(cells, challenger=mean, reference=rivals[name], name=name, resampling=resampling),
        *fairness.check_fairness(cells, challenger=mean, resampling=resampling),
        *calibration.check_interval(cells, challenger=challenger, resampling=resampling),
        knowledge.check_scatter(cells, challenger=mean, resampling=resampling),
    ]
