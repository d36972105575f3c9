"""The commands around a model's life: promote, roll back, ledger, retrain, trace."""

import json
from typing import Annotated

import typer

from flows.invocation import run_step, settings

model_commands = typer.Typer()
DIFFERS = 1


@model_commands.command()
def promote(
    *,
    why: Annotated[str, typer.Option(help="Reason, kept in the ledger.")],
    who: Annotated[str, typer.Option(help="Who decides, kept in the ledger.")] = "cli",
    version: Annotated[str | None, typer.Option(help="Version to promote; the challenger by default.")] = None,
    expect: Annotated[
        str, typer.Option(help="Version you believe is champion, or none; refused when it is another.")
    ] = "seen",
    override: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who answers for promoting without a passing verdict.")
    ] = None,
) -> None:
    """Make the challenger the champion, verdict permitting."""
    from flows.steps.promote import live_verdict_of
    from flows.steps.promote import promote as move

    promoted = move(settings(), who=who, why=why, version=version, expected=expect, override=override)
    live = live_verdict_of(settings(), promoted)
    typer.echo(f"live verdict: {live.told if live else 'none, it never stood beside a champion'}")
    typer.echo(f"champion: {promoted.name} version {promoted.version}; next: poplift release")


@model_commands.command()
def rollback(
    why: Annotated[str, typer.Option(help="Reason, kept in the ledger.")] = "rolled back by hand",
    who: Annotated[str, typer.Option(help="Who decides, kept in the ledger.")] = "cli",
) -> None:
    """Put the previous release back as one unit."""
    from flows.steps.rollback import roll_back

    roll_back(settings(), who=who, why=why, progress=typer.echo)


@model_commands.command()
def ledger(
    *,
    verify: Annotated[bool, typer.Option("--verify", help="Check the chain and compare with MLflow.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Who moved which alias, when and why; --verify checks it."""
    from flows.model_console import ledger_table, moves_as_json
    from flows.steps.ledger import read_ledger, verify_ledger

    state = run_step("Ledger", verify_ledger) if verify and not as_json else None
    state = state or (verify_ledger if verify else read_ledger)(settings())
    if as_json:
        typer.echo(json.dumps(moves_as_json(state), indent=1))
    else:
        ledger_table(state, verified=verify)
    if verify and (state.faults or state.unverified or state.not_asked):
        raise typer.Exit(DIFFERS)


@model_commands.command()
def retrain(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be decided; write and train nothing.")
    ] = False,
    why: Annotated[str, typer.Option(help="What asks for it, kept with the decision.")] = "by hand",
) -> None:
    """Train if the evidence says so; the decision is kept."""
    from flows.console import Console
    from flows.model_console import retrained
    from flows.steps.retrain import retrain as run

    retrained(Console(), run_step("Retrain", run, cause=why, dry_run=dry_run))


@model_commands.command()
def trace(
    decision_id: Annotated[str, typer.Argument(metavar="DECISION_ID", help="As the answer carried it.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """From a served decision back to the raw rows."""
    from flows.steps.trace import trace as follow
    from flows.trace_console import as_json as written
    from flows.trace_console import show

    if as_json:
        typer.echo(written(follow(settings(), decision_id=decision_id)))
    else:
        show(run_step("Trace", follow, decision_id=decision_id))
