"""What a person sees of a model's life: the ledger, a retrain decision, a traced decision."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flows.console import Console
from flows.steps.ledger import LedgerState

if TYPE_CHECKING:
    from flows.steps.retrain import Retrained

COLUMNS = ["when (UTC)", "model", "alias", "move", "who", "verdict", "why"]
NOT_DONE = {"intended": "announced", "owed": "owed to MLflow", "dropped": "not made"}


def ledger_table(state: LedgerState, *, verified: bool) -> None:
    """The moves as a table, then what is wrong with them."""
    from rich.markup import escape

    console = Console()
    finished = _finished(state)
    rows = []
    for entry in state.entries:
        move = entry.move
        if move.state in {"intended", "owed"} and entry.number in finished:
            continue  # what became of it is a line of its own
        verdict = f"{move.verdict} {(move.verdict_digest or '')[:12]}".strip()
        verdict += f", {move.override} answers for it" if move.override else ""
        step = f"{move.from_version or 'none'} → {move.to_version or 'none'}"
        step += f" ({NOT_DONE[move.state]})" if move.state in NOT_DONE else ""
        cells = [f"{move.at:%F %T}", move.model, move.alias, step, move.who, verdict, move.why]
        rows.append([escape(cell) for cell in cells])
    if rows:
        console.table("Moves of the models' aliases", COLUMNS, rows)
    else:
        console.say("  no alias was moved yet")
    for reason in state.reasons:
        console.line(reason)
    if state.not_asked:
        console.line(f"MLflow could not be asked: {state.not_asked}")
    elif verified and not state.reasons:
        console.say("  the chain holds, and MLflow says the same")


def moves_as_json(state: LedgerState) -> dict[str, Any]:
    """Lines and findings for machines."""
    return {
        "entries": [
            {"line": e.number, "digest": e.digest, **asdict(e.move), "at": e.move.at.isoformat()} for e in state.entries
        ],
        "reasons": state.reasons,
        "not_asked": state.not_asked,
    }


def retrained(console: Console, done: "Retrained") -> None:
    """What was decided with its reasons, and how good a model is that was trained."""
    word = "yellow" if done.trained is None else "green"
    console.say(f"  Retrain: [{word}]{done.result}[/]")
    for reason in done.decision.reasons:
        console.line(reason, indent=4)
    if done.trained is not None:
        console.trained(done.trained)


def _finished(state: LedgerState) -> set[int]:
    """Numbers of announced moves that a later line of the same alias says the end of."""
    ended: set[int] = set()
    pending: dict[tuple[str, str], int] = {}
    for entry in state.entries:
        key = (entry.move.model, entry.move.alias)
        if entry.move.state in {"intended", "owed"}:
            pending[key] = entry.number
        elif key in pending:
            ended.add(pending.pop(key))
    return ended
