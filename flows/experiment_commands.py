"""The commands of experiments: design, launch, readout."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flows.invocation import run_step

if TYPE_CHECKING:
    from flows.steps.experiment import Asked, Read
    from monitoring.experiments.design import Design
    from poplift.launches import Launch

experiment_commands = typer.Typer(help="Find out by experiment what an activation adds.", no_args_is_help=True)
LENGTHS = ["weeks", "outlets", "detectable, a look every week", "of the mean", "a look at the end", "variance removed"]

Name = Annotated[str, typer.Argument(help="Name of the experiment: small letters, digits, hyphens.")]
Ppgs = Annotated[list[str], typer.Option("--ppg", help="A ppg to run it for; may be given more than once.")]
What = Annotated[str, typer.Option(help="Short name, such as display or mailer+price_cut_20.")]
Share = Annotated[float, typer.Option(min=0.05, max=0.95, help="Share of the outlets that get it.")]
Wanted = Annotated[float | None, typer.Option(min=0, help="Transactions per outlet and week that would be worth it.")]


@experiment_commands.command("design")
def design_command(
    name: Name, *, ppg: Ppgs, activation: What = "display", share: Share = 0.5, wanted: Wanted = None
) -> None:
    """Show what it could find, by length; nothing is launched."""
    from flows.steps.experiment import design_experiment

    asked = _asked(name, activation, ppg, share, wanted)
    _designed(run_step(f"Design {name}", design_experiment, asked=asked))


@experiment_commands.command("launch")
def launch_command(
    name: Name,
    *,
    ppg: Ppgs,
    weeks: Annotated[int, typer.Option(min=1, max=52, help="Weeks with the activation.")],
    activation: What = "display",
    share: Share = 0.5,
    wanted: Wanted = None,
    looks: Annotated[Literal["weekly", "once"], typer.Option(help="How often it will be looked at.")] = "weekly",
) -> None:
    """Assign the outlets, for good; it starts with the coming week."""
    from flows.steps.experiment import launch_experiment

    asked = _asked(name, activation, ppg, share, wanted)
    _launched(run_step(f"Launch {name}", launch_experiment, asked=asked, weeks=weeks, looks=looks))


@experiment_commands.command("readout")
def readout_command(name: Name) -> None:
    """Say what it showed so far: verdict, page, table."""
    from flows.steps.experiment import read_experiment

    _read(run_step(f"Readout {name}", read_experiment, name=name))


def _asked(name: str, activation: str, ppg: list[str], share: float, wanted: float | None) -> "Asked":
    from pydantic import TypeAdapter, ValidationError

    from flows.steps.experiment import Asked
    from poplift.activation import NONE, parse_activation
    from poplift.launches import Name as LaunchName

    try:
        TypeAdapter(LaunchName).validate_python(name)
    except ValidationError as error:
        wanted_form = "at most 60 small letters, digits and hyphens, the first no hyphen"
        raise typer.BadParameter(f"{name!r}: {wanted_form}", param_hint="NAME") from error
    try:
        is_nothing = parse_activation(activation) == NONE
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--activation") from error
    if is_nothing:
        raise typer.BadParameter(
            "none is what the activation is compared with; name another", param_hint="--activation"
        )
    return Asked(name, activation, tuple(dict.fromkeys(ppg)), share, wanted)


def _designed(made: "Design") -> None:
    from flows.console import Console

    rows = [
        [
            str(row.weeks),
            f"{row.outlets:,}",
            f"{row.detectable:.2f}",
            f"{row.relative:.0%}",
            f"{row.detectable_once:.2f}",
            f"{row.variance_removed:.0%}",
        ]
        for row in made.rows
    ]
    title = f"Effects that four of five experiments find, of {made.weekly_mean:.1f} transactions per outlet and week"
    console: Any = Console()
    console.table(title, LENGTHS, rows)
    console.line(made.advice)


def _launched(record: "Launch") -> None:
    treated = sum(arm == "treatment" for arm in record.arms.values())
    typer.echo(
        f"  {record.name}: {treated} treated and {len(record.arms) - treated} control outlets run it from "
        f"{record.starts_on} for {record.weeks} weeks; then {record.weeks_after} weeks of watching the dip\n"
        f"  next: a running API recommends by it; poplift experiment readout {record.name}"
    )


def _read(read: "Read") -> None:
    typer.echo(f"  {read.readout.verdict.sentence}")
    for reason in read.readout.verdict.reasons:
        typer.echo(f"    {reason}")
    typer.echo(f"  page: {read.page}" + ("" if read.is_new else " (nothing new for the table of readouts)"))
