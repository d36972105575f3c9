"""Pictures of the model report as PNG data URLs."""

import base64
import io
from typing import Any

import numpy as np
import pandas as pd

from training.drivers import Drivers
from training.evaluation import MODEL, Evaluation

INK, ACCENT, PALE = "#1f2937", "#0f766e", "#94a3b8"


def pictures(evaluation: Evaluation, drivers: Drivers) -> dict[str, str]:
    """Name -> data URL: scores against baselines, totals by week, calibration, promoted apart, drivers."""
    return {
        "scores": _drawn(_scores, evaluation),
        "weeks": _drawn(_weeks, evaluation.cells),
        "calibration": _drawn(_calibration, evaluation.cells),
        "segments": _drawn(_segments, evaluation.segments),
        "drivers": _drawn(_drivers, drivers),
    }


def _drawn(draw: Any, data: Any) -> str:
    """Run a drawing function on fresh axes; no pyplot, so no display and no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), dpi=96, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)  # matplotlib's own signature
    draw(axes, data)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _scores(axes: Any, evaluation: Evaluation) -> None:
    deviance = evaluation.table["poisson_deviance"].drop("all_zero", errors="ignore").sort_values()
    axes.barh(deviance.index, deviance, color=[ACCENT if n == MODEL else PALE for n in deviance.index])
    axes.invert_yaxis()
    axes.set_xlabel("mean Poisson deviance, lower is better (all zero is off the scale)")


def _weeks(axes: Any, cells: pd.DataFrame) -> None:
    for promoted, colour in (("promoted", ACCENT), ("not promoted", INK)):
        weekly = cells[cells["promoted"] == promoted].groupby("week")[["transactions", MODEL]].sum()
        axes.plot(weekly.index, weekly["transactions"], color=colour, label=f"{promoted}, sold")
        axes.plot(weekly.index, weekly[MODEL], color=colour, linestyle="--", label=f"{promoted}, forecast")
    axes.set_xlabel("week")
    axes.set_ylabel("transactions")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)


def _calibration(axes: Any, cells: pd.DataFrame) -> None:
    rank = cells[MODEL].rank(method="first", pct=True)
    deciles = cells.groupby(np.ceil(rank * 20))[["transactions", MODEL]].mean()
    top = float(deciles.to_numpy().max())
    axes.plot([0.001, top], [0.001, top], color=PALE, linewidth=1)
    axes.plot(deciles[MODEL], deciles["transactions"], "o", color=ACCENT)
    axes.set_xscale("symlog", linthresh=0.02)
    axes.set_yscale("symlog", linthresh=0.02)
    axes.set_xlabel("forecast transactions per cell, twentieths of the cells")
    axes.set_ylabel("sold")


def _segments(axes: Any, segments: pd.DataFrame) -> None:
    part = segments[segments["segment"] == "activation"]
    table = part.pivot_table(index="value", columns="forecast", values="poisson_deviance")
    names = [n for n in (MODEL, "poisson_glm", "mean_all") if n in table.columns]
    place = np.arange(len(table))
    for step, (name, colour) in enumerate(zip(names, (ACCENT, INK, PALE), strict=False)):
        axes.bar(place + 0.27 * step, table[name], width=0.25, color=colour, label=name)
    axes.set_xticks(place + 0.27, table.index, fontsize=8)
    axes.set_ylabel("mean Poisson deviance")
    axes.legend(frameon=False, fontsize=8)


def _drivers(axes: Any, drivers: Drivers) -> None:
    top = drivers.features.head(15)
    axes.barh(
        [f"{f} ({d})" for f, d in zip(top["feature"], top["driver"], strict=True)], top["mean_abs_shap"], color=ACCENT
    )
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("mean |SHAP|, log scale of the forecast")
