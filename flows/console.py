"""What a person sees: one line per step while it works, and tables of what came out."""

import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console as Terminal
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flows.quiet import swallowed
from flows.steps.progress import stop_if_interrupted
from poplift.settings import Settings

if TYPE_CHECKING:
    from feature_repo.backfill import Backfilled
    from flows.steps.loop import Looped
    from flows.steps.plan import PlannedWeek
    from flows.steps.simulate import Simulated
    from flows.steps.stream import Streamed
    from flows.steps.train import Trained
    from flows.studies.study import Study
    from monitoring.verdict import Verdict
    from poplift.sources.ingest import IngestReport
    from training.gate.finding import Verdict as GateVerdict

SCORE_COLUMNS = ["forecast", "Poisson deviance", "model against it", "95 % interval", "WAPE ppg × week", "bias"]
PLAN_COLUMNS = ["outlet", "ppg", "activation", "transactions", "margin USD, 95 %", "cost USD", "net USD"]
LOG_WIDTH = 160  # an outlet, a ppg and an activation in full, beside their figures
NUMERIC = re.compile(r"([-+]?[\d,.]+ ?%?( to [-+]?[\d,.]+ ?%?)?|–)?")  # an interval too, and a cell without a value
COLOURS = {"pass": "green", "ok": "green", "warn": "yellow", "not enough evidence": "yellow"}


