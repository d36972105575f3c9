"""Where the effect table lies, and following it while it is replaced under a running service."""

import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import structlog

from serving.planner.effects import (
    COLUMNS,
    TABLE,
    TIMES,
    EffectTable,
    EffectTableError,
    NoEffectTableError,
    OldEffectsError,
    effect_table,
)

log = structlog.get_logger()


def effects_path(features_dir: Path) -> Path:
    """A folder of Parquet files like that of any feature view, or one file of the same name."""
    file = features_dir / f"{TABLE}.parquet"
    return file if file.exists() else features_dir / TABLE


def read_effects(path: Path, *, as_of: datetime) -> EffectTable:
    """The table of a Parquet file or folder as known at `as_of`; raises EffectTableError, NoEffectTableError."""
    files = _files(path)
    if not files:
        raise NoEffectTableError(f"{path}: there is no effect table: run `poplift effects`")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        tables = [pq.read_table(file, partitioning=None) for file in files]
        wanted = [[c for c in (*COLUMNS, *TIMES) if c in table.column_names] for table in tables]
        whole = pa.concat_tables([t.select(w) for t, w in zip(tables, wanted, strict=True)], promote_options="default")
    except (OSError, pa.ArrowException) as error:
        raise EffectTableError(f"{path}: cannot be read as Parquet: {error}") from error
    if not whole.num_rows:
        raise NoEffectTableError(f"{path}: no effects were estimated yet: run `poplift effects`")
    return effect_table(whole, name=str(path), as_of=as_of)


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path] * path.exists()


class CurrentEffects:
    """The effect table that answers requests: read when first asked for, when its files change, and every day anew.

    A table that cannot be used leaves the last good one in place, but one that has become too old does not. A process
    that is never asked for a plan never carries what reads Parquet.
    """

    def __init__(self, features_dir: Path, *, now: Callable[[], datetime]) -> None:
        self._features_dir, self._now = features_dir, now
        self._lock = threading.Lock()
        self._seen: tuple[object, ...] | None = None
        self._table: EffectTable | None = None
        self._is_wanted = False
        self.error: str | None = None

    def get(self) -> EffectTable | None:
        """The table of this moment; a request keeps the one it started with. None: `error` says why."""
        if not self._is_wanted:
            self._is_wanted = True
            self.refresh()
        with self._lock:  # whoever asks while it is read for the first time waits for it
            return self._table

    def refresh(self) -> None:
        """Look at the files once; what cannot be used goes to `error` and the log, never up."""
        if not self._is_wanted:
            return
        with self._lock:
            path = effects_path(self._features_dir)
            try:
                day = self._now().date()  # what was young enough yesterday may be no more
                seen = (day, path.resolve(), *((f.name, f.stat().st_mtime_ns, f.stat().st_size) for f in _files(path)))
                if seen == self._seen:
                    return
                self._seen = seen
                self._table, self.error = read_effects(path, as_of=self._now()), None
            except Exception as error:  # noqa: BLE001 - whatever a strange file raises, releases are still followed
                self.error = str(error)
                if isinstance(error, OldEffectsError):
                    self._table = None
                if not isinstance(error, NoEffectTableError):  # not everybody plans
                    log.error("effect_table_refused", cause=self.error)  # noqa: TRY400 - the cause says it
