"""The page of a loop: what the platform earned, how surely that was measured, and what was true."""

import base64
import io
from pathlib import Path
from typing import Any

import pandas as pd

from flows.loop.conduct import LoopResult
from flows.loop.measure import Measured
from poplift.assumptions import Assumptions
from poplift.atomic import write_whole
from poplift.page import render_page

UNITS = {
    "net_margin_usd": "net margin, USD",
    "transactions": "transactions",
    "trade_spend_usd": "trade spend, price cuts included, USD",
}
UNIT = "per outlet and week"
MOST_ROWS = 8


def write_page(result: LoopResult, path: Path, *, assumptions: Assumptions, feed: str) -> None:
    """Write the page as one file; `feed` says in a sentence what came in and was refused."""
    margin = result.of("net_margin_usd")
    sure = margin.experiment.above(0.0)
    page = render_page(
        Path(__file__).with_name("loop_page.html"),
        r=result,
        p=result.parameters,
        headline=headline(result),
        status="ok" if sure else "warn",
        sign="✓" if sure else "?",
        tiles=_tiles(result),
        measured=[_row(one) for one in result.measured],
        chart=_chart(result.cumulative),
        shares=[
            {"activation": name, "platform": f"{row['platform']:.1%}", "managers": f"{row['account managers']:.1%}"}
            for name, row in result.shares.head(MOST_ROWS).iterrows()
        ],
        effects=_effects(result.effects),
        feed=feed,
        assumptions=assumptions,
    )
    write_whole(path, page)


def headline(result: LoopResult) -> str:
    """What the platform earned, in one sentence."""
    margin = result.of("net_margin_usd")
    found, share = margin.experiment, margin.experiment.estimate / margin.comparison
    if found.above(0.0) or found.below(0.0):
        verb = "earned" if found.above(0.0) else "lost"
        return f"The platform {verb} {abs(found.estimate):.2f} USD of net margin per outlet and week ({share:+.0%})"
    return "The experiment cannot tell whether the platform earned anything"


def _tiles(result: LoopResult) -> list[dict[str, str]]:
    margin, sold = result.of("net_margin_usd"), result.of("transactions")
    done = sum(week.executed for week in result.weeks) / max(1, sum(week.decided for week in result.weeks))
    drawn = sum(week.drawn for week in result.weeks) / max(1, sum(week.decided for week in result.weeks))
    true, budget = f"{margin.truth:+.2f} USD", f"of {result.budget_usd:,.0f} USD"
    return [
        _tile("Net margin, measured", f"{_found(margin)} USD", _range(margin), is_good=margin.experiment.above(0.0)),
        _tile("Net margin, hidden truth", true, f"{result.relative:+.1%} of the status quo", is_good=margin.truth > 0),
        _tile("Transactions, measured", _found(sold), _range(sold), is_good=not sold.experiment.below(0.0)),
        _tile("Spent a week", f"{result.spent_usd:,.0f} USD", budget, is_good=result.spent_usd <= result.budget_usd),
        _tile("Carried out", f"{done:.0%}", "of the platform's decisions", is_good=True),
        _tile("Drawn at random", f"{drawn:.1%}", "of them, so that it keeps learning", is_good=True),
    ]


def _tile(label: str, text: str, compare: str, *, is_good: bool) -> dict[str, str]:
    return {"label": label, "text": text, "compare": compare, "status": "ok" if is_good else "warn"}


def _found(measured: Measured) -> str:
    return f"{measured.experiment.estimate:+.2f}"


def _range(measured: Measured) -> str:
    return f"{measured.experiment.low:+.2f} to {measured.experiment.high:+.2f} {UNIT}"


def _row(measured: Measured) -> dict[str, Any]:
    found = measured.experiment
    return {
        "metric": UNITS[measured.metric],
        "status_quo": f"{measured.status_quo:.2f}",
        "estimate": f"{found.estimate:+.2f}",
        "interval": f"{found.low:+.2f} to {found.high:+.2f}",
        "truth": f"{measured.truth:+.2f}",
        "holds": measured.holds_truth,
    }


def _effects(effects: pd.DataFrame) -> list[dict[str, str]]:
    rows = effects[effects["activation"] != "none"].groupby("activation", sort=False)
    return [
        {
            "activation": str(name),
            "transactions": f"{part['incremental_transactions'].mean():+.2f}",
            "margin": f"{part['incremental_margin_usd'].mean():+.2f}",
            "sufficient": f"{(part['evidence'] == 'sufficient').mean():.0%}",
        }
        for name, part in rows
    ]


def _chart(earned: pd.DataFrame) -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.6), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.axhline(0, color="#94a3b8", linewidth=0.8)
    axes.fill_between(earned["week"], earned["low"], earned["high"], color="#0f766e", alpha=0.18, label="95 % interval")
    axes.plot(earned["week"], earned["measured"], color="#0f766e", label="measured by the experiment")
    axes.plot(earned["week"], earned["truth"], color="#1f2937", linestyle="--", label="hidden truth")
    axes.set_xlabel("week")
    axes.set_ylabel("USD per platform outlet")
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
