"""What effects are estimated from: the observed panel as arrays over week, outlet and ppg."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

KEYS = ("week", "outlet_id", "ppg_id")
REQUIRED = (*KEYS, "transactions", "units", "base_price", "display", "mailer", "price_cut")
# What a source may lack, and what its absence means.
OPTIONAL = {"coupon": 0.0, "in_stock": 1.0, "explored": 0.0, "propensity": np.nan, "competitor_depth": 0.0}
ATTRIBUTES = ("size", "income", "coolers")
COMPONENTS = ("display", "mailer", "both", "price")  # columns of the treatment; price is -log(1 - depth)
FEWEST_OUTLETS, FEWEST_WEEKS = 8, 20


class ObservationError(Exception):
    """The panel cannot carry an estimate; the message says what is wrong with it and what to do."""


@dataclass(frozen=True)
class Observations:
    """The panel as a cube (weeks, outlets, ppgs); a cell that was not observed is False in `observed` and 0 elsewhere.

    `treatment` has a last axis of COMPONENTS. `attributes` (outlets, q) are standardised. `calendar` is (weeks, 3):
    sine and cosine of the season, holiday. `propensity` is NaN where nobody drew.
    """

    weeks: NDArray[np.int64]
    outlets: tuple[str, ...]
    ppgs: tuple[str, ...]
    observed: Flags
    transactions: Floats
    units: Floats
    in_stock: Flags
    treatment: Floats
    coupon: Floats
    competitor_depth: Floats
    explored: Flags
    propensity: Floats
    base_price: Floats
    attributes: Floats
    attribute_names: tuple[str, ...]
    calendar: Floats

    @property
    def shape(self) -> tuple[int, int, int]:
        """Weeks, outlets, ppgs."""
        weeks, outlets, ppgs = self.observed.shape
        return weeks, outlets, ppgs


def treatment_of(display: Floats, mailer: Floats, price_cut: Floats) -> Floats:
    """The COMPONENTS of activations on a new last axis; a cut acts through the log of what is left of the price."""
    return np.stack([display, mailer, display * mailer, -np.log1p(-price_cut)], axis=-1)


def observe(
    panel: pd.DataFrame,
    *,
    outlets: pd.DataFrame,
    calendar: pd.DataFrame,
    attributes: tuple[str, ...] = ATTRIBUTES,
) -> Observations:
    """The cube of a panel with one row per outlet x ppg x week, in any order.

    `panel` has REQUIRED columns and may have OPTIONAL ones; `outlets` has outlet_id and the `attributes`; `calendar`
    has week, season_sin, season_cos, holiday. Raises ObservationError on a column that is missing or not finite, a
    cell that comes twice, an outlet or week without a row, or a panel too small to tell anything.
    """
    _require(panel, REQUIRED, "the panel")
    _require(outlets, ("outlet_id", *attributes), "the outlets")
    _require(calendar, ("week", "season_sin", "season_cos", "holiday"), "the calendar")
    axes = [np.unique(panel[key].to_numpy()) for key in KEYS]
    place = tuple(np.searchsorted(axis, panel[key].to_numpy()) for axis, key in zip(axes, KEYS, strict=True))
    shape = (len(axes[0]), len(axes[1]), len(axes[2]))
    if shape[0] < FEWEST_WEEKS or shape[1] < FEWEST_OUTLETS:
        raise ObservationError(
            f"{shape[1]} outlets and {shape[0]} weeks tell nothing about effects: at least {FEWEST_OUTLETS} outlets "
            f"and {FEWEST_WEEKS} weeks are needed"
        )
    counts = np.zeros(shape, dtype=np.int64)
    np.add.at(counts, place, 1)
    if counts.max() > 1:
        week, outlet, ppg = (axis[at[0]] for axis, at in zip(axes, np.nonzero(counts > 1), strict=True))
        raise ObservationError(f"outlet {outlet}, ppg {ppg}, week {week} comes more than once: aggregate the panel")

    def cube(name: str) -> Floats:
        filled = np.full(shape, OPTIONAL.get(name, 0.0))
        if name in panel.columns:
            filled[place] = panel[name].to_numpy(dtype=np.float64)
        return filled

    prices = panel.groupby("ppg_id", sort=True)["base_price"].mean().to_numpy(dtype=np.float64)
    return Observations(
        weeks=axes[0].astype(np.int64),
        outlets=tuple(axes[1].tolist()),
        ppgs=tuple(axes[2].tolist()),
        observed=counts > 0,
        transactions=cube("transactions"),
        units=cube("units"),
        in_stock=cube("in_stock") > 0,
        treatment=treatment_of(cube("display"), cube("mailer"), cube("price_cut")),
        coupon=cube("coupon"),
        competitor_depth=cube("competitor_depth"),
        explored=cube("explored") > 0,
        propensity=cube("propensity"),
        base_price=prices,
        attributes=_standardised(_rows(outlets, "outlet_id", axes[1], attributes)),
        attribute_names=attributes,
        calendar=_rows(calendar, "week", axes[0], ("season_sin", "season_cos", "holiday")),
    )


def _require(frame: pd.DataFrame, columns: tuple[str, ...], what: str) -> None:
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ObservationError(f"{what}: no column {', '.join(missing)}")
    for name in columns:
        values = frame[name]
        broken = values.isna() if values.dtype == object else ~np.isfinite(values.to_numpy(dtype=np.float64))
        if broken.any():
            raise ObservationError(f"{what}: column {name} is missing or infinite in {int(broken.sum())} rows")


def _rows(frame: pd.DataFrame, key: str, wanted: NDArray[np.object_], columns: tuple[str, ...]) -> Floats:
    known = frame.drop_duplicates(key).set_index(key)
    unknown = sorted(set(wanted.tolist()) - set(known.index))
    if unknown:
        raise ObservationError(f"{key} {', '.join(map(str, unknown[:3]))}: in the panel and not in its own table")
    return known[list(columns)].reindex(wanted).to_numpy(dtype=np.float64)


def _standardised(values: Floats) -> Floats:
    spread = values.std(axis=0)
    centred: Floats = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return centred
