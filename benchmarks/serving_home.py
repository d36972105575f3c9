"""A home to serve from: made-up outlets in an online store, and a release with heads of 300 trees of 63 leaves."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from feature_repo.catalog import MODEL_FEATURES, VIEWS
from feature_repo.definitions.repository import objects
from poplift import feature_store
from poplift.settings import Settings, load_settings
from serving.current import activate
from serving.policy import Policy
from serving.release import HEADS, Release, build

PPGS = tuple(f"ppg-{n:02d}" for n in range(27))
BIG, SMALL = {"rounds": 300, "leaves": 63}, {"rounds": 80, "leaves": 12}  # the recipe has small quantile heads
ROWS = 20_000


def outlets(count: int) -> tuple[str, ...]:
    """Names of that many outlets."""
    return tuple(f"outlet-{n:04d}" for n in range(count))


def home(folder: Path, *, count: int, **given: Any) -> Settings:
    """Settings of a new home with `count` outlets in its online store and an active release."""
    settings = load_settings(home=folder, **given)
    settings.home.mkdir(parents=True, exist_ok=True)
    fill(settings, outlets(count))
    built = release(settings, folder / "model")
    activate(built.id, releases_dir=settings.releases_dir)
    return settings


def fill(settings: Settings, names: tuple[str, ...]) -> None:
    """Register the catalog and write a row of every view for every outlet and ppg, a day old."""
    feature_store.apply(settings, objects(settings))
    write(settings, names)


def write(settings: Settings, names: tuple[str, ...]) -> None:
    """Write the rows; again is the same rows."""
    draw = np.random.default_rng(1)
    pairs = pd.MultiIndex.from_product([names, PPGS], names=["outlet_id", "ppg_id"]).to_frame(index=False)
    for view in VIEWS:
        rows = pairs[list(view.entities)].drop_duplicates(ignore_index=True)
        values = {f.name: draw.gamma(1.0, 1.5, len(rows)) for f in view.features}
        event = settings.business_time - timedelta(days=1)
        frame = rows.assign(**values, event_timestamp=event, created_timestamp=event)
        feature_store.write_online(settings, view=view.name, frame=frame)


def release(settings: Settings, folder: Path, *, big: Mapping[str, int] = BIG) -> Release:
    """Train the four heads on made-up sales and build a release of them."""
    folder.mkdir(parents=True)
    for head, booster in heads(big):
        booster.save_model(folder / f"{head}.lgb")
    golden = training_rows()[0].head(5)
    plan = {
        "features": list(MODEL_FEATURES),
        "heads": {head: f"{head}.lgb" for head in HEADS},
        "defaults": dict.fromkeys(MODEL_FEATURES, 1.0),
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    policy = Policy(ppgs=PPGS, sentinel_outlet=outlets(1)[0])
    return build(folder, releases_dir=settings.releases_dir, policy=policy, golden=golden, versions={})


def heads(big: Mapping[str, int] = BIG) -> Iterator[tuple[str, lightgbm.Booster]]:
    """Transactions and units at full size, the quantiles at the size of the recipe."""
    rows, sold = training_rows()
    for head in HEADS:
        is_quantile = head.startswith("transactions_q")
        size = SMALL if is_quantile else big
        alpha = 0.1 if head.endswith("q10") else 0.9
        parameters = {
            "objective": "quantile" if is_quantile else "poisson",
            **({"alpha": alpha} if is_quantile else {}),
            "num_leaves": size["leaves"],
            "verbose": -1,
            "num_threads": 1,
            "seed": 1,
            "deterministic": True,
        }
        target = sold * 2 if head == "units" else sold
        yield head, lightgbm.train(parameters, lightgbm.Dataset(rows, target), size["rounds"])


def training_rows() -> tuple[pd.DataFrame, np.ndarray]:
    """Made-up rows of the model's features, and what sold."""
    draw = np.random.default_rng(2)
    rows = pd.DataFrame(draw.gamma(1.0, 1.5, (ROWS, len(MODEL_FEATURES))), columns=list(MODEL_FEATURES))
    for name in ("plan_display", "plan_mailer"):
        rows[name] = draw.integers(0, 2, ROWS).astype(float)
    rows["plan_both"] = rows["plan_display"] * rows["plan_mailer"]
    rows["plan_depth"] = draw.choice([0.0, 0.1, 0.2, 0.3], ROWS)
    rows["plan_price_ratio"] = 1.0 - rows["plan_depth"]
    rate = 0.2 * rows["transactions_mean_4w"] + 0.8 * rows["plan_display"] + 2.0 * rows["plan_depth"]
    rate += 0.1 * rows["transactions_lag_1"] * rows["base_rate"] + 0.4 * rows["plan_mailer"] - 1.0
    return rows, draw.poisson(np.exp(rate.clip(upper=4.0))).astype(float)
