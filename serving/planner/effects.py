"""The effect table as the planner takes it: every row checked once, the good ones as arrays in a fixed order."""

import hashlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from feature_repo.catalog import EFFECT_VIEW
from poplift.activation import NONE, Activation, parse_activation
from serving.planner.problem import Flags, Floats, Ints

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

TABLE = EFFECT_VIEW.name
KEYS = EFFECT_VIEW.entities
MEASURES = ("transactions", "units", "margin_usd")
ESTIMATES = tuple(f.name for f in EFFECT_VIEW.features if f.name.startswith("incremental_"))  # three a measure
GIVE_AWAY = "give_away_usd"  # what a price cut gives away a week on all that is bought at it
COLUMNS = (*KEYS, *ESTIMATES, GIVE_AWAY, "overlap", "evidence")
TIMES = ("event_timestamp", "created_timestamp")
SUFFICIENT = "sufficient"
TOO_OLD = f"the fit is more than {EFFECT_VIEW.ttl.days} days old"


class EffectTableError(Exception):
    """There is no usable effect table; the message says where one was looked for and what to do."""


class NoEffectTableError(EffectTableError):
    """Nobody has estimated effects yet."""


class OldEffectsError(EffectTableError):
    """Nothing of the table is young enough to plan by; an online read of it would find nothing either."""


@dataclass(frozen=True)
class Effect:
    """Estimates of one measure, (n,) each: per week, net of switching and of the dip, with the table's interval."""

    estimate: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class EffectTable:
    """n rows in order of outlet, ppg and activation; `none` is left out, it has no effect by definition.

    `margin` is before all that an activation costs, and `give_away` (n,), USD, is a part of that cost: the file's
    margin is after it; here it is added back, so that a budget counts it. `outlet`, `ppg` and `activation` (n,) are
    places in `outlet_ids`, `ppg_ids` and `activations`; `refused` counts the rows left out, by reason; `fitted_at` is
    the business time of the newest fit, None where the rows do not say.
    """

    outlet_ids: tuple[str, ...]
    ppg_ids: tuple[str, ...]
    activations: tuple[Activation, ...]
    outlet: Ints
    ppg: Ints
    activation: Ints
    transactions: Effect
    units: Effect
    margin: Effect
    give_away: Floats
    is_thin: Flags
    refused: Mapping[str, int]
    digest: str
    fitted_at: datetime | None = None

    def __len__(self) -> int:
        return len(self.outlet)

    def place_of_outlet(self, outlet_id: str) -> int | None:
        """Where an outlet is in `outlet_ids`, None when it is not."""
        return _place(self.outlet_ids, outlet_id)

    def place_of_ppg(self, ppg_id: str) -> int | None:
        """Where a ppg is in `ppg_ids`, None when it is not."""
        return _place(self.ppg_ids, ppg_id)


def from_frame(frame: "pd.DataFrame") -> EffectTable:
    """The effect table of a pandas frame; raises EffectTableError."""
    import pyarrow as pa

    return effect_table(pa.Table.from_pandas(frame, preserve_index=False))


def effect_table(table: "pa.Table", *, name: str = TABLE, as_of: datetime | None = None) -> EffectTable:
    """Check an Arrow table and keep its good rows; raises EffectTableError where columns or all rows are unusable.

    Of a table with row versions the newest row of every key counts that was known at `as_of`, if it is no older than
    the online store would answer with.
    """
    missing = [column for column in COLUMNS if column not in table.column_names]
    if missing:
        raise EffectTableError(f"{name}: column {', '.join(missing)} is missing; the table needs {', '.join(COLUMNS)}")
    named = [_coded(table[key]) for key in KEYS]
    values = np.column_stack([_numbers(table, column, name) for column in (*ESTIMATES, GIVE_AWAY)])
    believed = _newest(table, [codes for codes, _ in named], as_of)
    fitted = _instants(table, TIMES[0]) if TIMES[0] in table.column_names else None
    broken = _problems(named, values, believed)
    if fitted is not None and as_of is not None:
        broken[TOO_OLD] = fitted < _instant(as_of - EFFECT_VIEW.ttl)
        if believed.any() and broken[TOO_OLD][believed].all():
            raise OldEffectsError(
                f"{name}: the newest effects are of {fitted[believed].max().astype('datetime64[D]')}, more than "
                f"{EFFECT_VIEW.ttl.days} days before {as_of:%Y-%m-%d}: run `poplift effects`"
            )
    refused = {why: int((rows & believed).sum()) for why, rows in broken.items() if (rows & believed).any()}
    good = believed & ~np.logical_or.reduce(list(broken.values()))
    if not good.any():
        raise EffectTableError(
            f"{name}: not one of its {len(values)} rows is usable: {refused or 'none was known then'}"
        )
    evidence, words = _coded(table["evidence"])
    is_thin = evidence != (words.index(SUFFICIENT) if SUFFICIENT in words else len(words))
    made = _ordered(named, values, is_thin, np.flatnonzero(good), refused)
    newest = None if fitted is None else fitted[good].max().astype("datetime64[us]").item().replace(tzinfo=UTC)
    return replace(made, fitted_at=newest)


def age_note(fitted_at: datetime | None, *, now: datetime) -> str | None:
    """What to say of effects that are older than they should be; None while they are young."""
    if fitted_at is None or now - fitted_at <= EFFECT_VIEW.soft_age:
        return None
    return (
        f"the effects are {(now - fitted_at).days} days old and should not be older than {EFFECT_VIEW.soft_age.days}: "
        "run `poplift effects`"
    )


