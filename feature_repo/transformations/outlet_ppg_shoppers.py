"""What an outlet's own shoppers would buy of a ppg if they came as lately and chose as ever; shoppers only summed."""

import math
from typing import Any

import ibis
from ibis import _

from feature_repo.transformations.panel import CELL, grid, known_weeks, managed_lines, stamped
from feature_repo.transformations.sources import Sources

# Name -> half-lives in weeks of visits and of purchases: who comes changes faster than what they like.
MEMORIES: dict[str, tuple[float, float]] = {
    "shopper_rate_2w": (2.0, 26.0),
    "shopper_rate_4w": (4.0, 13.0),
    "shopper_rate_8w": (8.0, 52.0),
}
_VISIT_LIVES = {name: life for name, (life, __) in MEMORIES.items()}
_TASTE_LIVES = {name: life for name, (__, life) in MEMORIES.items()}
PRIOR_BASKETS = 2.0  # baskets at the average shopper's taste that every shopper starts with
# Sums of fractions depend on the order of the rows, which an engine with threads does not promise; the ninth
# decimal does not matter, the same bytes for the same data do.
DECIMALS = 9


def outlet_ppg_shoppers(sources: Sources) -> ibis.Table:
    """Grain: outlet x ppg x week. Expected transactions from the outlet's recent shoppers and their tastes anywhere.

    For outlet o and ppg p: sum over shoppers h of visits(h, o) x taste(h, p), where visits is the decayed mean of
    baskets a week and taste the decayed share of the shopper's baskets, at any outlet, that hold the ppg, shrunk to
    the average taste (a gamma-Poisson posterior mean).
    """
    weeks = known_weeks(sources).select("week")
    bought = decayed(managed_lines(sources), ["shopper_id", "ppg_id"], weeks, _TASTE_LIVES)
    baskets = decayed(sources.pos_lines, ["shopper_id"], weeks, _TASTE_LIVES)
    visitors = _visitors(sources, weeks, baskets)
    tastes = bought.rename({f"bought_{n}": n for n in MEMORIES})
    own = (
        visitors.inner_join(tastes, ["shopper_id", "week"])
        .group_by(["outlet_id", "ppg_id", "week"])
        .aggregate(**{f"own_{n}": (_[n] * _[f"bought_{n}"]).sum() for n in MEMORIES})
    )
    presence = visitors.group_by(["outlet_id", "week"]).aggregate(**{f"presence_{n}": _[n].sum() for n in MEMORIES})
    cells = (
        grid(sources, known_weeks(sources))
        .left_join(own, list(CELL))
        .drop("outlet_id_right", "ppg_id_right", "week_right")
        .left_join(presence, ["outlet_id", "week"])
        .drop("outlet_id_right", "week_right")
        .left_join(_average_taste(tastes, baskets), ["ppg_id", "week"])
        .drop("ppg_id_right", "week_right")
    )
    rates = {
        n: (
            cells[f"own_{n}"].fill_null(0.0)
            + PRIOR_BASKETS * cells[f"presence_{n}"].fill_null(0.0) * cells[f"taste_{n}"].fill_null(0.0)
        ).round(DECIMALS)
        for n in MEMORIES
    }
    return stamped(cells.select(*CELL, "closes_at", **rates), "outlet_id", "ppg_id")


def decayed(lines: ibis.Table, keys: list[str], weeks: ibis.Table, half_lives: dict[str, float]) -> ibis.Table:
    """Grain: keys x week from the first event on. One column per half-life in weeks: baskets so far, decayed.

    A running sum that grows with time, halved back where it is read: one row per event until then, so that the
    work is that of the events and of the answer, not of every pair of the two.
    """
    counts = lines.group_by([*keys, "week"]).aggregate(baskets=_.basket_id.nunique())
    span = weeks.aggregate(first=_.week.min(), last=_.week.max())
    ordered = ibis.window(group_by=keys, order_by="week")
    past = ibis.window(group_by=keys, order_by="week", preceding=None, following=0)
    events = counts.cross_join(span).select(
        *keys,
        "week",
        "first",
        until=_.week.lead(1).over(ordered).fill_null(_.last + 1),
        **{n: (_.baskets * _halved(_.first - _.week, life)).sum().over(past) for n, life in half_lives.items()},
    )
    every = events.select(*keys, "first", *half_lives, week=ibis.range(events.week, events.until, 1).unnest())
    return every.select(*keys, "week", **{n: _[n] * _halved(_.week - _.first, life) for n, life in half_lives.items()})


def _halved(age: Any, half_life: float) -> Any:
    """0.5 ** (age / half_life), as an exponential that every engine has."""
    return (age.cast("float64") * (-math.log(2.0) / half_life)).exp()


def _visitors(sources: Sources, weeks: ibis.Table, baskets: ibis.Table) -> ibis.Table:
    """Grain: shopper x managed outlet x week. Per memory: decayed visits a week over the baskets behind the taste."""
    managed = sources.outlets.filter(_.is_managed).select("outlet_id")
    visits = decayed(
        sources.pos_lines.semi_join(managed, "outlet_id"), ["shopper_id", "outlet_id"], weeks, _VISIT_LIVES
    ).rename({f"visits_{n}": n for n in MEMORIES})
    past = weeks.rename(then="week").join(weeks, [_.then <= weeks.week])
    spans = past.group_by("week").aggregate(
        **{f"span_{n}": _halved(_.week - _.then, life).sum() for n, life in _VISIT_LIVES.items()}
    )
    return (
        visits.inner_join(baskets, ["shopper_id", "week"])
        .inner_join(spans, "week")
        .select(
            "shopper_id",
            "outlet_id",
            "week",
            **{n: _[f"visits_{n}"] / _[f"span_{n}"] / (_[n] + PRIOR_BASKETS) for n in MEMORIES},
        )
    )


def _average_taste(tastes: ibis.Table, baskets: ibis.Table) -> ibis.Table:
    """Grain: ppg x week. Per memory: the share of all baskets that hold the ppg."""
    everybody = baskets.group_by("week").aggregate(**{f"baskets_{n}": _[n].sum() for n in MEMORIES})
    return (
        tastes.group_by(["ppg_id", "week"])
        .aggregate(**{f"bought_{n}": _[f"bought_{n}"].sum() for n in MEMORIES})
        .inner_join(everybody, "week")
        .select("ppg_id", "week", **{f"taste_{n}": _[f"bought_{n}"] / _[f"baskets_{n}"] for n in MEMORIES})
    )
