"""Where, when and how the model is wrong, in tables and sentences a person can act on."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from poplift.statistics import poisson_deviance
from training.evaluation import MODEL

LEVELS = {"ppg": "ppg_id", "outlet": "outlet_id", "week": "week"}
SURPRISE = 4.0  # Poisson standard deviations: a ppg and week further off than that is worth a phone call


@dataclass(frozen=True)
class ErrorAnalysis:
    """`worst`: per level the members with most of the deviance. `surprises`: ppg x week. `sentences`: in words."""

    worst: pd.DataFrame
    surprises: pd.DataFrame
    sentences: tuple[str, ...]


def analyse(cells: pd.DataFrame, *, top: int = 8) -> ErrorAnalysis:
    """Read the held-out cells of an Evaluation; columns as there."""
    actual, mean = cells["transactions"].to_numpy("float64"), cells[MODEL].to_numpy("float64")
    scored = cells.assign(deviance=poisson_deviance(actual, mean))
    worst = pd.concat([_worst(scored, level, key, top) for level, key in LEVELS.items()], ignore_index=True)
    surprises = _surprises(scored, top)
    return ErrorAnalysis(worst, surprises, (*_worst_sentences(worst), *_surprise_sentences(surprises)))


def _worst(scored: pd.DataFrame, level: str, key: str, top: int) -> pd.DataFrame:
    """Members of one level by share of the deviance, with what they sold and by how much the total is off."""
    sums = scored.groupby(key).agg(
        cells=("transactions", "size"),
        transactions=("transactions", "sum"),
        forecast=(MODEL, "sum"),
        deviance=("deviance", "sum"),
    )
    table = pd.DataFrame(
        {
            "level": level,
            "member": sums.index.astype(str),
            "cells": sums["cells"].to_numpy(),
            "transactions": sums["transactions"].to_numpy(),
            "forecast": sums["forecast"].to_numpy().round(1),
            "bias": np.divide(
                sums["forecast"] - sums["transactions"],
                sums["transactions"],
                out=np.full(len(sums), np.nan),
                where=sums["transactions"].to_numpy() > 0,
            ),
            "deviance_share": (sums["deviance"] / scored["deviance"].sum()).to_numpy(),
            "sales_share": (sums["transactions"] / max(scored["transactions"].sum(), 1.0)).to_numpy(),
            "off_by_sd": ((sums["transactions"] - sums["forecast"]) / np.sqrt(sums["forecast"].clip(0.1))).to_numpy(),
        }
    )
    return table.sort_values("deviance_share", ascending=False).head(top)


def _surprises(scored: pd.DataFrame, top: int) -> pd.DataFrame:
    """The ppg x weeks furthest from their forecast, in Poisson standard deviations, with what was planned."""
    table = (
        scored.groupby(["ppg_id", "week"])
        .agg(
            outlets=("outlet_id", "nunique"),
            transactions=("transactions", "sum"),
            forecast=(MODEL, "sum"),
            display_share=("planned_display", "mean"),
            mailer_share=("planned_mailer", "mean"),
            price_cut=("plan_depth", "max"),
        )
        .reset_index()
    )
    table["off_by_sd"] = (table["transactions"] - table["forecast"]) / np.sqrt(table["forecast"].clip(0.1))
    furthest = table["off_by_sd"].abs().sort_values(ascending=False).index[:top]
    return table.loc[furthest].reset_index(drop=True)


def _worst_sentences(worst: pd.DataFrame) -> tuple[str, ...]:
    sentences = []
    for level in LEVELS:
        rows = worst[worst["level"] == level]
        off = rows.iloc[int(rows["off_by_sd"].abs().to_numpy().argmax())]
        first = rows.iloc[0]
        sentences.append(
            f"Most of the error is at {level} {first['member']}: {first['deviance_share']:.0%} of the deviance with "
            f"{first['sales_share']:.0%} of the transactions ({first['cells']} cells)."
        )
        if abs(off["off_by_sd"]) >= SURPRISE:
            direction = "too little" if off["off_by_sd"] > 0 else "too much"
            sentences.append(
                f"{level} {off['member']} is forecast {direction}: {off['forecast']:.0f} for "
                f"{off['transactions']:.0f} transactions, {abs(off['off_by_sd']):.0f} standard deviations off."
            )
    return tuple(sentences)


def _surprise_sentences(surprises: pd.DataFrame) -> tuple[str, ...]:
    large = surprises[surprises["off_by_sd"].abs() >= SURPRISE]
    return tuple(_surprise_sentence(row) for row in large.to_dict("records"))


def _surprise_sentence(row: dict[Hashable, Any]) -> str:
    said = (
        f"Week {row['week']}, {row['ppg_id']}: forecast {row['forecast']:.0f}, sold {row['transactions']:.0f}, with a "
        f"price cut of {row['price_cut']:.0%}, mailer in {row['mailer_share']:.0%} and display in "
        f"{row['display_share']:.0%} of the outlets. "
    )
    if row["off_by_sd"] > 0:
        return said + "Look for a deal that the plan does not tell (multi-buy, holiday, coupon)."
    return said + "Look for a plan that was not executed, an empty shelf or a rival's deal."
