"""The `poplift` command: one sub-command per flow; nothing heavy is imported before it is needed."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from poplift.settings import Settings

PRODUCT = ("poplift", "feature_repo", "training", "serving", "monitoring", "flows")
INTERRUPTED = 130
TERMINATED = 143

app = typer.Typer(
    help="Feature-store-backed MLOps for what drives transactions at the point of sale.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


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
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="poplift-error-", suffix=".log", delete=False) as file:
        traceback.print_exception(error, file=file)
    typer.echo(f"error: {type(error).__name__}: {error}\nThe whole of it is in {file.name}", err=True)
    return 1


def _settings() -> "Settings":
    from flows.quiet import quieten
    from poplift.settings import load_settings

    settings = load_settings()
    quieten()
    return settings


def _run(title: str, step: Callable[..., Any], **options: Any) -> Any:
    from flows.console import Console

    return Console().step(title, step, _settings(), **options)


@app.command()
def init() -> None:
    """Make databases and the settings of the feast CLI."""
    from flows.steps.features import initialise

    initialise(_settings())
    typer.echo("ready; next: poplift demo, or poplift ingest")


@app.command()
def ingest() -> None:
    """Take the source through contracts into the lake."""
    from flows.console import Console
    from flows.steps.ingest import ingest_events

    Console().ingest(_run("Ingest and validate", ingest_events))


@app.command()
def features() -> None:
    """Build, register and materialise features."""
    from flows.console import Console
    from flows.steps.features import refresh_features

    Console().features(_run("Features", refresh_features))


@app.command()
def backfill(
    view: Annotated[str, typer.Argument(help="Feature view of the catalog.")],
    first: Annotated[int, typer.Option("--from", help="First week, by the source's number.")],
    last: Annotated[int, typer.Option("--to", help="Last week, included.")],
) -> None:
    """Fill one view week by week, as known then; goes on after a kill."""
    from flows.console import Console
    from flows.steps.backfill import backfill_view

    Console().backfilled(_run(f"Backfill {view}", backfill_view, view=view, first=first, last=last))


@app.command()
def train() -> None:
    """Train a challenger and let the gate judge it."""
    from flows.console import Console
    from flows.steps.train import train_if_changed

    Console().trained(_run("Train and judge", train_if_changed))


@app.command()
def promote(
    why: Annotated[str, typer.Option(help="Reason, kept in the ledger.")],
    who: Annotated[str, typer.Option(help="Who decides, kept in the ledger.")] = "cli",
) -> None:
    """Make the challenger the champion, verdict permitting."""
    from flows.steps.promote import promote as move

    version = move(_settings(), who=who, why=why)
    typer.echo(f"champion: {version.name} version {version.version}; next: poplift release")


@app.command()
def release() -> None:
    """Build, verify and activate the champion's release."""
    from flows.steps.release import refresh_release

    built = _run("Release", refresh_release)
    typer.echo(f"release {built.id} is active; a running API takes it over within seconds")


@app.command()
def rollback(
    why: Annotated[str, typer.Option(help="Reason, kept in the ledger.")] = "rolled back by hand",
    who: Annotated[str, typer.Option(help="Who decides, kept in the ledger.")] = "cli",
) -> None:
    """Put the previous release back as one unit."""
    from flows.steps.release import roll_back

    previous = roll_back(_settings(), who=who, why=why)
    typer.echo(f"release {previous} is active again, and its model is champion")


@app.command()
def score() -> None:
    """Score the coming week in batch, to Parquet."""
    from flows.steps.score import score_coming_week

    path: Path = _run("Score the coming week", score_coming_week)
    typer.echo(f"scores: {path}")


@app.command()
def monitor() -> None:
    """Write drift and performance reports and a verdict."""
    from flows.console import Console
    from flows.steps.monitor import monitor as check

    Console().verdict(_run("Monitor", check), _settings().reports_dir)


@app.command()
def weekly() -> None:
    """All of the above a week needs, in order."""
    from flows.console import Console
    from flows.steps.weekly import run_week

    run_week(_settings(), Console())


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
        streamed = _run("Stream", consume, once=once)
    else:
        streamed = _run(f"Replay week {replay}, simulated", replay_week, week=replay, rate=rate)
    Console().streamed(streamed)


@app.command()
def serve(
    *,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="End when standard input closes, as it does when the parent dies.")
    ] = False,
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
    run(_settings())


@app.command()
def demo(
    *, readme: Annotated[bool, typer.Option("--readme", help="Write this run's figures into README.md.")] = False
) -> None:
    """The whole loop on real data, with a summary."""
    from flows.demo import run_demo
    from poplift.settings import REPOSITORY

    run_demo(_settings(), readme=REPOSITORY / "README.md" if readme else None)


@app.command()
def up() -> None:
    """API, MLflow, Prefect, Feast UI, reports: one terminal."""
    from flows.up import run_platform

    run_platform(_settings())


if __name__ == "__main__":
    main()