class Console:
    """Writes to the terminal; without one, plain lines."""

    def __init__(self) -> None:
        # Held on to, because libraries' own output is swallowed while a step runs.
        self.terminal = Terminal(file=sys.stdout, highlight=False)
        if not self.terminal.is_terminal:
            self.terminal = Terminal(file=sys.stdout, highlight=False, width=LOG_WIDTH)

    def step(self, title: str, step: Callable[..., Any], settings: Settings, **options: Any) -> Any:
        """Run a step with its progress shown, and leave one line with its time behind."""
        started = time.perf_counter()
        title = escape(title)  # a path or a name that somebody gave may look like markup
        with self.terminal.status(title) as status:

            def progress(what: str) -> None:
                stop_if_interrupted()
                status.update(f"{title}: {escape(what)}")
                if not self.terminal.is_terminal:
                    self.line(what, indent=4)

            with swallowed():
                result = step(settings, progress=progress, **options)
            stop_if_interrupted()
        self.say(f"[green]✓[/] {title} [dim]{time.perf_counter() - started:.1f} s[/]")
        return result

    def say(self, text: str) -> None:
        """Print one line of rich markup."""
        self.terminal.print(text)

    def line(self, text: str, *, indent: int = 2) -> None:
        """Print plain text; too long for a terminal it goes on below its own beginning, in a log it stays one line."""
        if self.terminal.is_terminal:
            self.terminal.print(Padding(Text(text), (0, 0, 0, indent), expand=False))
        else:
            self.terminal.print(" " * indent + text, markup=False, soft_wrap=True)

    def where(self, label: str, place: object) -> None:
        """Print where something is, in one piece that can be copied."""
        self.terminal.print(f"  {label} {place}", markup=False, soft_wrap=True)

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Print a table; columns of numbers are right-aligned."""
        table = Table(title=title, title_justify="left", title_style="bold")
        for number, column in enumerate(columns):
            is_numeric = all(NUMERIC.fullmatch(row[number]) for row in rows)
            table.add_column(column, justify="right" if number and is_numeric else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        self.terminal.print(table)

    def ingest(self, report: "IngestReport") -> None:
        """What came in, what was refused and why."""
        if not report.is_new:
            self.say(f"  nothing new: {report.source} with this content is in the lake already")
        rows = [
            [
                t.table,
                f"{t.rows_in:,}",
                f"{t.rows_good:,}",
                f"{t.rows_quarantined:,}",
                ", ".join(f"{v.column} {v.rule} {v.rows:,}" for v in t.violations),
            ]
            for t in report.tables
        ]
        self.table("What came in", ["table", "rows", "good", "quarantined", "why"], rows)

    def features(self, rows: Mapping[str, int]) -> None:
        """Rows per feature table."""
        self.table("Feature tables", ["view", "rows"], [[name, f"{count:,}"] for name, count in rows.items()])

    def backfilled(self, filled: "Backfilled") -> None:
        """Row versions of the table, and what is different from the one before."""
        weeks = f"weeks {filled.weeks[0]} to {filled.weeks[1]}"
        change = "there was no table with these columns before"
        if filled.added is not None and filled.gone is not None:
            change = f"{filled.added:,} new, {filled.gone:,} gone against the table before"
        self.say(f"  {filled.view}, {weeks}: {filled.rows:,} row versions, {change}; the newest are online")

    def streamed(self, streamed: "Streamed") -> None:
        """What became of the lines of a stream."""
        self.say(
            f"  {streamed.lines:,} lines: {streamed.accepted:,} accepted, {streamed.duplicates:,} duplicates, "
            f"{streamed.refused:,} quarantined; {streamed.online:,} feature rows written online"
        )

    def trained(self, trained: "Trained | None") -> None:
        """How good the model is against which baselines, and what the gate said."""
        if trained is None:
            self.say("  nothing to train: data, code, seed and search are those of a model made before")
            return
        self.table(
            "Demand model on 13 held-out weeks",
            SCORE_COLUMNS,
            score_rows(trained.metrics),
        )
        self.gate("Gate", trained.verdict)

    def gate(self, title: str, verdict: "GateVerdict") -> None:
        """The gate's word and its reasons."""
        self.say(f"  {title}: [{COLOURS.get(verdict.outcome, 'red')}]{verdict.outcome}[/]")
        for reason in verdict.reasons:
            self.line(reason, indent=4)

    def planned(self, planned: "PlannedWeek") -> None:
        """What the plan costs and should bring, its most valuable lines, and where the whole of it is."""
        self.line(planned.headline)
        if planned.top:
            rows = [
                [
                    line.outlet_id,
                    line.ppg_id,
                    line.activation,
                    f"{line.incremental_transactions:+.1f}",
                    f"{line.incremental_margin_usd_low:.2f} to {line.incremental_margin_usd_high:.2f}",
                    f"{line.cost_usd:.2f}",
                    f"{line.net_value_usd:.2f}",
                ]
                for line in planned.top
            ]
            self.table("The most valuable lines", PLAN_COLUMNS, rows)
        for note in planned.notes:
            self.line(note)
        self.where("table:", planned.table)
        self.where("page: ", planned.page)

    def verdict(self, verdict: "Verdict", reports_dir: Path) -> None:
        """The monitoring verdict and where the pages are."""
        self.say(f"  Monitoring: [{COLOURS.get(verdict.status, 'red')}]{verdict.status}[/]")
        for reason in verdict.reasons:
            self.line(reason, indent=4)
        self.where("reports:", reports_dir / "index.html")

    def simulated(self, simulated: "Simulated") -> None:
        """The shares of a simulated market and where its tables are."""
        self.table(
            "Simulated market, what a platform sees of it",
            ["share", "value"],
            [[name, f"{value:.3f}"] for name, value in simulated.shares.items()],
        )
        self.where(f"{simulated.rows:,} panel rows; tables:", simulated.folder)

    def looped(self, looped: "Looped") -> None:
        """What the platform earned on the simulated market, measured and true."""
        from flows.loop.page import headline

        self.say(f"  {headline(looped.result)}; simulated")
        rows = [
            [
                one.metric.replace("_", " "),
                f"{one.status_quo:.2f}",
                f"{one.experiment.estimate:+.2f}",
                f"{one.experiment.low:+.2f} to {one.experiment.high:+.2f}",
                f"{one.truth:+.2f}",
            ]
            for one in looped.result.measured
        ]
        columns = ["per outlet and week", "status quo", "measured", "95 % interval", "hidden truth"]
        self.table("Platform against account managers", columns, rows)
        self.say(f"  {looped.rows_in:,} rows came in, {looped.rows_quarantined:,} quarantined")
        self.where("page:", looped.page)

    def studied(self, study: "Study") -> None:
        """Figures of a study with their goals."""
        from flows.studies.catalog import is_kept
        from flows.studies.page import figure_row

        self.table(
            f"{study.id} {study.title}, {study.runs} runs from seed {study.seed}",
            ["figure", "value", "95 % interval", "goal", ""],
            [figure_row(figure) for figure in study.figures],
        )
        self.line(study.note)
        if not is_kept(study):
            self.say("  fewer runs than the goal needs: docs/science.md keeps the answer it has")


def score_rows(metrics: Mapping[str, float]) -> list[list[str]]:
    """One row per forecast: scores of the model first, then of the baselines with the paired comparison."""
    rows = [["demand model", f"{metrics['poisson_deviance']:.3f}", "", "", *_levels(metrics, "")]]
    suffix = "_poisson_deviance"
    for name in sorted(k.removesuffix(suffix) for k in metrics if k.endswith(suffix)):
        versus = f"deviance_vs_{name}"
        rows.append(
            [
                name,
                f"{metrics[name + suffix]:.3f}",
                f"{metrics[versus]:+.1%}",
                f"{metrics[versus + '_low']:+.1%} to {metrics[versus + '_high']:+.1%}",
                *_levels(metrics, f"{name}_"),
            ]
        )
    return rows


def _levels(metrics: Mapping[str, float], prefix: str) -> list[str]:
    return [f"{metrics[prefix + 'wape_ppg_week']:.3f}", f"{metrics[prefix + 'bias']:+.1%}"]
