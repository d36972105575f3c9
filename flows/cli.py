"""The `poplift` command: one sub-command per flow; nothing heavy is imported before it is needed."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.access_commands import key_commands
from flows.challenger_commands import challenger_commands
from flows.command_list import CommandList
from flows.decision_commands import decision_commands
from flows.experiment_commands import experiment_commands
from flows.invocation import run_step, settings
from flows.model_commands import model_commands

PRODUCT = ("poplift", "feature_repo", "training", "serving", "monitoring", "flows")
INTERRUPTED = 130
TERMINATED = 143

app = typer.Typer(
    cls=CommandList,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.add_typer(model_commands)
app.add_typer(decision_commands)
app.add_typer(experiment_commands, name="experiment")
app.add_typer(key_commands, name="keys")
app.add_typer(challenger_commands, name="challenger")


def main() -> None:
    """Entry point: a product error prints its message, any other one its last line and where the whole of it is."""
    signal.signal(signal.SIGINT, _interrupt)
    # Python dies of SIGTERM without cleaning up; the servers a command started must not outlive it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        code = app(standalone_mode=False)  # Typer hands Ctrl-C back as a return value
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 # the last place where an error can be told to a person
        if str(error) != "Query interrupted":  # what DuckDB makes of Ctrl-C
            sys.exit(_tell(error))
        code = INTERRUPTED
    if code == INTERRUPTED:
        typer.echo("stopped; nothing half-done is left, run the same command again to go on", err=True)
    sys.exit(code or 0)


def _interrupt(*_: object) -> None:
    from flows.steps.progress import interrupted

    interrupted.set()
    raise KeyboardInterrupt


def _tell(error: Exception) -> int:
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # wrong usage; Typer brings a Click of its own
        error.show()
        return int(error.exit_code)
    if type(error).__module__.split(".")[0] in PRODUCT:
        typer.echo(f"error: {error}", err=True)
        return 1
    if type(error).__module__ == "redis.exceptions" and type(error).__name__ in {"ConnectionError", "TimeoutError"}:
        typer.echo(f"error: Redis does not answer ({error}): start it, or look at POPLIFT_REDIS_URL", err=True)
        return 1
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="poplift-error-", suffix=".log", delete=False) as file:
        traceback.print_exception(error, file=file)
    typer.echo(f"error: {type(error).__name__}: {error}\nThe whole of it is in {file.name}", err=True)
    return 1


def _say_version(asked: bool) -> None:  # Typer calls it so
    if asked:
        from importlib.metadata import version

        typer.echo(f"poplift {version('poplift')}")
        raise typer.Exit


@app.callback()
def poplift(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Feature-store-backed MLOps for what drives transactions at the point of sale."""


@app.command()
def init() -> None:
    """Make databases and the settings of the feast CLI."""
    from flows.steps.features import initialise

    initialise(settings())
    typer.echo("ready; next: poplift demo, or poplift ingest")


@app.command()
def ingest() -> None:
    """Take the source through contracts into the lake."""
    from flows.console import Console
    from flows.steps.ingest import ingest_events

    Console().ingest(run_step("Ingest and validate", ingest_events))


@app.command()
def features() -> None:
    """Build, register and materialise features."""
    from flows.console import Console
    from flows.steps.features import refresh_features

    Console().features(run_step("Features", refresh_features))


@app.command()
def effects() -> None:
    """Estimate what activations add, write and serve the table."""
    from flows.console import Console
    from flows.effects_console import show
    from flows.steps.effects import refresh_effects

    show(Console(), run_step("Effects", refresh_effects))


@app.command()
def backfill(
    view: Annotated[str, typer.Argument(help="Feature view of the catalog.")],
    first: Annotated[int, typer.Option("--from", help="First week, by the source's number.")],
    last: Annotated[int, typer.Option("--to", help="Last week, included.")],
) -> None:
    """Fill one view week by week, as it was known then."""
    from flows.console import Console
    from flows.steps.backfill import backfill_view

    Console().backfilled(run_step(f"Backfill {view}", backfill_view, view=view, first=first, last=last))


@app.command()
def train() -> None:
    """Train a challenger and let the gate judge it."""
    from flows.console import Console
    from flows.steps.train import train_if_changed

    Console().trained(run_step("Train and judge", train_if_changed))


