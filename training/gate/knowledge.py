"""Whether the model knows more than anybody could when deciding: scores too good, features that say something else."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from feature_repo.catalog import VIEWS
from feature_repo.transformations.sources import Sources
from poplift.statistics import poisson_deviance
from training.gate.finding import Finding, Outcome, bounds, percent
from training.gate.resampling import Resampling, changes

CHECK, AUDIT_CHECK = "knowledge", "point in time"
LEAST_SCATTER = -0.05  # of the deviance that counts drawn around the forecasts would have
TOLERANCE = 1e-6  # relative: two engines add up in different orders
MOST_COUNT = 40

Predict = Callable[[pd.DataFrame], np.ndarray]


def check_scatter(cells: pd.DataFrame, *, challenger: np.ndarray, resampling: Resampling) -> Finding:
    """Compare the deviance with the one that Poisson counts around these very forecasts would have.

    A forecast of the mean cannot be nearer to the counts than counts scatter: sales are at least as scattered as
    Poisson. One that is knows the outcome. Surely below LEAST_SCATTER refuses.
    """
    actual = cells["transactions"].to_numpy("float64")
    columns = np.column_stack([poisson_deviance(actual, challenger), expected_deviance(challenger)])
    (interval,) = resampling.each(cells, columns, changes)
    said = f"deviance {percent(interval)} against that of counts drawn around the forecasts"
    outcome: Outcome = "pass"
    if interval.below(LEAST_SCATTER):
        outcome, said = "refuse", f"{said}: nearer than counts scatter, so the outcome leaked into the features"
    return Finding(CHECK, outcome, said, bounds("scatter", interval), is_told=False)


def expected_deviance(mean: np.ndarray) -> np.ndarray:
    """Expected unit deviance of a Poisson count around its own mean, read off a fine grid of means."""
    from scipy.stats import poisson

    grid = np.concatenate([[0.0], np.geomspace(1e-4, max(MOST_COUNT / 4, float(mean.max())), 400)])
    counts = np.arange(int(4 * grid[-1]) + MOST_COUNT, dtype="float64")
    weights = poisson.pmf(counts[None, :], grid[:, None])
    expected = (weights * poisson_deviance(counts[None, :], grid[:, None])).sum(axis=1)
    result: np.ndarray = np.interp(mean, grid, expected)
    return result


def check_point_in_time(
    predict: Predict, week: pd.DataFrame, known: pd.DataFrame, *, features: tuple[str, ...]
) -> Finding:
    """Compare the training set's rows of one held-out week with their features as `known` at the decision.

    `known` has one row per outlet x ppg, computed from nothing but what the lake knew at that instant; a feature that
    says something else knew the future. The finding says how the deviance of the week changes with honest features.
    """
    number = int(week["week"].iloc[0])
    honest = week[["outlet_id", "ppg_id"]].merge(known, on=["outlet_id", "ppg_id"], how="left").set_axis(week.index)
    compared = [name for name in features if name in known.columns]
    foreign = [name for name in features if name not in week.columns]
    if foreign or not compared:
        said = f"features that the feature service does not have: {', '.join(foreign) or 'all'}"
        return Finding(AUDIT_CHECK, "refuse", said)
    differ = {name: _differing(week[name], honest[name]) for name in compared}
    leaks = {name: share for name, share in differ.items() if share > 0}
    figures = {"audited_features": float(len(compared)), "audited_rows": float(len(week))}
    if not leaks:
        said = f"{len(compared)} features of week {number}, recomputed from what was known when deciding, are the same"
        return Finding(AUDIT_CHECK, "pass", said, figures | {"leaking_features": 0.0})
    actual = week["transactions"].to_numpy("float64")
    before = float(poisson_deviance(actual, predict(week)).mean())
    after = float(poisson_deviance(actual, predict(week.assign(**{n: honest[n] for n in compared}))).mean())
    first = max(leaks, key=lambda name: leaks[name])
    said = (
        f"{len(leaks)} of {len(compared)} features of week {number} differ from what was known when deciding, most "
        f"{first} (in {leaks[first]:.0%} of the cells); the deviance is {before:.4f}, and {after:.4f} with honest ones"
    )
    return Finding(
        AUDIT_CHECK,
        "refuse",
        said,
        figures | {"leaking_features": float(len(leaks)), "audit_deviance": before, "audit_honest_deviance": after},
    )


def known_features(sources: Sources) -> pd.DataFrame:
    """The newest row of every batch view, one row per outlet x ppg, from sources read as of a decision."""
    tables = []
    for view in VIEWS:
        table = view.build(sources)
        newest = table.filter(table.event_timestamp == table.event_timestamp.max())
        tables.append(newest.select(*view.entities, *(f.name for f in view.features)).to_pandas())
    known = tables[0]
    for view, table in zip(VIEWS[1:], tables[1:], strict=True):
        known = known.merge(table, on=list(view.entities), how="outer")
    typed: pd.DataFrame = known.astype({"outlet_id": str, "ppg_id": str})
    return typed


def _differing(used: pd.Series, honest: pd.Series) -> float:
    ours, theirs = used.to_numpy("float64"), honest.to_numpy("float64")
    same = np.isclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    return float((~same).mean())
