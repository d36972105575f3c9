"""How the demand model answers to its drivers: does it answer as it learned to, and does its SHAP agree with causes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.transformations.planned_activation import planned_activation
from training.demand import DemandModel

DEPTHS = (0.0, 0.1, 0.2, 0.3, 0.4)
TOLERANCE = 1e-9  # relative; the same inputs give the same forecast, not nearly the same
FAR = 2.0  # standard errors from which a disagreement is flagged
ROWS = 4000
# The inputs that say a driver is on; what they contribute together is the forecast's idea of its lift.
SAYS = {
    "display": ("plan_display", "plan_both"),
    "mailer": ("plan_mailer", "plan_both"),
    "price": ("plan_depth", "plan_price_ratio"),
}


@dataclass(frozen=True)
class Answer:
    """One thing that must hold in every week: the share of rows where it does, and the worst week."""

    rule: str
    share: float
    worst_week: int
    worst_share: float

    @property
    def holds(self) -> bool:
        """Whether it holds for every row."""
        return self.share >= 1.0


def answers(model: DemandModel, frame: pd.DataFrame) -> tuple[Answer, ...]:
    """Three things a demand model must do, on every row of `frame` (request fields, features, week).

    A deeper cut never lowers the forecast; taking display, mailer and cut away gives back the forecast without any;
    a cut of nothing, a price above the regular one and no planned price are all no cut. Metamorphic relations, which
    need no truth (Segura et al. 2016).
    """
    plain = _forecast(model, frame, display=0, mailer=0, depth=0.0)
    by_depth = np.stack([_forecast(model, frame, display=None, mailer=None, depth=depth) for depth in DEPTHS])
    rises = np.all(np.diff(by_depth, axis=0) >= -TOLERANCE * by_depth[:-1], axis=0)
    everything = _planned(frame, display=1, mailer=1, depth=max(DEPTHS))
    back = _same(_forecast(model, everything, display=0, mailer=0, depth=0.0), plain)
    without_price = _with_plan(frame.assign(planned_display=0, planned_mailer=0, planned_price=np.nan))
    no_cut = _same(model.predict_heads(without_price)["transactions"], plain)
    dearer = frame.assign(planned_price=1.2 * frame["base_price_13w"])
    no_cut = no_cut & (
        _with_plan(dearer)["plan_depth"].to_numpy() == 0.0
    )  # another price than the regular one, but no cut
    week = frame["week"].to_numpy()
    return (
        _answer("a deeper cut never lowers demand", rises, week),
        _answer("removing the promotion gives the base back", back, week),
        _answer("a cut of nothing is no cut", no_cut, week),
    )


def beside_causes(
    model: DemandModel, frame: pd.DataFrame, *, causes: Mapping[str, tuple[float, float]], seed: int
) -> pd.DataFrame:
    """Grain: driver. The lift that SHAP gives a driver beside its causal log-lift, and whether they disagree.

    `causes` has the coefficient and standard error of display, mailer (log-lift) and price (per unit of
    -log(1 - depth)). SHAP's is the slope of what the driver's inputs contribute on the driver, over rows of `frame`.
    Columns: driver, shap, causal, standard_error, disagrees. They may well differ: SHAP shares the credit among
    inputs that move together, and the base rate of a cell carries a part of its promotions.
    """
    booster = model.boosters["transactions"]
    names = booster.feature_name()
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(len(frame), min(ROWS, len(frame)), replace=False))
    sample = frame.iloc[chosen]
    inputs = sample[names].astype("float64").fillna(model.plan["defaults"])
    shap = pd.DataFrame(booster.predict(inputs, pred_contrib=True)[:, :-1], columns=names)
    drive = {
        "display": sample["plan_display"].to_numpy("float64"),
        "mailer": sample["plan_mailer"].to_numpy("float64"),
        "price": -np.log1p(-np.clip(sample["plan_depth"].to_numpy("float64"), 0.0, 0.75)),
    }
    rows = []
    for driver, (causal, error) in causes.items():
        told = shap[[name for name in SAYS[driver] if name in names]].sum(axis=1).to_numpy()
        varies = float(drive[driver].var()) > 0
        slope = float(np.cov(told, drive[driver])[0, 1] / drive[driver].var(ddof=1)) if varies else float("nan")
        rows.append((driver, slope, causal, error, bool(abs(slope - causal) > FAR * error)))
    return pd.DataFrame(rows, columns=["driver", "shap", "causal", "standard_error", "disagrees"])


def _forecast(
    model: DemandModel, frame: pd.DataFrame, *, display: int | None, mailer: int | None, depth: float
) -> np.ndarray:
    return model.predict_heads(_planned(frame, display=display, mailer=mailer, depth=depth))["transactions"]


def _planned(frame: pd.DataFrame, *, display: int | None, mailer: int | None, depth: float) -> pd.DataFrame:
    """The rows under another plan; None leaves what was planned."""
    price = frame["base_price_13w"].to_numpy("float64") * (1.0 - depth)
    plan = {"planned_display": display, "planned_mailer": mailer}
    return _with_plan(frame.assign(planned_price=price, **{k: v for k, v in plan.items() if v is not None}))


def _with_plan(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with their plan's inputs computed as serving computes them."""
    made = planned_activation(frame)
    return frame.assign(**{name: made[name] for name in made.columns})


def _same(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    same: np.ndarray = np.abs(one - other) <= TOLERANCE * np.maximum(np.abs(other), 1e-12)
    return same


def _answer(rule: str, rows: Any, week: np.ndarray) -> Answer:
    kept = np.asarray(rows, dtype=np.float64)
    weeks, of = np.unique(week, return_inverse=True)
    by_week = np.bincount(of, weights=kept) / np.bincount(of)
    worst = int(by_week.argmin())
    return Answer(rule, float(kept.mean()), int(weeks[worst]), float(by_week[worst]))