@app.command()
def release(
    *,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until Ctrl-C: look where the alias is, build when it was moved.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Put on a release that a rollback took back.")] = False,
) -> None:
    """Build, verify and activate the champion's release."""
    if follow and again:
        raise typer.BadParameter("--again is said once, --follow goes on: run one after the other")
    if follow:
        from flows.steps.follow import follow_champion

        run_step("Follow the champion", follow_champion)
        return
    from flows.steps.release import refresh_release
    from serving.pointer import read_pointer

    built = run_step("Release", refresh_release, again=again)
    if taken_back := read_pointer(settings().releases_dir).get("taken_back"):
        typer.echo(f"release {taken_back} was taken back and stays away; `poplift release --again` puts it on")
    typer.echo(f"release {built.id} is active; a running API takes it over within seconds")


@app.command()
def score(
    source: Annotated[
        Path | None, typer.Option("--input", help="Planned rows: a Parquet file or a folder of them.")
    ] = None,
    into: Annotated[Path | None, typer.Option("--output", help="Folder of the scores; a dead run goes on.")] = None,
) -> None:
    """Score the coming week in batch, to Parquet."""
    from flows.steps.score import score_coming_week, score_planned_rows

    if source is None:
        if into is not None:
            raise typer.BadParameter("--output needs --input; the coming week goes to the predictions under home")
        path: Path = run_step("Score the coming week", score_coming_week)
        typer.echo(f"scores: {path}")
        return
    done = run_step(f"Score {source}", score_planned_rows, source=source, into=into)
    counts = ", ".join(f"{count:,} {status}" for status, count in sorted(done.statuses.items()))
    typer.echo(f"scores: {done.folder} ({counts})")


@app.command()
def monitor() -> None:
    """Write drift and performance reports and a verdict."""
    from flows.console import Console
    from flows.steps.monitor import monitor as check

    Console().verdict(run_step("Monitor", check), settings().reports_dir)


@app.command()
def weekly() -> None:
    """Everything a week needs, from ingest to monitor, in order."""
    from flows.console import Console
    from flows.steps.weekly import run_week

    run_week(settings(), Console())


@app.command()
def stream(
    *,
    once: Annotated[bool, typer.Option("--once", help="End when nothing is waiting.")] = False,
    replay: Annotated[
        int | None, typer.Option(help="Send this week of the source first, as a simulation; ends when it is applied.")
    ] = None,
    rate: Annotated[int, typer.Option(min=1, help="Lines a second of the replay.")] = 2000,
) -> None:
    """Take POS lines from Redis Streams until Ctrl-C."""
    from flows.console import Console
    from flows.steps.replay import replay_week
    from flows.steps.stream import consume

    if replay is None:
        streamed = run_step("Stream", consume, once=once)
    else:
        streamed = run_step(f"Replay week {replay}, simulated", replay_week, week=replay, rate=rate)
    Console().streamed(streamed)


@app.command()
def serve(
    *,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="End when standard input closes, as it does when the parent dies.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that answer, one a core.")] = 1,
) -> None:
    """Serve the API in this terminal."""
    import os
    import threading

    from serving.run import run

    def end_with_parent() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    if with_parent:
        threading.Thread(target=end_with_parent, daemon=True).start()
    run(settings(), workers=workers)


@app.command()
def cost(
    *,
    key_file: Annotated[
        Path | None, typer.Option(help="Holds a key with the role read, where access is required.")
    ] = None,
) -> None:
    """What the running API spent, and for a million decisions."""
    from flows.cost import cost_of_decisions

    typer.echo(cost_of_decisions(settings(), key_file=key_file))


@app.command()
def demo(
    *, readme: Annotated[bool, typer.Option("--readme", help="Write this run's figures into README.md.")] = False
) -> None:
    """The whole loop on real data, with a summary."""
    from flows.demo import run_demo
    from poplift.settings import REPOSITORY

    run_demo(settings(), readme=REPOSITORY / "README.md" if readme else None)


@app.command()
def up() -> None:
    """API, MLflow, Prefect, Feast UI, reports: one terminal."""
    from flows.up import run_platform

    run_platform(settings())


if __name__ == "__main__":
    main()
