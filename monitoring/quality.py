"""Whether the newest data came in as its contracts say: the share of rows that were refused."""

from collections.abc import Iterable
from dataclasses import dataclass

from monitoring.verdict import Figure, Finding, Status

REFUSED_WARN, REFUSED_BREACH = 0.02, 0.05


@dataclass(frozen=True)
class Arrived:
    """Rows of one table in the newest ingest: how many came and how many of them were refused."""

    table: str
    rows: int
    refused: int


def arrivals_finding(arrived: Iterable[Arrived]) -> Finding:
    """Grade the table of which the largest share was refused; nothing that arrived is nothing wrong."""
    shares = sorted(((a.refused / a.rows, a.table) for a in arrived if a.rows), reverse=True)
    key, label = "rows_refused", "Rows refused at the door"
    if not shares:
        return Finding("ok", (), Figure(key, label, None, "–", "nothing was ingested yet", "ok"))
    worst, table = shares[0]
    status: Status = "breach" if worst > REFUSED_BREACH else "warn" if worst > REFUSED_WARN else "ok"
    reasons = tuple(
        f"{share:.1%} of the rows of {name} were refused by its contract; the quarantine says by which rule."
        for share, name in shares
        if share > REFUSED_WARN
    )
    return Finding(status, reasons, Figure(key, label, worst, f"{worst:.1%}", f"of {table}, the worst table", status))
