"""The demand model: LightGBM boosters for transactions, units and the interval, saved as text with a plan beside."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.catalog import DEMAND_SERVING, MODEL_FEATURES
from training.metrics import jittered

HEADS = ("transactions", "units", "transactions_q10", "transactions_q90")
QUANTILES = {"transactions_q10": 0.1, "transactions_q90": 0.9}
PLAN = "plan.json"
BINS = 127
# A deeper cut never lowers demand. Both features are functions of the one planned price.
MONOTONE = {"plan_depth": 1, "plan_price_ratio": -1}


class ModelFilesError(Exception):
    """A saved model cannot be used; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Recipe:
    """The hyper-parameters that the search may choose; everything else is fixed by `_parameters`."""

    rounds: int = 260
    learning_rate: float = 0.065
    num_leaves: int = 28
    min_child_samples: int = 400
    feature_fraction: float = 0.25
    lambda_l2: float = 1.5
    tweedie_power: float = 1.0  # 1 is Poisson


# Tails need less: later rounds narrow the interval below what it says on the folds (docs/decisions/0003).
QUANTILE_RECIPE = Recipe(rounds=80, learning_rate=0.1, num_leaves=12)


@dataclass(frozen=True)
class DemandModel:
    """Fitted boosters by head, and the plan that says how to feed them and what they were made of."""

    boosters: dict[str, Any]
    plan: dict[str, Any]

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Forecast every row: columns transactions, units (means), low and high (80 % interval, whole baskets).

        Columns of `frame` may come in any order; a missing value becomes the plan's default.
        """
        raw = self.predict_heads(frame)
        low, high = whole_baskets(raw["transactions_q10"]), whole_baskets(raw["transactions_q90"])
        return pd.DataFrame(
            {
                "transactions": raw["transactions"],
                "units": raw["units"],
                "low": low,
                "high": np.maximum(low, high),  # two boosters, so they may cross
            },
            index=frame.index,
        )

    def predict_heads(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        """Raw output of every head; the quantiles are those of jittered counts."""
        return {head: _predict(booster, frame, self.plan["defaults"]) for head, booster in self.boosters.items()}


def whole_baskets(jittered_quantile: np.ndarray) -> np.ndarray:
    """Quantile of a count from the quantile of its jittered self: max(0, ceil(Q - 1)).

    Machado and Santos Silva (2005), Quantiles for counts, JASA 100(472), theorem 2.
    """
    result: np.ndarray = np.maximum(0.0, np.ceil(jittered_quantile - 1.0))
    return result


def fit(
    train: pd.DataFrame,
    *,
    recipe: Recipe,
    seed: int,
    threads: int,
    data_digest: str,
    features: tuple[str, ...] = MODEL_FEATURES,
) -> DemandModel:
    """Fit all four heads; the same rows, recipe, seed and threads give the same model, byte for byte."""
    defaults = {name: float(train[name].median()) for name in features}
    train = train.fillna(defaults)  # as at prediction: the model never meets a missing value
    heads: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "transactions": (train["transactions"].to_numpy(), mean_objective(recipe)),
        "units": (train["units"].to_numpy(), {"objective": "tweedie", "tweedie_variance_power": 1.3}),
    }
    noisy = jittered(train["transactions"].to_numpy(), seed=seed)
    for head, level in QUANTILES.items():
        heads[head] = (noisy, {"objective": "quantile", "alpha": level})
    data = binned(train, features)
    boosters = {
        head: fit_head(
            data,
            label,
            objective=objective,
            recipe=QUANTILE_RECIPE if head in QUANTILES else recipe,
            seed=seed,
            threads=threads,
        )
        for head, (label, objective) in heads.items()
    }
    plan = {
        "feature_service": DEMAND_SERVING,
        "features": list(features),
        "heads": {head: f"{head}.lgb" for head in HEADS},
        "recipe": {**recipe.__dict__, "threads": threads},
        "trained_through_week": int(train["week"].max()),
        "seed": seed,
        "data_digest": data_digest,
        "defaults": defaults,
        "interval": {
            "level": QUANTILES["transactions_q90"] - QUANTILES["transactions_q10"],
            "jitter": "uniform[0,1)",
            "to_counts": "max(0, ceil(q - 1))",
        },
    }
    return DemandModel(boosters, plan)


def binned(train: pd.DataFrame, features: tuple[str, ...] = MODEL_FEATURES) -> Any:
    """The rows as LightGBM sees them, binned once and good for any number of fits of any head."""
    import lightgbm

    return lightgbm.Dataset(
        train[list(features)].to_numpy(dtype="float64"),
        label=np.zeros(len(train)),
        feature_name=list(features),
        # Without the filter the bins would depend on the recipe of the first fit.
        params={"max_bin": BINS, "feature_pre_filter": False, "verbose": -1},
    )


def fit_head(
    data: Any, label: np.ndarray, *, objective: dict[str, Any], recipe: Recipe, seed: int, threads: int
) -> Any:
    """One booster of `binned` rows; a head of a mean is monotone in the planned price, a quantile head is free."""
    import lightgbm

    parameters = {
        **objective,
        "learning_rate": recipe.learning_rate,
        "num_leaves": recipe.num_leaves,
        "min_child_samples": recipe.min_child_samples,
        "feature_fraction": recipe.feature_fraction,
        "lambda_l2": recipe.lambda_l2,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "max_bin": BINS,
        "feature_pre_filter": False,
        "seed": seed,
        "num_threads": threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    if objective["objective"] != "quantile":  # LightGBM refuses the constraint there
        parameters["monotone_constraints"] = [MONOTONE.get(name, 0) for name in data.feature_name]
    data.set_label(label)
    return lightgbm.train(parameters, data, num_boost_round=recipe.rounds)


def mean_objective(recipe: Recipe) -> dict[str, Any]:
    """LightGBM's objective of the transactions head: Poisson, or Tweedie above power 1."""
    if recipe.tweedie_power > 1.0:
        return {"objective": "tweedie", "tweedie_variance_power": recipe.tweedie_power}
    return {"objective": "poisson", "poisson_max_delta_step": 0.7}


