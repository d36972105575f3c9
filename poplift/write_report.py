"""What became of rows that were given to an online store."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class WriteReport:
    """What became of the rows of a write: written, passed over because something newer was known, refused by reason.

    The three add up to the rows given.
    """

    written: int = 0
    older: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)

    @property
    def given(self) -> int:
        """Number of rows."""
        return self.written + self.older + sum(self.refused.values())

    def __add__(self, other: "WriteReport") -> "WriteReport":
        """Both together."""
        reasons = sorted({*self.refused, *other.refused})
        refused = {r: self.refused.get(r, 0) + other.refused.get(r, 0) for r in reasons}
        return WriteReport(self.written + other.written, self.older + other.older, refused)
