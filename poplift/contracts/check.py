"""Every row through its contract once, at the boundary: good rows flow on, bad rows get a rule and a count."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import duckdb

from poplift.contracts.schema import SQL_TYPES, Column, Contract

INTEGERS = ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT", "HUGEINT")


class ContractError(Exception):
    """A table does not have the shape its contract promises; nothing of it was taken in."""


@dataclass(frozen=True)
class Violation:
    """How many rows one rule refused in one column."""

    table: str
    column: str
    rule: str
    rows: int


@dataclass(frozen=True)
class Checked:
    """Two queries over one source whose rows add up to it: typed `good` rows, `bad` ones as `rule`, `column`, `row`.

    `row` is the row as it came, as JSON: a value that does not fit its type would otherwise be lost.
    """

    good: str
    bad: str
    has_unique_keys: bool


@dataclass(frozen=True)
class _Rule:
    name: str
    column: str
    broken: str  # SQL that is true where a row breaks the rule


def check(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    *,
    source: str,
    known: Mapping[str, str],
    as_of: datetime,
) -> Checked:
    """Split the relation `source` by its contract, lazily: the queries are run by whoever writes the rows.

    `known` maps "table.column" to a query of one column `value`. A row carries the first rule it breaks, in the order
    of the columns: type, null, range, allowed, future, unknown; then duplicate, for equal key and `created_at`, where
    the first stays. Raises ContractError when a column is missing.
    """
    found = {row[0]: row[1] for row in connection.sql(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    missing = [name for name in contract.column_names if name not in found]
    if missing:
        raise ContractError(
            f"table {contract.table}: missing column {', '.join(missing)} (found: {', '.join(found)}). Nothing of it "
            "was taken in. Map the column in the source, or publish a new version of the contract."
        )
    rules = [rule for column in contract.columns for rule in _rules(column, found[column.name], known, as_of)]
    cases = " ".join(f"WHEN {r.broken} THEN '{r.name}:{r.column}'" for r in rules)
    typed = ", ".join(f'TRY_CAST(raw."{c.name}" AS {SQL_TYPES[c.kind]}) AS "{c.name}"' for c in contract.columns)
    judged = (
        f"SELECT {_list(contract)}, {_key(contract)} AS _key, CASE {cases} END AS _broken, raw AS _raw "
        f"FROM (SELECT {typed}, raw FROM {source} AS raw)"
    )
    repeated = _repeated_keys(connection, contract, f"(SELECT {typed} FROM {source} AS raw)")
    return _split(contract, judged, repeated) if repeated else _partition(contract, judged)


def _repeated_keys(connection: duckdb.DuckDBPyConnection, contract: Contract, rows: str) -> str | None:
    """Name of a table of the hashes of keys seen twice, or None: over 21 M rows a window would need gigabytes."""
    name = f"_repeated_{contract.table}"
    connection.sql(
        f"CREATE OR REPLACE TEMP TABLE {name} AS "
        f"SELECT {_key(contract)} AS value FROM {rows} GROUP BY 1 HAVING count(*) > 1"
    )
    return name if connection.sql(f"SELECT count(*) FROM {name}").fetchone() != (0,) else None


def _partition(contract: Contract, judged: str) -> Checked:
    columns = _list(contract)
    bad = f"SELECT _raw, _broken FROM ({judged}) WHERE _broken IS NOT NULL"
    return Checked(f"SELECT {columns} FROM ({judged}) WHERE _broken IS NULL", _named(bad), has_unique_keys=True)


def _split(contract: Contract, judged: str, repeated: str) -> Checked:
    """As `_partition`, with the suspect rows ranked within equal key and `created_at`."""
    columns = _list(contract)
    identity = ", ".join(f'"{name}"' for name in dict.fromkeys((*contract.key, "created_at")))
    suspects = f"_key IN (SELECT value FROM {repeated})"
    ranked = (
        f"SELECT {columns}, _raw, row_number() OVER (PARTITION BY {identity} ORDER BY {columns}) AS _copy "
        f"FROM ({judged}) WHERE _broken IS NULL AND {suspects}"
    )
    good = (
        f"SELECT {columns} FROM ({judged}) WHERE _broken IS NULL AND NOT {suspects} "
        f"UNION ALL SELECT {columns} FROM ({ranked}) WHERE _copy = 1"
    )
    bad = (
        f"SELECT _raw, _broken FROM ({judged}) WHERE _broken IS NOT NULL "
        f"UNION ALL SELECT _raw, 'duplicate:{contract.key[0]}' FROM ({ranked}) WHERE _copy > 1"
    )
    return Checked(good, _named(bad), has_unique_keys=False)


def _named(bad: str) -> str:
    split = "split_part(_broken, ':', 1) AS rule, split_part(_broken, ':', 2) AS \"column\""
    return f"SELECT {split}, to_json(_raw)::VARCHAR AS row FROM ({bad})"


def _key(contract: Contract) -> str:
    return "hash(" + ", ".join(f'"{name}"' for name in contract.key) + ")"


def _list(contract: Contract) -> str:
    return ", ".join(f'"{name}"' for name in contract.column_names)


def _rules(column: Column, found: str, known: Mapping[str, str], as_of: datetime) -> list[_Rule]:
    value, raw = f'"{column.name}"', f'raw."{column.name}"'
    rules = [("type", f"{value} IS NULL AND {raw} IS NOT NULL")]
    if column.kind == "int" and found not in INTEGERS:
        number = f"TRY_CAST({raw} AS DOUBLE)"
        rules.append(("type", f"{number} <> trunc({number})"))  # a cast would round 1.5 units to 2
    if not column.nullable:
        rules.append(("null", f"{value} IS NULL"))
    if column.kind == "float":
        rules.append(("range", f"NOT isfinite({value})"))
    if column.minimum is not None:
        rules.append(("range", f"{value} < {column.minimum}"))
    if column.maximum is not None:
        rules.append(("range", f"{value} > {column.maximum}"))
    if column.allowed:
        listed = ", ".join(f"'{word}'" for word in column.allowed)
        rules.append(("allowed", f"{value} NOT IN ({listed})"))
    if not column.may_be_future:
        rules.append(("future", f"{value} > TIMESTAMPTZ '{as_of.isoformat()}'"))
    if column.references:
        rules.append(
            (
                "unknown",
                f"{value} IS NOT NULL AND {value} NOT IN (SELECT value FROM ({known[column.references]}))",
            )
        )
    return [_Rule(name, column.name, broken) for name, broken in rules]
