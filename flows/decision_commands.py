"""The commands around decisions: land those that were served, value policies on them, simulate a market, plan."""

from pathlib import Path
from typing import Annotated

import typer

from flows.invocation import run_step

decision_commands = typer.Typer()


@decision_commands.command()
def decisions() -> None:
    """Bring what the API decided into the lake, once."""
    from flows.steps.decisions import land_logged, summary

    typer.echo(summary(run_step("Land decisions", land_logged)))


@decision_commands.command("off-policy")
def off_policy() -> None:
    """What other policies would have brought, from the log."""
    from flows.console import Console
    from flows.off_policy_console import show
    from flows.steps.off_policy import value_log

    show(Console(), run_step("Value policies on the log", value_log))


@decision_commands.command()
def simulate(
    *,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same market.")] = 7,
    weeks: Annotated[int, typer.Option(min=1, help="Weeks to play.")] = 104,
    outlets: Annotated[int, typer.Option(min=4, help="Outlets.")] = 400,
    events: Annotated[bool, typer.Option("--events", help="Contract events for the lake too; slower.")] = False,
) -> None:
    """Play a simulated market with known truth, to Parquet."""
    from flows.console import Console
    from flows.steps.simulate import simulate_market

    Console().simulated(
        run_step("Simulate a market", simulate_market, seed=seed, weeks=weeks, outlets=outlets, events=events)
    )


@decision_commands.command()
def study(
    study_id: Annotated[str, typer.Argument(metavar="ID", help="A study of docs/science.md, such as S2, or all.")],
    *,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first run.")] = 1,
    runs: Annotated[int | None, typer.Option(min=1, help="Runs; as many as the goal needs by default.")] = None,
) -> None:
    """Judge a claim against known truth, by simulation."""
    from flows.console import Console
    from flows.steps.study import study as run_it
    from flows.studies.catalog import STUDIES

    for one in STUDIES if study_id == "all" else (study_id,):
        Console().studied(run_step(f"Study {one}", run_it, study_id=one, seed=seed, runs=runs))


@decision_commands.command()
def plan(
    *,
    budget: Annotated[
        float | None, typer.Option(help="USD the activations may cost; without it none is spent.")
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="JSON file of rules, in the form of POST /v1/plan.")] = None,
) -> None:
    """Choose the coming week's activations under a budget."""
    from flows.console import Console
    from flows.steps.plan import plan_coming_week, read_rules

    asked = read_rules(rules, budget_usd=budget)
    Console().planned(run_step("Plan the coming week", plan_coming_week, rules=asked))


@decision_commands.command()
def loop(
    *,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same market.")] = 7,
    weeks: Annotated[int, typer.Option(min=4, help="Weeks in which the platform decides.")] = 52,
    outlets: Annotated[int, typer.Option(min=40, help="Outlets.")] = 120,
) -> None:
    """Let the platform run a simulated market for a year."""
    from flows.console import Console
    from flows.steps.loop import play_loop

    Console().looped(run_step("Closed loop", play_loop, seed=seed, weeks=weeks, outlets=outlets))