def _predict(booster: Any, frame: pd.DataFrame, defaults: dict[str, float]) -> np.ndarray:
    names = booster.feature_name()
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ModelFilesError(f"the model needs columns that are not there: {', '.join(missing)}")
    ordered = frame[names].astype("float64").fillna(defaults)
    prediction: np.ndarray = booster.predict(ordered, validate_features=True)
    return prediction


def save(model: DemandModel, folder: Path) -> tuple[Path, ...]:
    """Write the heads as LightGBM text and plan.json into `folder`, made if needed; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for head, name in model.plan["heads"].items():
        path = folder / name
        path.write_text(model.boosters[head].model_to_string())
        files.append(path)
    (folder / PLAN).write_text(json.dumps(model.plan, indent=1, sort_keys=True) + "\n")
    return (*files, folder / PLAN)


def load(folder: Path) -> DemandModel:
    """Read what `save` wrote; raises ModelFilesError when a file is missing, torn or made for other features."""
    import lightgbm

    try:
        plan = json.loads((folder / PLAN).read_text())
        boosters = {
            head: lightgbm.Booster(model_str=(folder / name).read_text()) for head, name in plan["heads"].items()
        }
    except (OSError, ValueError, KeyError, lightgbm.basic.LightGBMError) as error:
        raise ModelFilesError(f"{folder}: not a saved demand model ({error})") from error
    for head, booster in boosters.items():
        if booster.feature_name() != plan["features"]:
            raise ModelFilesError(f"{folder}/{plan['heads'][head]}: its features are not those of {PLAN}")
    if any(not math.isfinite(v) for v in plan["defaults"].values()):
        raise ModelFilesError(f"{folder}/{PLAN}: a default is not a number")
    return DemandModel(boosters, plan)
