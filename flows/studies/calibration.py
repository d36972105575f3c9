"""S0: which moments of the simulated market match the soft drinks of The Complete Journey, and which do not."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flows.steps.progress import Progress, silent
from flows.studies.study import Figure, Study, mean_figure
from poplift.lake import Lake
from poplift.settings import load_settings
from poplift.sources.ingest import ingest, open_source
from poplift.sources.market.environment import simulate
from poplift.sources.market.observed import panel as market_panel
from poplift.sources.market.parameters import MarketParameters

# transactions a cell without activation, as a panel of 2,500 households sees them, in a market as large as the real one
SIZE: dict[str, Any] = {"outlets": 108, "own_ppgs": 27, "weeks": 53, "mean_transactions": 0.2}
CUT = 0.02  # a price less than 2 % below the regular one is rounding


def run(*, seed: int, runs: int, progress: Progress = silent) -> Study:
    """Moments of the real panel beside the mean of `runs` markets; a gap beyond its bound is named."""
    progress("the real panel")
    real = moments(_real_panel())
    drawn = []
    for number in range(runs):
        progress(f"market {number + 1} of {runs}")
        market = simulate(MarketParameters(**SIZE), seed=seed + number)
        drawn.append(moments(market_panel(market)))
    figures: list[Figure] = []
    for name, (unit, bound) in BOUNDS.items():
        figure = mean_figure(f"{name}, market", [one[name] for one in drawn], unit=unit)
        gap = abs(figure.value - real[name])
        goal = f"within {bound:g} of {real[name]:.2f}"
        figures.append(Figure(figure.name, figure.value, figure.low, figure.high, unit, goal, gap <= bound))
    return Study(
        "S0",
        "The market beside the real panel",
        "Does the simulated market look like the soft drinks of The Complete Journey?",
        tuple(figures),
        "Mean over markets; the interval is that of the mean. Nothing else of the market was fitted to real data.",
    )


# moment → its unit and how far the market may be from the real panel
BOUNDS: dict[str, tuple[str, float]] = {
    "cells without a transaction": ("", 0.05),
    "cells on display": ("", 0.05),
    "cells in the mailer": ("", 0.05),
    "cells with both": ("", 0.04),
    "cells with a price cut": ("", 0.06),
    "mean depth of a cut": ("", 0.03),
    "units per transaction": ("", 0.15),
    "sd of log sales between outlets": ("", 0.1),
    "coefficient of variation between weeks": ("", 0.1),
}


def moments(panel: pd.DataFrame) -> dict[str, float]:
    """The moments of BOUNDS of an observed panel with display, mailer, price_cut, transactions and units."""
    cut = panel["price_cut"].to_numpy()
    outlets = panel.groupby("outlet_id")["transactions"].mean()
    weeks = panel.groupby("week")["transactions"].sum()
    return {
        "cells without a transaction": float((panel["transactions"] == 0).mean()),
        "cells on display": float(panel["display"].mean()),
        "cells in the mailer": float(panel["mailer"].mean()),
        "cells with both": float((panel["display"] * panel["mailer"]).mean()),
        "cells with a price cut": float((cut > CUT).mean()),
        "mean depth of a cut": float(cut[cut > CUT].mean()),
        "units per transaction": float(panel["units"].sum() / panel["transactions"].sum()),
        "sd of log sales between outlets": float(np.log(outlets[outlets > 0]).std()),
        "coefficient of variation between weeks": float(weeks.std() / weeks.mean()),
    }


def _real_panel() -> pd.DataFrame:
    from feature_repo.transformations.panel import panel
    from feature_repo.transformations.sources import Sources

    settings = load_settings()
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        ingest(open_source(settings), lake, as_of=settings.now())
        read: Callable[[str], object] = lambda name: lake.read(name, as_of=settings.now())  # noqa: E731
        sources = Sources(**{name: read(name) for name in Sources.__dataclass_fields__})
        rows: pd.DataFrame = panel(sources).to_pandas()
        prices = sources.price_calendar.select("ppg_id", "week", "regular_price", "planned_price").to_pandas()
    joined = rows.merge(prices, on=["ppg_id", "week"], how="left", validate="many_to_one")
    made: pd.DataFrame = joined.assign(
        price_cut=(1 - joined["planned_price"] / joined["regular_price"]).clip(0).fillna(0)
    )
    return made
