"""The panel that effects are estimated from: sales beside what was really run, drawn, and out of stock."""

import ibis
from ibis import _

from feature_repo.transformations.panel import CELL, panel
from feature_repo.transformations.sources import Sources

ROUNDING = 0.005  # a price less than half a per cent below the regular one is not cut


def observed_panel(
    sources: Sources,
    *,
    decisions: ibis.Table | None = None,
    executions: ibis.Table | None = None,
    availability: ibis.Table | None = None,
) -> ibis.Table:
    """Grain: managed outlet x managed ppg x week whose sales have landed and whose price is known.

    Columns: the cell, transactions, units, base_price and price (USD per unit), display, mailer (0/1), price_cut
    (share), in_stock, explored (bool), propensity (NaN where nobody drew). What a decision was reported to have become
    counts before the promotion and price plans of the chain: planned is not done. Without `availability` every shelf
    counts as full.
    """
    planned = panel(sources).drop("closes_at").inner_join(_prices(sources), ["ppg_id", "week"])
    cells = planned.select(*CELL, "transactions", "units", "display", "mailer", "base_price", "chain_cut")
    cells = _with_executions(cells, sources, decisions, executions)
    if availability is None:
        cells = cells.mutate(in_stock=ibis.literal(value=True))
    else:
        empty = availability.select(*CELL).distinct().mutate(is_empty=ibis.literal(value=True))
        cells = cells.left_join(empty, list(CELL)).drop([f"{key}_right" for key in CELL])
        cells = cells.mutate(in_stock=_.is_empty.isnull()).drop("is_empty")
    return cells.mutate(price=_.base_price * (1 - _.price_cut))


def _prices(sources: Sources) -> ibis.Table:
    cut = (1 - _.planned_price / _.regular_price).fill_null(0.0)
    return sources.price_calendar.select(
        "ppg_id", "week", base_price=_.regular_price, chain_cut=ibis.ifelse(cut > ROUNDING, cut, 0.0)
    )


def _with_executions(
    cells: ibis.Table, sources: Sources, decisions: ibis.Table | None, executions: ibis.Table | None
) -> ibis.Table:
    if decisions is None or executions is None:
        return cells.mutate(
            price_cut=_.chain_cut, explored=ibis.literal(value=False), propensity=ibis.literal(float("nan"))
        ).drop("chain_cut")
    run = executed(decisions, executions, sources.weeks)
    joined = cells.left_join(run, list(CELL)).drop([f"{key}_right" for key in CELL])
    is_known = _.run.notnull()
    depth = _.run.re_extract(r"price_cut_(\d+)", 1)
    return joined.mutate(
        display=ibis.ifelse(is_known, _.run.contains("display").cast("float64"), _.display),
        mailer=ibis.ifelse(is_known, _.run.contains("mailer").cast("float64"), _.mailer),
        price_cut=ibis.ifelse(is_known, depth.nullif("").cast("float64").fill_null(0.0) / 100, _.chain_cut),
        explored=_.is_drawn.fill_null(False),
        propensity=_.propensity.fill_null(float("nan")),
    ).drop("run", "is_drawn", "chain_cut")


def executed(decisions: ibis.Table, executions: ibis.Table, weeks: ibis.Table) -> ibis.Table:
    """Grain: cell with a report that its decision was executed or refused; the newest report counts.

    Columns: the cell, run (short name; none where it was refused), is_drawn and propensity. A draw counts only where it
    was also run, and then with its own probability: a draw is even over the candidates, whatever the policy preferred.
    """
    last = ibis.window(group_by="decision_id", order_by=[ibis.desc("reported_at"), ibis.desc("execution_id")])
    reports = (
        executions.filter(_.outcome.isin(["executed", "refused"]))
        .mutate(rank=ibis.row_number().over(last))
        .filter(_.rank == 0)
        .select("decision_id", "outcome", reported="activation")
    )
    cells = decisions.inner_join(weeks.select("week", "starts_at"), [_.week_starts_at == weeks.starts_at])
    done = cells.inner_join(reports, "decision_id")
    said = _.reported.fill_null(_.activation)
    run = ibis.ifelse(_.outcome == "refused", "none", said)
    is_drawn = (_.arm == "explored") & _.as_decided
    newest = ibis.window(group_by=list(CELL), order_by=[ibis.desc("decided_at"), ibis.desc("decision_id")])
    return (
        done.mutate(
            run=run, as_decided=(_.outcome == "executed") & (_.reported.fill_null(_.activation) == _.activation)
        )
        .mutate(rank=ibis.row_number().over(newest))
        .filter(_.rank == 0)
        .select(
            *CELL,
            "run",
            is_drawn=is_drawn,
            propensity=ibis.ifelse(is_drawn, 1 / _.candidates.split(",").length(), float("nan")),
        )
    )