def _ordered(
    named: Sequence[tuple[Ints, list[Any]]], values: Floats, is_thin: Flags, rows: Ints, refused: Mapping[str, int]
) -> EffectTable:
    found = [
        _placed(codes[rows], words, by) for (codes, words), by in zip(named, (str, str, _by_mechanic), strict=True)
    ]
    places, names = [place for place, _ in found], [words for _, words in found]
    order = np.lexsort(places[::-1])
    activations = tuple(parse_activation(n) for n in names[2])
    is_none = np.array([a == NONE for a in activations])
    order = order[~is_none[places[2][order]]]
    rows, placed = rows[order], [place[order] for place in places]
    estimates = np.ascontiguousarray(values[rows].T)
    digest = hashlib.sha256(repr(names).encode())
    for array in (*placed, estimates, is_thin[rows]):
        digest.update(np.ascontiguousarray(array).tobytes())
    give_away = estimates[-1]
    estimates[6:9] += give_away
    measures = [Effect(*estimates[3 * i : 3 * i + 3]) for i in range(len(MEASURES))]
    return EffectTable(
        outlet_ids=tuple(names[0]),
        ppg_ids=tuple(names[1]),
        activations=activations,
        outlet=placed[0],
        ppg=placed[1],
        activation=placed[2],
        transactions=measures[0],
        units=measures[1],
        margin=measures[2],
        give_away=give_away,
        is_thin=is_thin[rows],
        refused=refused,
        digest=digest.hexdigest()[:12],
    )


def _by_mechanic(name: str) -> tuple[float, ...]:
    a = parse_activation(name)
    return (a.price_cut > 0, a.display + a.mailer, a.mailer, a.price_cut)


def _placed(codes: Ints, words: list[str], order: Any) -> tuple[Ints, list[str]]:
    """Codes and words of those rows alone, in the order asked for."""
    used = sorted(np.unique(codes).tolist(), key=lambda code: order(words[code]))
    place = np.zeros(len(words), np.intp)
    place[used] = np.arange(len(used))
    return place[codes], [words[code] for code in used]


def _coded(column: "pa.ChunkedArray") -> tuple[Ints, list[Any]]:
    """Every value as its place in a list of the different ones, -1 for null."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    encoded = pa.concat_arrays(column.chunks or [pa.array([], column.type)]).dictionary_encode()
    codes = np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.intp)
    return codes, encoded.dictionary.to_pylist()


def _numbers(table: "pa.Table", column: str, name: str) -> Floats:
    import pyarrow as pa

    try:
        numbers: Floats = table[column].cast(pa.float64(), safe=False).to_numpy()
    except pa.ArrowException as error:
        raise EffectTableError(f"{name}: column {column} holds {table[column].type}, not numbers") from error
    return numbers


def _instants(table: "pa.Table", column: str) -> Any:
    import pyarrow as pa

    return table[column].cast(pa.timestamp("us"), safe=False).to_numpy()


def _instant(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")


def _newest(table: "pa.Table", keys: Sequence[Ints], as_of: datetime | None) -> Flags:
    """Rows that count: all of a plain table; else those of the last event, and its last correction, of every key."""
    keep = np.ones(table.num_rows, np.bool_)
    times = [_instants(table, t) for t in TIMES if t in table.column_names]
    if not times:
        return keep
    if as_of is not None:
        keep = np.logical_and.reduce([t <= _instant(as_of) for t in times])
    rows = np.flatnonzero(keep)
    key = _key(keys)[rows]
    order = np.lexsort((*(t[rows] for t in reversed(times)), key))
    last = order[np.flatnonzero(np.diff(key[order], append=-1))]
    newest = np.zeros(int(key.max(initial=0)) + 1, np.intp)
    newest[key[last]] = rows[last]
    keep[rows] = np.logical_and.reduce([t[rows] == t[newest[key]] for t in times])
    return keep


def _key(keys: Sequence[Ints]) -> Ints:
    """One number per different combination of codes, null a code like any other."""
    key = np.zeros(len(keys[0]), np.intp)
    for codes in keys:
        key = key * (int(codes.max(initial=-1)) + 2) + codes + 1
    _, numbers = np.unique(key, return_inverse=True)
    return numbers


def _problems(named: Sequence[tuple[Ints, list[Any]]], values: Floats, believed: Flags) -> dict[str, Flags]:
    """Which rows break which rule; a row that is there twice is not believed either time."""
    texts = [np.array([*(isinstance(w, str) and w != "" for w in words), False])[codes] for codes, words in named[:2]]
    codes, words = named[2]
    estimate, low, high = (values[:, :-1][:, i::3] for i in range(3))
    key = _key([codes for codes, _ in named])
    counts = np.bincount(key[believed], minlength=int(key.max(initial=0)) + 1)
    return {
        "outlet_id or ppg_id is not a text": ~(texts[0] & texts[1]),
        "activation is not known": ~np.array([*map(_is_activation, words), False])[codes],
        "an estimate or bound is not a number": ~np.isfinite(values).all(axis=1),
        "an estimate lies outside its interval": ((low > estimate) | (estimate > high)).any(axis=1),
        "the row is there twice": counts[key] > 1,
    }


def _is_activation(name: object) -> bool:
    try:
        return isinstance(name, str) and parse_activation(name) is not None
    except ValueError:
        return False


def _place(known: tuple[str, ...], wanted: str) -> int | None:
    at = bisect_left(known, wanted)
    return at if at < len(known) and known[at] == wanted else None
