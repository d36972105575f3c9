"""A panel whose lifts are known: 24 outlets, 3 ppgs, 60 weeks; promotions follow what sold in the weeks before."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from poplift.activation import Activation
from training.effects.estimate import estimate
from training.effects.observations import observe

DISPLAY, MAILER, PRICE = 0.4, 0.6, 2.0
DIP, SWITCHING = 0.1, 0.15


@dataclass(frozen=True)
class Shop:
    """The three frames of a panel, and what would have sold on full shelves."""

    panel: pd.DataFrame
    outlets: pd.DataFrame
    calendar: pd.DataFrame
    wanted: np.ndarray

    def observations(self):
        return observe(self.panel, outlets=self.outlets, calendar=self.calendar)


def shop(seed=1, *, outlets=24, ppgs=3, weeks=60, mean=8.0, empties=False, drawn=0.15, works=1.0):
    random = np.random.default_rng(seed)
    size = random.normal(0, 0.4, outlets)
    level = mean * np.exp(size[:, None] + random.normal(0, 0.3, (outlets, ppgs)))
    noise, lifts, rows, wanted = np.zeros((outlets, ppgs)), [np.zeros((outlets, ppgs))], [], []
    trend = np.zeros((outlets, ppgs))
    for week in range(1, weeks + 1):
        noise = 0.6 * noise + random.normal(0, 0.15, noise.shape)
        display = random.uniform(size=noise.shape) < 1 / (1 + np.exp(1.4 - 2 * trend - 1.5 * size[:, None]))
        mailer = np.broadcast_to(random.uniform(size=ppgs) < 0.25, noise.shape)
        cut = np.broadcast_to(
            np.where(random.uniform(size=ppgs) < 0.4, random.choice([0.1, 0.2, 0.3], ppgs), 0.0), noise.shape
        )
        explored = random.uniform(size=noise.shape) < drawn
        display = np.where(explored, random.uniform(size=noise.shape) < 0.5, display)
        mailer = np.where(explored, random.uniform(size=noise.shape) < 0.5, mailer)
        cut = np.where(explored, random.choice([0.0, 0.2], noise.shape), cut)
        lift = works * (DISPLAY * display + MAILER * mailer - PRICE * np.log1p(-cut))
        lost = DIP * lifts[-1] + SWITCHING * (lift.sum(axis=1, keepdims=True) - lift) / (ppgs - 1)
        demand = random.poisson(level * np.exp(noise + lift - lost))
        stock = np.ceil(1.6 * level * np.exp(noise + 0.5 * lift - lost + random.normal(0, 0.4, noise.shape)))
        sold = np.minimum(demand, stock) if empties else demand
        flag = np.where(sold < demand, random.uniform(size=noise.shape) < 0.9, random.uniform(size=noise.shape) < 0.03)
        trend = np.log((sold + 1) / (level + 1))
        lifts.append(lift)
        wanted.append(demand)
        outlet, ppg = (a.ravel() for a in np.meshgrid(range(outlets), range(ppgs), indexing="ij"))
        rows.append(
            pd.DataFrame(
                {
                    "outlet_id": [f"o{n:02d}" for n in outlet],
                    "ppg_id": [f"g{n}" for n in ppg],
                    "week": week,
                    "transactions": sold.ravel().astype(int),
                    "units": (2 * sold).ravel().astype(int),
                    "base_price": 2.0 + ppg,
                    "price": (2.0 + ppg) * (1 - cut.ravel()),
                    "display": display.ravel().astype(int),
                    "mailer": mailer.ravel().astype(int),
                    "price_cut": cut.ravel(),
                    "activation": [
                        Activation(display=bool(d), mailer=bool(m), price_cut=float(c)).name
                        for d, m, c in zip(display.ravel(), mailer.ravel(), cut.ravel(), strict=True)
                    ],
                    "in_stock": (~flag if empties else np.ones_like(flag, dtype=bool)).ravel(),
                    "explored": explored.ravel(),
                    "propensity": np.where(explored, 1 / 8, np.nan).ravel(),
                }
            )
        )
    ids = [f"o{n:02d}" for n in range(outlets)]
    return Shop(
        panel=pd.concat(rows, ignore_index=True),
        outlets=pd.DataFrame({"outlet_id": ids, "size": size, "income": random.normal(size=outlets), "coolers": 2.0}),
        calendar=pd.DataFrame({"week": range(1, weeks + 1), "season_sin": 0.0, "season_cos": 0.0, "holiday": 0}),
        wanted=np.stack(wanted),
    )


@pytest.fixture(scope="session")
def make_shop():
    return shop


@pytest.fixture(scope="session")
def known():
    return shop(1)


@pytest.fixture(scope="session")
def found(known):
    return estimate(known.observations(), seed=1)
