"""Step: what the ledger says, and whether it, its chain and MLflow agree."""

from dataclasses import dataclass

from flows.steps.progress import Progress, silent
from flows.steps.promote import CHAMPION_LOCK, NoChampionError, reconcile
from poplift import alias_moves, registry
from poplift.databases import exclusive
from poplift.ledger import Entry
from poplift.registry import DEMAND
from poplift.settings import Settings

ALIASES = (registry.CHAMPION, registry.CHALLENGER)
RUNBOOK = "docs/runbooks/promoted-without-verdict.md"
CHAIN_RUNBOOK = "docs/runbooks/ledger-broken.md"


@dataclass(frozen=True)
class LedgerState:
    """The ledger's lines with what is wrong: contradictions, an alias nobody passed, and why MLflow was not asked."""

    entries: tuple[Entry, ...]
    faults: tuple[str, ...]
    unverified: tuple[str, ...]
    not_asked: str | None

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence for each thing that is wrong, with its runbook."""
        broken = tuple(f"The ledger is contradicted: {fault} ({CHAIN_RUNBOOK})." for fault in self.faults)
        return (*broken, *(f"{said} ({RUNBOOK})." for said in self.unverified))


def read_ledger(settings: Settings, progress: Progress = silent) -> LedgerState:
    """The ledger as it is, without asking anybody else."""
    progress("reading")
    book = alias_moves.ledger(settings)
    return LedgerState(tuple(book.entries()), book.faults(), _unverified(settings), None)


def verify_ledger(settings: Settings, progress: Progress = silent) -> LedgerState:
    """Check the chain, write down moves that were made elsewhere, and compare with MLflow; it may be down."""
    book = alias_moves.ledger(settings)
    faults = book.faults()
    not_asked = None
    progress("asking MLflow")
    try:
        with exclusive(settings, CHAMPION_LOCK):
            try:
                reconcile(settings)
            except NoChampionError:
                progress("no champion yet")
            alias_moves.reconcile(
                settings, model=registry.EFFECTS, alias=registry.CHAMPION, judge=lambda _: alias_moves.NOT_JUDGED
            )
            found = (
                *alias_moves.faults(settings, model=DEMAND, aliases=ALIASES),
                *alias_moves.faults(settings, model=registry.EFFECTS, aliases=(registry.CHAMPION,)),
            )
            faults = tuple(dict.fromkeys(found))  # both hold what is wrong with the chain
    except Exception as error:  # noqa: BLE001 - MLflow, its database, the network: the ledger is read all the same
        not_asked = f"{type(error).__name__}: {error}".splitlines()[0]
    return LedgerState(tuple(book.entries()), faults, _unverified(settings), not_asked)


def _unverified(settings: Settings) -> tuple[str, ...]:
    move = alias_moves.unverified(settings, model=DEMAND, alias=registry.CHAMPION)
    if move is None:
        return ()
    said = f"Version {move.to_version} is champion without a passing verdict (the gate said {move.verdict!r})"
    return (f"{said}; {move.who} moved it at {move.at:%F %R} UTC",)
