"""Which changes of a contract would break those who rely on it; such a change needs a new version."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from poplift.contracts.schema import Column, Contract

PUBLISHED = Path(__file__).with_name("published.json")


def breaking_changes(old: Contract, new: Contract) -> tuple[str, ...]:
    """What a reader of `old` rows or a writer of `old` data would trip over, in words; empty when nothing.

    A nullable column may be added, a range widened, a column allowed to be null. Everything else breaks somebody.
    """
    return tuple(_table_changes(old, new))


def undeclared(published: Iterable[Contract], current: Iterable[Contract]) -> tuple[str, ...]:
    """Breaking changes of contracts whose version did not move, and published tables that are gone."""
    by_table = {contract.table: contract for contract in current}
    found = []
    for old in published:
        new = by_table.get(old.table)
        if new is None:
            found.append(f"{old.table}: the table is gone; keep it until nobody reads it")
        elif new.version == old.version:
            found += [
                f"{old.table}: {change}; publish version {old.version + 1}" for change in breaking_changes(old, new)
            ]
    return tuple(found)


def read_published(path: Path = PUBLISHED) -> tuple[Contract, ...]:
    """The contracts as they were last published."""
    return tuple(_contract(stored) for stored in json.loads(path.read_text()))


def publish(contracts: Iterable[Contract], path: Path = PUBLISHED) -> None:
    """Write down the contracts that others may rely on from now on."""
    stored = [{**asdict(c), "freshness": c.freshness.total_seconds()} for c in contracts]
    path.write_text(json.dumps(stored, indent=1) + "\n")


def _contract(stored: dict[str, Any]) -> Contract:
    columns = tuple(Column(**{**column, "allowed": tuple(column["allowed"])}) for column in stored["columns"])
    freshness = timedelta(seconds=stored["freshness"])
    return Contract(**{**stored, "key": tuple(stored["key"]), "columns": columns, "freshness": freshness})


def _table_changes(old: Contract, new: Contract) -> Iterator[str]:
    if old.key != new.key:
        yield f"the key was {', '.join(old.key)} and is {', '.join(new.key)}"
    if old.event_time != new.event_time:
        yield f"the event time was {old.event_time} and is {new.event_time}"
    for name in old.column_names:
        if name not in new.column_names:
            yield f"column {name} is gone"
        else:
            yield from _column_changes(old.column(name), new.column(name))
    for name in new.column_names:
        if name not in old.column_names and not new.column(name).nullable:
            yield f"column {name} is new and may not be null, which it is in every row of before"


def _column_changes(old: Column, new: Column) -> Iterator[str]:
    for fact in ("kind", "unit", "personal", "references"):
        before, now = getattr(old, fact), getattr(new, fact)
        if before != now:
            yield f"column {old.name}: {fact} was {before or 'none'} and is {now or 'none'}"
    if old.nullable and not new.nullable:
        yield f"column {old.name} may not be null any more"
    if old.may_be_future and not new.may_be_future:
        yield f"column {old.name} may not be in the future any more"
    gone = [word for word in old.allowed if new.allowed and word not in new.allowed]
    if gone or (new.allowed and not old.allowed):
        yield f"column {old.name}: {', '.join(gone) or 'every value outside the new list'} is allowed no more"
    if new.minimum is not None and (old.minimum is None or new.minimum > old.minimum):
        yield f"column {old.name}: the least value rose to {new.minimum}"
    if new.maximum is not None and (old.maximum is None or new.maximum < old.maximum):
        yield f"column {old.name}: the greatest value fell to {new.maximum}"


if __name__ == "__main__":
    from poplift.contracts.tables import EVERY_CONTRACT

    publish(EVERY_CONTRACT)
