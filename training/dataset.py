"""The training set: every panel cell of the target weeks, its label, its plan, and what was known when deciding."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
import pandas as pd

from feature_repo.catalog import DEMAND_TRAINING, MODEL_FEATURES, REQUEST_FIELDS
from feature_repo.transformations.panel import panel
from feature_repo.transformations.sources import Sources
from poplift.market_week import LOCAL_TIME, SALES_DELAY
from training.folds import FIRST_TARGET_WEEK

KEYS = ["outlet_id", "ppg_id"]
LABELS = ["transactions", "units"]
REQUEST = [field.name for field in REQUEST_FIELDS]
PROFILES = {"outlet_format": "banner", "outlet_area": "area"}  # column here → column of outlet_profiles
NOT_TOLD = "not told"


class TrainingSetError(Exception):
    """The training set cannot be trusted; the message says what is wrong with it."""


class FeatureJoin(Protocol):
    """A point-in-time join: the rows of `entities`, in their order, with the features of `service` added."""

    def __call__(self, *, entities: pd.DataFrame, service: str) -> pd.DataFrame:
        """Join features as known at each row's event_timestamp."""
        ...


@dataclass(frozen=True)
class TrainingSet:
    """One row per outlet x ppg x target week: keys, week, event_timestamp, request fields, MODEL_FEATURES, labels.

    Where the lake knows them also `outlet_format` and `outlet_area`, which the gate compares by and no model sees.
    `pins` says what it was made of, so that the same set can be made again.
    """

    frame: pd.DataFrame
    pins: dict[str, Any]


def build(sources: Sources, *, join: FeatureJoin, as_of: datetime, profiles: pd.DataFrame | None = None) -> TrainingSet:
    """Join labels, plans and features of all target weeks that `sources`, read at `as_of`, know the sales of.

    `profiles` has outlet_id, banner and area, one row per outlet; an outlet that it lacks gets NOT_TOLD for both.
    Raises TrainingSetError when the join loses or reorders rows, or leaves a feature out.
    """
    labelled = targets(sources)
    entities = labelled[[*KEYS, "event_timestamp", *REQUEST]]
    joined = join(entities=entities, service=DEMAND_TRAINING)
    _require_same_rows(entities, joined)
    features = joined[list(MODEL_FEATURES)].astype("float64")
    frame = pd.concat([labelled[[*KEYS, "week", "event_timestamp", *REQUEST]], features, labelled[LABELS]], axis=1)
    if profiles is not None:
        told = profiles.set_index("outlet_id")
        for name, column in PROFILES.items():
            frame[name] = frame["outlet_id"].map(told[column]).fillna(NOT_TOLD)
    return TrainingSet(frame, _pins(frame, as_of))


def targets(sources: Sources) -> pd.DataFrame:
    """Grain: outlet x ppg x week from week 14 on, sorted; labels, request fields and the decision instant.

    The decision for a week falls when the sales of the week before it have landed: one day after the week opens.
    """
    cells = panel(sources).drop("closes_at")
    weeks = sources.weeks.select("week", "starts_at")
    prices = sources.price_calendar.select("ppg_id", "week", "planned_price")
    table = (
        cells.filter(cells.week >= FIRST_TARGET_WEEK)
        .inner_join(weeks, "week")
        .left_join(prices, ["ppg_id", "week"])
        .drop("ppg_id_right", "week_right")
    )
    frame = table.to_pandas().sort_values(["week", *KEYS], ignore_index=True)
    if frame.empty:
        raise TrainingSetError(
            f"no week from {FIRST_TARGET_WEEK} on has sales: thirteen weeks of history come before the first target"
        )
    starts = pd.to_datetime(frame["starts_at"], utc=True).astype("datetime64[us, UTC]")
    local_day = starts.dt.tz_convert(LOCAL_TIME).dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    return pd.DataFrame(
        {
            **{key: frame[key].astype(str) for key in KEYS},
            "week": frame["week"].astype("int64"),
            "event_timestamp": starts + SALES_DELAY,
            "planned_display": frame["display"].astype("int64"),
            "planned_mailer": frame["mailer"].astype("int64"),
            "planned_price": frame["planned_price"].astype("float64"),
            "planned_week_start_day": local_day.astype("int64"),
            "transactions": frame["transactions"].astype("float64"),
            "units": frame["units"].astype("float64"),
        }
    )


def digest(frame: pd.DataFrame) -> str:
    """First 16 hex digits of a SHA-256 over every value, column name and the order of both."""
    total = sha256(",".join(frame.columns).encode())
    total.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return total.hexdigest()[:16]


def _require_same_rows(entities: pd.DataFrame, joined: pd.DataFrame) -> None:
    if len(joined) != len(entities):
        raise TrainingSetError(f"point-in-time join: {len(entities)} rows went in, {len(joined)} came out")
    for key in [*KEYS, "event_timestamp"]:
        if not np.array_equal(joined[key].to_numpy(), entities[key].to_numpy()):
            raise TrainingSetError(f"point-in-time join: column {key} came back in another order")
    missing = sorted(set(MODEL_FEATURES) - set(joined.columns))
    if missing:
        raise TrainingSetError(f"point-in-time join: no column for {', '.join(missing)}; run feast apply")


def _pins(frame: pd.DataFrame, as_of: datetime) -> dict[str, Any]:
    return {
        "as_of": as_of.isoformat(),
        "feature_service": DEMAND_TRAINING,
        "first_week": int(frame["week"].min()),
        "last_week": int(frame["week"].max()),
        "rows": len(frame),
        "transactions": int(frame["transactions"].sum()),
        "data_digest": digest(frame),
    }
