"""Planned rows by the release that answers online: blocks of them as columns, and the coming week as one file."""

import hashlib
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from poplift.activation import Activation
from poplift.atomic import sync
from poplift.market_week import decided_week
from serving.known_pairs import Known, KnownPairs
from serving.online import FeatureReader, coming_week_start_day, model_inputs, planned_price, read_rows
from serving.release import LoadedRelease
from serving.scoring import score_inputs

if TYPE_CHECKING:
    import pandas as pd

PLAN = pa.schema(
    [
        ("outlet_id", pa.string()),
        ("ppg_id", pa.string()),
        ("display", pa.bool_()),
        ("mailer", pa.bool_()),
        ("price_cut", pa.float64()),
    ]
)
CHUNK_ROWS = 20_000
SCORED, UNKNOWN, INVALID = "scored", "unknown", "invalid"

Places = NDArray[np.intp]


class PlanError(Exception):
    """The planned rows cannot be scored; the message names the column and what to do."""


@dataclass(frozen=True)
class BatchScorer:
    """Scores blocks of planned rows, whose columns are those of `PLAN`; threads may share it.

    The numbers are those of POST /v1/demand. A row the store does not know keeps its place with `status` unknown, one
    whose activation is not valid with `status` invalid: the reason in `flags`, and no numbers. A pair of outlet and
    ppg is read once, however many blocks have it.
    """

    release: LoadedRelease
    reader: FeatureReader
    business_time: datetime
    _pairs: KnownPairs = field(default_factory=KnownPairs, init=False, repr=False, compare=False)

    def score(self, plan: pa.RecordBatch) -> pa.RecordBatch:
        """One row of answer for every planned row, in order; raises whatever the reader raises."""
        week_start_day = coming_week_start_day(self.business_time)
        pairs, pair = self._read(plan)
        activations, activation = _activations(plan)
        planned = [found if isinstance(found, Activation) else Activation() for found in activations]
        cells = np.concatenate([known.cells for known in pairs]).reshape(len(pairs), -1)[pair]
        inputs = model_inputs(cells, planned, chosen=activation, week_start_day=week_start_day)
        predicted = score_inputs(self.release, inputs)
        is_valid = np.array([isinstance(found, Activation) for found in activations])[activation]
        is_known = np.array([known.unknown is None for known in pairs])[pair]
        # an unknown row was computed on defaults: its numbers would look like an answer
        nothing = ~(is_valid & is_known)
        numbers = {
            "price_usd": planned_price(cells, planned, chosen=activation),
            "transactions": predicted.transactions,
            "transactions_low": predicted.low,
            "transactions_high": predicted.high,
            "units": predicted.units,
        }
        status = np.where(is_valid, np.where(is_known, 0, 1), 2)
        flags = [known.unknown or " ".join(known.flags) for known in pairs]
        problems = ["" if isinstance(found, Activation) else found for found in activations]
        columns: dict[str, Any] = {
            "week_start": pa.array(np.full(len(plan), week_start_day, dtype="datetime64[D]").astype("datetime64[us]")),
            **dict(zip(PLAN.names, plan.columns, strict=True)),
            "activation": _repeated([found.name for found in planned], activation, mask=~is_valid),
            **{name: pa.array(np.where(nothing, np.nan, values), from_pandas=True) for name, values in numbers.items()},
            "status": _repeated([SCORED, UNKNOWN, INVALID], status),
            "degraded": pa.array(np.array([known.degraded for known in pairs])[pair]),
            "flags": pc.if_else(pa.array(is_valid), _repeated(flags, pair), _repeated(problems, activation)),
            "release_id": _repeated([self.release.id], np.zeros(len(plan), dtype=np.intp)),
            "model_version": _repeated([self.release.model_version], np.zeros(len(plan), dtype=np.intp)),
        }
        return pa.RecordBatch.from_pydict(columns)

    def _read(self, plan: pa.RecordBatch) -> tuple[list[Known], Places]:
        """Every pair once, however many activations are planned for it, and which pair each row is of."""
        outlet, ppg = (pc.fill_null(plan.column(name), "").dictionary_encode() for name in ("outlet_id", "ppg_id"))
        width = max(len(ppg.dictionary), 1)
        code = outlet.indices.to_numpy().astype(np.int64) * width + ppg.indices.to_numpy()
        codes, first, place = np.unique(code, return_index=True, return_inverse=True)
        # in the order of the rows, so that the same plan asks the store the same question
        order = np.argsort(first, kind="stable")
        outlets, ppgs = outlet.dictionary.to_pylist(), ppg.dictionary.to_pylist()
        pairs = [(outlets[pair // width], ppgs[pair % width]) for pair in codes[order].tolist()]
        read = partial(read_rows, self.reader, business_time=self.business_time, defaults=self.release.defaults)
        return self._pairs.get(pairs, read), np.argsort(order, kind="stable")[place]


def score_week(
    release: LoadedRelease,
    plan: "pd.DataFrame",
    *,
    reader: FeatureReader,
    business_time: datetime,
    into: Path,
    chunk_rows: int = CHUNK_ROWS,
) -> Path:
    """Predict every planned row for the coming week and write one Parquet file; return its path.

    `plan` has one row per (outlet_id, ppg_id, display, mailer, price_cut); other columns are refused. Same release,
    plan and features give the same bytes under the same name, so a retry writes nothing new. Raises PlanError, and
    whatever the reader raises.
    """
    if set(plan.columns) != set(PLAN.names) or plan.empty:
        raise PlanError(f"plan: need at least one row and exactly the columns {', '.join(PLAN.names)}")
    for name in PLAN.names:
        if plan[name].isna().any():
            raise PlanError(f"plan.{name}: {int(plan[name].isna().sum())} missing values; say what is planned")
    table = pa.Table.from_pandas(plan, schema=PLAN, preserve_index=False)
    scorer = BatchScorer(release, reader, business_time)
    blocks = [scorer.score(block) for block in table.combine_chunks().to_batches(max_chunksize=chunk_rows)]
    week = str(decided_week(business_time))
    return _write(pa.Table.from_batches(blocks), into / f"week={week}", release_id=release.id)


def _activations(plan: pa.RecordBatch) -> tuple[list[Activation | str], Places]:
    """What is planned, each once, or what is wrong with it; and which of them each row has."""
    display, mailer = (_codes(plan.column(name)) for name in ("display", "mailer"))
    cut = pc.dictionary_encode(plan.column("price_cut"), null_encoding="encode")
    code = (cut.indices.to_numpy().astype(np.int64) * 3 + display) * 3 + mailer
    different, place = np.unique(code, return_inverse=True)
    cuts, said = cut.dictionary.to_pylist(), (False, True, None)
    return [_activation(said[c // 3 % 3], said[c % 3], cuts[c // 9]) for c in different.tolist()], place


def _codes(column: pa.Array) -> NDArray[np.int64]:
    """0 for no, 1 for yes, 2 for a null."""
    return np.asarray(pc.fill_null(pc.cast(column, pa.int64()), 2))


def _activation(display: bool | None, mailer: bool | None, price_cut: float | None) -> Activation | str:
    try:
        return Activation.model_validate({"display": display, "mailer": mailer, "price_cut": price_cut})
    except ValidationError as error:
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())


def _repeated(texts: list[str], place: Places, *, mask: NDArray[np.bool_] | None = None) -> pa.Array:
    """The text of every row, null under the mask."""
    return pa.DictionaryArray.from_arrays(pa.array(place, pa.int32(), mask=mask), pa.array(texts, pa.string())).cast(
        pa.string()
    )


def _write(scored: pa.Table, folder: Path, *, release_id: str) -> Path:
    buffer = pa.BufferOutputStream()
    pq.write_table(scored, buffer)
    content = buffer.getvalue()
    path = folder / f"{release_id}-{hashlib.sha256(content).hexdigest()[:12]}.parquet"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{uuid.uuid4().hex}.part"
    try:
        temporary.write_bytes(content)
        sync(temporary)
        temporary.replace(path)
        sync(folder)
    finally:
        temporary.unlink(missing_ok=True)
    return path
