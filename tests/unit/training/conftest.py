"""A synthetic training frame whose demand is known: 24 outlets, 6 ppgs, target weeks 14 to 53."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from feature_repo.catalog import MODEL_FEATURES, REQUEST_FIELDS
from training.demand import DemandModel, Recipe, fit


def _frame(seed: int, last_week: int = 53) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    outlet, ppg, week = (a.ravel() for a in np.meshgrid(range(24), range(6), range(14, last_week + 1), indexing="ij"))
    rows = len(week)
    columns = {f.name: random.uniform(size=rows) for f in REQUEST_FIELDS}
    columns |= {name: random.gamma(2.0, 0.2, size=rows) for name in MODEL_FEATURES}
    display, mailer = random.integers(0, 2, rows), random.integers(0, 2, rows)
    depth = random.choice([0.0, 0.0, 0.2, 0.4], rows)
    size = np.exp(random.normal(0, 0.5, 24))[outlet] * np.exp(random.normal(0, 0.5, 6))[ppg]
    mean = 0.3 * size * np.exp(0.4 * display + 0.6 * mailer + 2.0 * depth)
    frame = pd.DataFrame(columns).assign(
        outlet_id=[f"o{n}" for n in outlet],
        ppg_id=[f"g{n}" for n in ppg],
        week=week,
        event_timestamp=pd.Timestamp("2017-01-03", tz="UTC") + pd.to_timedelta(week - 1, unit="W"),
        planned_display=display,
        planned_mailer=mailer,
        plan_display=display.astype(float),
        plan_mailer=mailer.astype(float),
        plan_both=(display * mailer).astype(float),
        plan_depth=depth,
        plan_price_ratio=1.0 - depth,
        transactions_mean_all=0.3 * size,
        transactions_mean_13w=0.3 * size * random.gamma(20, 1 / 20, rows),
        base_rate=0.3 * size,
        transactions=random.poisson(mean).astype(float),
    )
    frame["units"] = frame["transactions"] * random.integers(1, 4, rows)
    return frame.sort_values(["week", "outlet_id", "ppg_id"], ignore_index=True)


@pytest.fixture(scope="session")
def frame() -> Callable[..., pd.DataFrame]:
    """A fresh frame of a seed."""
    return lambda seed=1, last_week=53: _frame(seed, last_week)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Small enough for a test."""
    return Recipe(rounds=40, learning_rate=0.15, num_leaves=8, min_child_samples=40, feature_fraction=0.8)


@pytest.fixture(scope="session")
def model(frame: Callable[..., pd.DataFrame], recipe: Recipe) -> DemandModel:
    """Fitted on weeks 14 to 40."""
    past = frame().query("week <= 40")
    return fit(past, recipe=recipe, seed=7, threads=1, data_digest="d1")
