"""What an outlet's own shoppers would buy of a ppg if they came as lately and chose as ever; shoppers only summed."""

import math
from typing import Any

import ibis
from ibis import _

from feature_repo.transformations.panel import known_weeks, managed_lines, managed_products, stamped
from feature_repo.transformations.sources import Sources

# Name -> half-lives in weeks of visits and of purchases: who comes changes faster than what they like.
MEMORIES: dict[str, tuple[float, float]] = {
    "shopper_rate_2w": (2.0, 26.0),
    "shopper_rate_4w": (4.0, 13.0),
    "shopper_rate_8w": (8.0, 52.0),
}
_VISIT_LIVES = {name: life for name, (life, __) in MEMORIES.items()}
_TASTE_LIVES = {name: life for name, (__, life) in MEMORIES.items()}
ANY_PPG = -1  # stands for a basket of the average shopper; no ppg has this number
PRIOR_BASKETS = 2.0  # baskets at the average shopper's taste that every shopper starts with
# Sums of fractions depend on the order of the rows, which an engine with threads does not promise; the ninth
# decimal does not matter, the same bytes for the same data do.
DECIMALS = 9
# Weeks do not meet, so they are summed in turns: what an engine holds at once is a part of all weeks.
TURNS = 4


def outlet_ppg_shoppers(sources: Sources) -> ibis.Table:
    """Grain: outlet x ppg x week. Expected transactions from the outlet's recent shoppers and their tastes anywhere.

    For outlet o and ppg p: sum over shoppers h of visits(h, o) x taste(h, p), where visits is the decayed mean of
    baskets a week and taste the decayed share of the shopper's baskets, at any outlet, that hold the ppg, shrunk to
    the average taste (a gamma-Poisson posterior mean). A basket is paid at one outlet; where a correction says two,
    it is a basket of each.
    """
    managed = sources.outlets.filter(_.is_managed).select("outlet_id")
    everywhere = _counted(sources.pos_lines, "outlet_id")
    calendar = known_weeks(sources, everywhere)
    weeks = calendar.select(week=_.week.cast("int32"))
    shoppers = _numbers(everywhere, "shopper_id")
    outlets, ppgs = _numbers(managed, "outlet_id"), _numbers(managed_products(sources), "ppg_id")
    visits = _numbered(everywhere, shoppers, outlets)
    bought = _numbered(_counted(managed_lines(sources), "ppg_id"), shoppers, ppgs)
    came = _numbered(everywhere, shoppers).group_by(["shopper", "week"]).aggregate(baskets=_.baskets.sum())
    sums = ibis.union(*(_sums(visits, bought, came, weeks, turn=turn) for turn in range(TURNS)))
    own = sums.rename({f"own_{n}": n for n in MEMORIES})
    anybody = sums.filter(_.ppg == ANY_PPG).select("outlet", "week", **{f"any_{n}": _[n] for n in MEMORIES})
    cells = (
        outlets.cross_join(ppgs)
        .cross_join(calendar.select("closes_at", week=_.week.cast("int32")))
        .left_join(own, ["outlet", "ppg", "week"])
        .drop("outlet_right", "ppg_right", "week_right")
        .left_join(anybody, ["outlet", "week"])
        .drop("outlet_right", "week_right")
        .left_join(_average_taste(bought, came, weeks), ["ppg", "week"])
        .drop("ppg_right", "week_right")
        .inner_join(_spans(weeks), "week")
    )
    rates = {
        n: (
            (cells[f"own_{n}"].fill_null(0.0) + cells[f"any_{n}"].fill_null(0.0) * cells[f"average_{n}"].fill_null(0.0))
            / cells[f"span_{n}"]
        ).round(DECIMALS)
        for n in MEMORIES
    }
    return stamped(cells.select("outlet_id", "ppg_id", "closes_at", **rates), "outlet_id", "ppg_id")


def _counted(lines: ibis.Table, key: str) -> ibis.Table:
    """Grain: shopper x key x week with a basket. Columns: shopper_id, the key, week, baskets."""
    return lines.group_by(["shopper_id", key, "week"]).aggregate(baskets=_.basket_id.nunique())


def _numbers(named: ibis.Table, name: str) -> ibis.Table:
    """Grain: one value of the column `name`. That column, and as shopper, outlet or ppg its number from 0 on.

    Hundreds of millions of rows carry and compare a number for a third of what a name costs.
    """
    order = ibis.row_number().over(ibis.window(order_by=name)).cast("int32")
    return named.select(name).distinct().mutate(**{name.removesuffix("_id"): order})


