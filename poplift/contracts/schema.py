"""What a contract is: grain, columns with types, units and ranges, keys, personal data, owner, freshness, version."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

Kind = Literal["string", "int", "float", "bool", "timestamp"]
PersonalData = Literal["none", "pseudonym"]

SQL_TYPES: dict[Kind, str] = {
    "string": "VARCHAR",
    "int": "BIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column and every rule its values must keep; `minimum` and `maximum` are inclusive."""

    name: str
    kind: Kind
    description: str
    unit: str = ""
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()  # the only values of a string, where they can be listed
    personal: PersonalData = "none"
    may_be_future: bool = True
    references: str | None = None  # "table.column" whose values are the only known ones


@dataclass(frozen=True, kw_only=True)
class Contract:
    """The definition of one table; `grain` is its first sentence."""

    table: str
    version: int
    grain: str
    owner: str
    key: tuple[str, ...]
    event_time: str
    freshness: timedelta
    columns: tuple[Column, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        """Refuse a contract that contradicts itself."""
        names = self.column_names
        unknown = [c for c in (*self.key, self.event_time, "created_at") if c not in names]
        if unknown or len(set(names)) != len(names):
            raise ValueError(f"contract {self.table}: unknown or repeated columns {unknown or names}")

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names in the order of the table."""
        return tuple(c.name for c in self.columns)

    def column(self, name: str) -> Column:
        """The column of that name; KeyError otherwise."""
        return {c.name: c for c in self.columns}[name]
