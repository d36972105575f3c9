"""The instants at which something became known that changes features of weeks before."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from poplift.contracts.tables import CONTRACTS
from poplift.lake import Lake
from poplift.market_week import SALES_DELAY

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decision_instants(lake: Lake, *, as_of: datetime) -> dict[int, datetime]:
    """Week → the instant at which its sales have landed, of all weeks that have by `as_of`."""
    rows = lake.connection.execute(
        f"SELECT week, epoch_us(closes_at) FROM ({lake.query('weeks', as_of=as_of)}) ORDER BY week"
    ).fetchall()
    landed = {int(week): _instant(closes) + SALES_DELAY for week, closes in rows}
    return {week: instant for week, instant in landed.items() if instant <= as_of}


def replay_instants(
    lake: Lake, *, as_of: datetime, after: datetime | None, builds: Iterable[datetime], weeks: tuple[int, int] | None
) -> list[datetime]:
    """The instants after `after` at which a table has to be computed so that it says what was known when.

    A row is late when it became known after the decision instant of its own week, or, for tables without weeks,
    after that of the first. It counts from the next decision instant or build on; the instant before that one shows
    what was known without it. Nothing late: `as_of` alone, for then every row is as its week's own instant saw it.
    `weeks` asks for every decision instant of a range.
    """
    landed = decision_instants(lake, as_of=as_of)
    grid = sorted({*landed.values(), *(b for b in builds if b <= as_of), as_of})
    wanted = {as_of} | {at for week, at in landed.items() if weeks and weeks[0] <= week <= weeks[1]}
    for bucket in _buckets(lake, grid=grid, landed=landed, after=after):
        wanted |= set(grid[max(0, bucket - 1) : bucket + 1])
    return sorted(at for at in wanted if after is None or at > after)


def _buckets(
    lake: Lake, *, grid: Sequence[datetime], landed: Mapping[int, datetime], after: datetime | None
) -> list[int]:
    """Positions in `grid` of the first instants that know something late."""
    if not landed:
        return []
    (first,) = lake.connection.execute(f"SELECT min(week) FROM {_files(lake.parts('pos_lines'))}").fetchone() or (None,)
    opening = landed.get(first, min(landed.values()))
    weeks = ", ".join(f"({week}, {_micros(at)})" for week, at in landed.items())
    late = []
    for contract in CONTRACTS:
        parts = lake.parts(contract.table)
        if not parts:
            continue
        known = f"SELECT DISTINCT {'week, ' if 'week' in contract.column_names else ''}epoch_us(created_at) AS known_us"
        known += f" FROM {_files(parts)} WHERE epoch_us(created_at) <= {_micros(grid[-1])}"
        known += "" if after is None else f" AND epoch_us(created_at) > {_micros(after)}"
        if "week" in contract.column_names:
            late.append(f"SELECT known_us FROM ({known}) AS k JOIN landed USING (week) WHERE known_us > landed_us")
        else:
            late.append(f"SELECT known_us FROM ({known}) AS k WHERE known_us > {_micros(opening)}")
    instants = ", ".join(f"({position}, {_micros(at)})" for position, at in enumerate(grid))
    rows = lake.connection.execute(
        f"WITH landed AS (FROM (VALUES {weeks}) AS v(week, landed_us)), "
        f"grid AS (FROM (VALUES {instants}) AS v(position, grid_us)) "
        f"SELECT DISTINCT grid.position FROM ({' UNION ALL '.join(late)}) AS late "
        "ASOF JOIN grid ON known_us <= grid_us ORDER BY 1"
    ).fetchall()
    return [int(position) for (position,) in rows]


def is_backdated(lake: Lake, parts: Iterable[Path], *, through: datetime) -> bool:
    """Whether one of these files holds something that claims to have been known at `through` or before."""
    found = list(parts)
    if not found:
        return False
    (earliest,) = lake.connection.execute(f"SELECT min(epoch_us(created_at)) FROM {_files(found)}").fetchone() or (
        None,
    )
    return earliest is not None and _instant(earliest) <= through


def _files(parts: Iterable[Path]) -> str:
    return f"read_parquet([{', '.join(repr(str(p)) for p in parts)}], union_by_name = true)"


def _micros(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1)


def _instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