def _numbered(counts: ibis.Table, *numbers: ibis.Table) -> ibis.Table:
    """The counts of `_counted` with numbers instead of names; who has no number is left out."""
    for number in numbers:
        name = number.columns[0]
        counts = counts.inner_join(number, name).drop(name)
    keys = [number.columns[1] for number in numbers]
    return counts.select(*keys, week=_.week.cast("int32"), baskets=_.baskets)


def _sums(visits: ibis.Table, bought: ibis.Table, came: ibis.Table, weeks: ibis.Table, *, turn: int) -> ibis.Table:
    """Grain: outlet x ppg x week of one turn with anything to sum, ANY_PPG among the ppgs, all by number."""
    tastes = _tastes(*(decayed(counts, weeks, _TASTE_LIVES, turn=turn, turns=TURNS) for counts in (bought, came)))
    return (
        decayed(visits, weeks, _VISIT_LIVES, turn=turn, turns=TURNS)
        .inner_join(tastes.rename({f"taste_{n}": n for n in MEMORIES}), ["shopper", "week"])
        .group_by(["outlet", "ppg", "week"])
        .aggregate(**{n: (_[n] * _[f"taste_{n}"]).sum() for n in MEMORIES})
    )


def decayed(
    counts: ibis.Table, weeks: ibis.Table, half_lives: dict[str, float], *, turn: int = 0, turns: int = 1
) -> ibis.Table:
    """Grain: keys x week from the first event on. One column per half-life in weeks: baskets so far, decayed.

    A running sum that grows with time, halved back where it is read: one row per event until then, so that the
    work is that of the events and of the answer, not of every pair of the two. Only weeks that leave `turn` when they
    are divided by `turns`.
    """
    keys = [name for name in counts.columns if name not in {"week", "baskets"}]
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
    begin = events.week + (events.week * (turns - 1) + turn) % turns
    every = events.select(*keys, "first", *half_lives, week=ibis.range(begin, events.until, turns).unnest())
    sums = {n: _[n] * _halved(_.week - _.first, life) for n, life in half_lives.items()}
    return every.select(*keys, week=_.week.cast(counts.week.type()), **sums)


def _halved(age: Any, half_life: float) -> Any:
    """0.5 ** (age / half_life), as an exponential that every engine has."""
    return (age.cast("float64") * (-math.log(2.0) / half_life)).exp()


def _tastes(bought: ibis.Table, came: ibis.Table) -> ibis.Table:
    """Grain: shopper x ppg x week, and ANY_PPG for the prior. Per memory: share of the shopper's baskets.

    The prior is a row among the ppgs, so that visits meet tastes in one join.
    """
    all_baskets = came.rename({f"all_{n}": n for n in MEMORIES})
    known = bought.inner_join(all_baskets, ["shopper", "week"]).select(
        "shopper", "ppg", "week", **{n: _[n] / (_[f"all_{n}"] + PRIOR_BASKETS) for n in MEMORIES}
    )
    prior = came.select(
        "shopper",
        "week",
        ppg=ibis.literal(ANY_PPG, "int32"),
        **{n: PRIOR_BASKETS / (_[n] + PRIOR_BASKETS) for n in MEMORIES},
    )
    return known.union(prior.select(*known.columns))


def _spans(weeks: ibis.Table) -> ibis.Table:
    """Grain: one week. Per memory: how many weeks of visits the decayed sum up to then amounts to."""
    past = weeks.rename(then="week").join(weeks, [_.then <= weeks.week])
    return past.group_by("week").aggregate(
        **{f"span_{n}": _halved(_.week - _.then, life).sum() for n, life in _VISIT_LIVES.items()}
    )


def _average_taste(bought: ibis.Table, came: ibis.Table, weeks: ibis.Table) -> ibis.Table:
    """Grain: ppg x week. Per memory: the share of all baskets that hold the ppg; sums decay as their parts do."""
    of_ppg, of_all = (
        counts.group_by(keys).aggregate(baskets=_.baskets.sum())
        for counts, keys in ((bought, ["ppg", "week"]), (came, ["week"]))
    )
    everybody = decayed(of_all, weeks, _TASTE_LIVES).rename({f"all_{n}": n for n in MEMORIES})
    return (
        decayed(of_ppg, weeks, _TASTE_LIVES)
        .inner_join(everybody, "week")
        .select("ppg", "week", **{f"average_{n}": _[n] / _[f"all_{n}"] for n in MEMORIES})
    )
