"""What holds for a market from its first week to its last, and the draws of a week: all from one seed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poplift.sources.market.parameters import MarketParameters

Floats = NDArray[np.float64]
BANNERS = ("north", "south", "east", "west")
AREAS = ("urban", "suburban", "rural")
WEEKS_A_YEAR = 52


@dataclass(frozen=True)
class World:
    """Outlets (n), ppgs (k: own first, then competing) and what each outlet really responds with."""

    seed: int
    banner: NDArray[np.intp]  # (n,), an outlet's banner is its price zone
    area: NDArray[np.intp]  # (n,)
    size: Floats  # (n,) log, mean 0
    income: Floats  # (n,) standardised
    coolers: Floats  # (n,) count
    hidden: Floats  # (n,) what no table holds
    base_price: Floats  # (k,) USD
    level: Floats  # (n, k) log transactions without season, noise and activations
    elasticity: Floats  # (n, k)
    display: Floats  # (n, k)
    mailer: Floats  # (n, k)


def draw_world(parameters: MarketParameters, seed: int) -> World:
    """The world of a seed: the same for every policy that is tried on it."""
    random = np.random.default_rng([seed, 0])
    n, k = parameters.outlets, parameters.ppgs
    size = random.normal(0, parameters.outlet_spread, n)
    income = random.normal(0, 1, n)
    coolers = random.poisson(2 + 2 / (1 + np.exp(-size)), n).astype(np.float64)
    stand = (coolers - coolers.mean()) / max(coolers.std(), 1e-9)
    level = (
        size[:, None]
        + random.normal(0, parameters.ppg_spread, k)
        + random.normal(0, parameters.affinity_spread, (n, k))
    )
    level += np.log(parameters.mean_transactions) - np.log(np.exp(level[:, : parameters.own_ppgs]).mean())
    own, lone = parameters.heterogeneity, parameters.unexplained

    def response(centre: float, told: Floats, of_ppg: float) -> Floats:
        by_ppg = random.normal(0, of_ppg, k)
        return centre + own * (told[:, None] + by_ppg + random.normal(0, lone, (n, k)))

    return World(
        seed=seed,
        banner=np.arange(n) % len(BANNERS),
        area=np.digitize(income + random.normal(0, 1, n), (-0.6, 0.6)),
        size=size,
        income=income,
        coolers=coolers,
        hidden=random.normal(0, 1, n),
        base_price=np.round(random.uniform(1.5, 6.0, k), 2),
        level=level,
        elasticity=response(parameters.elasticity, 0.4 * income - 0.2 * size, 0.15),
        display=response(parameters.display, 0.10 * stand + 0.05 * income, 0.03),
        mailer=response(parameters.mailer, 0.08 * size - 0.08 * income, 0.03),
    )


@dataclass(frozen=True)
class Draws:
    """The luck of one week, drawn before anybody acts: two policies on one seed meet the same luck."""

    innovation: Floats  # (n, k) of the AR(1) noise
    frailty: Floats  # (n, k) gamma with mean 1
    purchases: Floats  # (n, k) uniforms behind the transaction counts
    extra_units: Floats  # (n, k)
    stock: Floats  # (n, k) standard normals
    flag: Floats  # (n, k)
    coupon: Floats  # (n, k)
    execution: Floats  # (n, own)
    managers: np.random.Generator  # what account managers and the exploration draw with


def draw_week(parameters: MarketParameters, seed: int, week: int) -> Draws:
    """The luck of a week of a seed."""
    random = np.random.default_rng([seed, week])
    shape = (parameters.outlets, parameters.ppgs)
    return Draws(
        innovation=random.normal(0, parameters.noise, shape),
        frailty=random.gamma(parameters.dispersion, 1 / parameters.dispersion, shape),
        purchases=random.uniform(size=shape),
        extra_units=random.uniform(size=shape),
        stock=random.normal(size=shape),
        flag=random.uniform(size=shape),
        coupon=random.uniform(size=shape),
        execution=random.uniform(size=(parameters.outlets, parameters.own_ppgs)),
        managers=np.random.default_rng([seed, week, 1]),
    )


def season_of(parameters: MarketParameters, week: int) -> tuple[float, float, bool]:
    """Sine and cosine of the season and whether a holiday falls into the week; the peak is in summer."""
    shift = parameters.fault("season_shift", week) or 0.0
    angle = 2 * np.pi * (week - shift) / WEEKS_A_YEAR
    return float(np.sin(angle)), float(np.cos(angle)), (week - 1) % WEEKS_A_YEAR in (21, 26, 35, 46, 51)
