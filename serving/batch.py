"""The coming week in one go: the release that answers online, over a whole plan, to Parquet."""

import hashlib
import uuid
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from serving.decide import planned_price
from serving.online import FeatureReader, coming_week_start_day, model_inputs, read_rows
from serving.policy import Activation
from serving.release import LoadedRelease, sync
from serving.scoring import score

PLAN_COLUMNS = ("outlet_id", "ppg_id", "display", "mailer", "price_cut")
CHUNK_ROWS = 20_000


class PlanError(Exception):
    """The planned rows cannot be scored; the message names the column and what to do."""


def score_week(
    release: LoadedRelease,
    plan: pd.DataFrame,
    *,
    reader: FeatureReader,
    business_time: datetime,
    into: Path,
    chunk_rows: int = CHUNK_ROWS,
) -> Path:
    """Predict every planned row for the coming week and write one Parquet file; return its path.

    `plan` has one row per (outlet_id, ppg_id, display, mailer, price_cut); other columns are refused. The
    numbers are those of POST /v1/demand. A row the store does not know stays in the file with `status`
    unknown, the reason in `flags` and no prediction. Same release, plan and features give the same bytes
    under the same name, so a retry writes nothing new. Raises PlanError, and whatever the reader raises.
    """
    _check(plan)
    week_start_day = coming_week_start_day(business_time)
    chunks = [
        _score_chunk(release, plan.iloc[start : start + chunk_rows], reader, business_time, week_start_day)
        for start in range(0, len(plan), chunk_rows)
    ]
    scored = pd.concat(chunks, ignore_index=True)
    return _write(scored, into, week=str(np.datetime64(week_start_day, "D")), release_id=release.id)


def _check(plan: pd.DataFrame) -> None:
    if set(plan.columns) != set(PLAN_COLUMNS) or plan.empty:
        raise PlanError(f"plan: need at least one row and exactly the columns {', '.join(PLAN_COLUMNS)}")
    for name in PLAN_COLUMNS:
        if plan[name].isna().any():
            raise PlanError(f"plan.{name}: {int(plan[name].isna().sum())} missing values; say what is planned")


def _score_chunk(
    release: LoadedRelease,
    plan: pd.DataFrame,
    reader: FeatureReader,
    business_time: datetime,
    week_start_day: int,
) -> pd.DataFrame:
    keys = plan[["outlet_id", "ppg_id"]].astype(str)
    pairs = keys.drop_duplicates()
    # a pair is read once, however many activations are planned for it
    place = {pair: row for row, pair in enumerate(pairs.itertuples(index=False, name=None))}
    where = np.array([place[pair] for pair in keys.itertuples(index=False, name=None)], dtype=np.intp)
    entities = [{"outlet_id": outlet, "ppg_id": ppg} for outlet, ppg in place]
    activations = [
        Activation(display=bool(display), mailer=bool(mailer), price_cut=float(cut))
        for display, mailer, cut in zip(plan["display"], plan["mailer"], plan["price_cut"], strict=True)
    ]
    read = read_rows(reader, entities, business_time=business_time, defaults=release.defaults)
    online = read.take(where)
    inputs = model_inputs(online.frame, activations, week_start_day=week_start_day)
    predicted = score(release, inputs)
    known = np.array([reason is None for reason in online.unknown])
    flags = [
        reason if reason is not None else " ".join(row)
        for reason, row in zip(online.unknown, online.flags, strict=True)
    ]
    numbers = {
        "price_usd": planned_price(online.frame, activations),
        "transactions": predicted.transactions,
        "transactions_low": predicted.low,
        "transactions_high": predicted.high,
        "units": predicted.units,
    }
    return pd.DataFrame(
        {
            "week_start": np.full(len(plan), np.datetime64(week_start_day, "D")).astype("datetime64[s]"),
            **{name: plan[name].to_numpy() for name in PLAN_COLUMNS},
            "activation": [activation.name for activation in activations],
            # an unknown row was computed on defaults: its numbers would look like an answer
            **{name: np.where(known, values, np.nan) for name, values in numbers.items()},
            "status": np.where(known, "scored", "unknown"),
            "degraded": online.degraded,
            "flags": flags,
            "release_id": release.id,
            "model_version": release.model_version,
        }
    )


def _write(scored: pd.DataFrame, into: Path, *, week: str, release_id: str) -> Path:
    table = pa.Table.from_pandas(scored, preserve_index=False)
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, coerce_timestamps="us")
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:12]
    path = into / f"week={week}" / f"{release_id}-{digest}.parquet"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{uuid.uuid4().hex}.part"
    try:
        temporary.write_bytes(content)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
    return path
