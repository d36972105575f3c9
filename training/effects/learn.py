"""The story of an effects fit: estimate, tabulate, take readouts in, try to refute, ask somebody else, write down."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from poplift.assumptions import Assumptions
from training.effects.effect_table import EffectTable, gained, tabulate
from training.effects.estimate import Estimate, estimate
from training.effects.observations import Observations
from training.effects.readouts import Combined, combine
from training.effects.refutation import Refutation, refute
from training.effects.report import render
from training.effects.second_opinion import Opinion, second_opinion
from training.effects.sensitivity import sensitivity


@dataclass(frozen=True)
class Effects:
    """A fit with everything that was learned about it; nothing here knows where it will be registered."""

    estimate: Estimate
    table: EffectTable
    combined: tuple[Combined, ...]
    refutations: tuple[Refutation, ...]
    opinions: tuple[Opinion, ...]
    sensitivity: pd.DataFrame
    assumptions: Assumptions
    pins: Mapping[str, Any]

    def metrics(self) -> dict[str, float]:
        """Average effects with their bounds, parameters with errors, overlap, refutations: flat, for the registry."""
        flat: dict[str, float] = {}
        for row in self.table.averages.to_dict("records"):
            name = str(row["activation"]).replace("+", "_and_")
            for end in ("", "_low", "_high"):
                flat[f"{name}_transactions{end}"] = float(row[f"incremental_transactions{end}"])
            flat[f"{name}_overlap"] = float(row["overlap"])
        for name in self.estimate.response.means:
            flat[f"parameter_{name}"], flat[f"parameter_{name}_error"] = self.estimate.coefficient(name)
        made = (one for one in self.refutations if not one.failed)
        flat |= {f"refutation_{one.name.replace(' ', '_')}": one.deviation for one in made}
        return {**flat, "sufficient_share": self.sufficient_share, "settled": float(self.estimate.is_settled)}

    @property
    def sufficient_share(self) -> float:
        """Share of the rows but none whose evidence is sufficient."""
        rows = self.table.cells[self.table.cells["activation"] != "none"]
        return float((rows["evidence"] == "sufficient").mean())

    def write_artifacts(self, folder: Path, *, extra: Mapping[str, pd.DataFrame] | None = None) -> None:
        """Write report.html and tables/*.csv; `extra` are tables for both, by title."""
        tables = folder / "tables"
        tables.mkdir(parents=True, exist_ok=True)
        self.table.averages.to_csv(tables / "averages.csv", index=False)
        self.table.cells.to_parquet(tables / "effects.parquet", index=False)
        self.sensitivity.to_csv(tables / "sensitivity.csv", index=False)
        parameters = pd.DataFrame(
            {
                "parameter": self.estimate.response.names,
                "value": self.estimate.parameters,
                "standard_error": self.estimate.errors,
            }
        )
        parameters.to_csv(tables / "parameters.csv", index=False)
        for title, frame in (extra or {}).items():
            frame.to_csv(tables / f"{title.lower().replace(' ', '_')}.csv", index=False)
        (folder / "report.html").write_text(render(self, extra=extra or {}))


def learn(
    observations: Observations,
    *,
    assumptions: Assumptions,
    readouts: pd.DataFrame | None = None,
    pins: Mapping[str, Any],
    seed: int,
    threads: int,
    progress: Callable[[str], None] = lambda _: None,
) -> Effects:
    """Fit effects and everything that says how far to trust them; raises EstimateError.

    Of an estimate that did not settle all evidence is thin, so that nobody plans by it.
    """
    progress("estimating")
    found = estimate(observations, seed=seed, threads=threads)
    progress("effect table")
    gains, combined = combine(gained(found, assumptions=assumptions), readouts)
    table = tabulate(gains) if found.is_settled else _all_thin(tabulate(gains))
    progress("trying to refute")
    refutations = refute(observations, seed=seed, threads=threads)
    progress("second opinion by econml")
    opinions = second_opinion(found, seed=seed, threads=threads)
    declared = sensitivity(found, assumptions, readouts=readouts)
    return Effects(found, table, combined, refutations, opinions, declared, assumptions, pins)


def _all_thin(table: EffectTable) -> EffectTable:
    cells, averages = (
        frame.assign(evidence=np.where(frame["activation"] == "none", "sufficient", "thin"))
        for frame in (table.cells, table.averages)
    )
    return EffectTable(cells, averages)


def describe(observations: Observations) -> dict[str, Any]:
    """What a fit stands on, in figures."""
    seen = observations.observed
    treatment = observations.treatment[seen]
    return {
        "first_week": int(observations.weeks[0]),
        "last_week": int(observations.weeks[-1]),
        "outlets": len(observations.outlets),
        "ppgs": len(observations.ppgs),
        "cells": int(seen.sum()),
        "transactions_per_cell": float(observations.transactions[seen].mean()),
        "zero_share": float((observations.transactions[seen] == 0).mean()),
        "display_share": float(treatment[:, 0].mean()),
        "mailer_share": float(treatment[:, 1].mean()),
        "price_cut_share": float((treatment[:, 3] > 0).mean()),
        "drawn_share": float(observations.explored[seen].mean()),
        "flagged_empty_share": float((~observations.in_stock[seen]).mean()),
        "price_varies_within_a_week": bool(np.ptp(observations.treatment[..., 3], axis=1).max() > 1e-9),
    }
