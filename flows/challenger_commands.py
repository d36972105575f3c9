"""The commands of a challenger beside the champion: shadow, canary, status, judge, stop."""

import json
from typing import Annotated

import typer

from flows.invocation import run_step, settings

challenger_commands = typer.Typer(help="See a challenger on real requests before it is champion.", no_args_is_help=True)

Who = Annotated[str, typer.Option(help="Who decides, kept with it.")]
Why = Annotated[str, typer.Option(help="Reason, kept with it.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@challenger_commands.command()
def shadow(*, who: Who = "cli", why: Why = "to see it on real requests") -> None:
    """Let the challenger answer beside the champion, unseen."""
    from flows.steps.challenger import place

    placed = run_step("Shadow", place, share=0.0, who=who, why=why)
    typer.echo(f"release {placed.release_id} answers in the shadow; next: poplift challenger status")


@challenger_commands.command()
def canary(
    *,
    share: Annotated[float, typer.Option(min=0.001, max=0.5, help="Share of the outlets it answers.")] = 0.1,
    who: Who = "cli",
    why: Why = "to see it at some outlets",
) -> None:
    """Let the challenger answer a share of the outlets, always the same."""
    from flows.steps.challenger import place

    placed = run_step("Canary", place, share=share, who=who, why=why)
    typer.echo(f"release {placed.release_id} answers {share:.1%} of the outlets; next: poplift challenger judge")


@challenger_commands.command()
def status(*, as_json: AsJson = False) -> None:
    """Compare both releases on the same questions; nothing is decided."""
    from flows.challenger_console import beside_as_json, show
    from flows.steps.challenger import look

    if as_json:
        typer.echo(json.dumps(beside_as_json(look(settings())), indent=1))
    else:
        show(run_step("Compare", look))


@challenger_commands.command()
def judge(*, who: Who = "cli") -> None:
    """Seal what is known as its live verdict; one that does harm is stopped."""
    from flows.challenger_console import show
    from flows.steps.challenger import judge as run

    ended = run_step("Judge", run, who=who)
    show(ended.beside)
    if ended.is_demoted:
        typer.echo("stopped: the champion answers everyone, the alias challenger is taken away, the ledger says why")


@challenger_commands.command()
def stop(*, who: Who = "cli", why: Why = "stopped by hand") -> None:
    """End shadow or canary without a verdict; the alias stays."""
    from flows.steps.challenger import take_away

    placed = take_away(settings(), who=who, why=why)
    typer.echo(f"release {placed.release_id} answers nobody any more; the champion answers everyone within seconds")
