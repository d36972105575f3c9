"""Policies valued on the platform's own log: a simulated market's decisions and sales in a lake, the truth beside them."""

import json
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flows.steps.off_policy import value_log
from poplift.activation import CANDIDATES
from poplift.assignment import CHOSEN, HOLDOUT, certain, explore
from poplift.assumptions import Assumptions
from poplift.contracts.tables import EVERY_CONTRACT
from poplift.lake import Lake
from poplift.margin import margin_usd, placement_costs_usd
from poplift.market_week import LOCAL_TIME, SALES_DELAY
from poplift.settings import child_environment, load_settings
from poplift.sources.complete_journey import week_opens
from poplift.sources.market.environment import AS_USUAL, Market
from poplift.sources.market.events import catalogue, executions, week_tables
from poplift.sources.market.observed import outlet_ids, ppg_ids
from poplift.sources.market.parameters import MarketParameters
from poplift.sources.market.truth import Truth, truth_of
from training.off_policy.estimators import OffPolicyError

BEFORE, DECIDED, K = 8, 12, len(CANDIDATES)
EVERYTHING = K - 1
PARAMETERS = MarketParameters(
    outlets=100, own_ppgs=3, competing_ppgs=1, weeks=BEFORE + DECIDED, exploration=0.0, is_censored=False
)
HELD_OUT = 2  # outlets, the last ones


def land(lake, frames):
    """Append frames of contract tables to the lake."""
    for table, frame in frames.items():
        if len(frame):
            known = next(c for c in EVERY_CONTRACT if c.table == table)
            lake.connection.register("incoming", frame)
            columns = ", ".join(f'"{c}"' for c in known.column_names)
            lake.append(table, f"SELECT {columns} FROM incoming ORDER BY ALL")
            lake.connection.unregister("incoming")


def log_line(week, outlet, ppg, draw, *, arm, before=timedelta(0)):
    """What the API logs for one outlet and ppg when the week is decided, or some time `before`."""
    decided = week_opens(week) + SALES_DELAY - before
    row = {
        "decision_id": f"{week}-{outlet}-{ppg}" + ("-before" if before else ""),
        "kind": "recommendation",
        "business_time": decided.isoformat(),
        "week_start": week_opens(week).astimezone(LOCAL_TIME).date().isoformat(),
        "outlet_id": outlet,
        "ppg_id": ppg,
        "release_id": "r1",
        "policy": "predicted-difference",
        "activation": CANDIDATES[draw.chosen].model_dump(),
        "propensity": draw.propensity,
        "arm": arm,
        "experiment": None,
        "candidates": [
            {"activation": candidate.model_dump(), "propensity": p}
            for candidate, p in zip(CANDIDATES, draw.propensities, strict=True)
        ],
    }
    return json.dumps(row) + "\n"


def play(home, *, share):
    """A platform that prefers everything in every fifth cell, draws `share` of them, and whose outlets do as it says."""
    market, lake = Market(PARAMETERS, 3), Lake(home / "lake")
    land(lake, catalogue(market))
    for _ in range(BEFORE):
        land(lake, week_tables(market, market.step(), shopper_key="k"))
    outlets, ppgs = outlet_ids(market), ppg_ids(market)
    settings = load_settings(home=home, business_time=week_opens(PARAMETERS.weeks + 1) + SALES_DELAY)
    settings.decisions_dir.mkdir()
    for week in range(BEFORE + 1, PARAMETERS.weeks + 1):
        plan, lines = np.full((len(outlets), len(ppgs)), AS_USUAL), []
        for o, outlet in enumerate(outlets):
            for p, ppg in enumerate(ppgs):
                preferred = EVERYTHING if (o + p + week) % 5 == 0 else 0
                held = o >= len(outlets) - HELD_OUT
                names = (outlet, ppg, str(week))
                draw = explore(0 if held else preferred, candidates=K, names=names, share=0 if held else share)
                plan[o, p] = draw.chosen
                lines.append(log_line(week, outlet, ppg, draw, arm=HOLDOUT if held else draw.arm))
                if week == BEFORE + 1:  # asked before with another answer, which did not stand
                    other = certain(1, candidates=K, arm=CHOSEN)
                    lines.append(log_line(week, outlet, ppg, other, arm=CHOSEN, before=timedelta(minutes=1)))
        (settings.decisions_dir / f"{week}.jsonl").write_text("".join(lines))
        market.act(plan)
        land(lake, week_tables(market, market.step(), shopper_key="k"))
        decided = [
            (f"{week}-{outlet}-{ppg}", CANDIDATES[plan[o, p]].name)
            for o, outlet in enumerate(outlets)
            for p, ppg in enumerate(ppgs)
        ]
        reports = pd.DataFrame(decided, columns=["decision_id", "activation"])
        land(lake, {"executions": executions(reports, week_opens(week), outcome="executed")})
    return SimpleNamespace(settings=settings, market=market)


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    """A log with a draw in three of ten cells, and what was found in it."""
    played = play(tmp_path_factory.mktemp("home"), share=0.3)
    played.valued = value_log(played.settings)
    return played


def truth(market):
    """Expected transactions and net margin per decision under every candidate, (cells, K), of the outlets compared."""
    mean = truth_of(market).mean[:-HELD_OUT, :, BEFORE:]
    units = mean * np.array([Truth.units_per_transaction(k) for k in range(K)])
    price = market.world.base_price[: PARAMETERS.own_ppgs][None, :, None, None]
    cut = np.array([candidate.price_cut for candidate in CANDIDATES])
    assumptions = Assumptions()
    margin = margin_usd(units, base_price=price, price_cut=cut, assumptions=assumptions)
    net = margin - placement_costs_usd(CANDIDATES, assumptions=assumptions)
    return mean.reshape(-1, K), net.reshape(-1, K)


def shares(valued):
    """What each policy that looks at no cell runs, as probabilities over the candidates."""
    return {
        "none": np.eye(K)[0],
        "random at budget": np.array([1 - valued.budget, *[valued.budget / (K - 1)] * (K - 1)]),
    }


def test_the_log_is_the_decisions_that_could_have_been_drawn_otherwise(explored):
    valued = explored.valued
    assert (valued.outlets, valued.weeks) == (PARAMETERS.outlets - HELD_OUT, DECIDED)
    assert valued.decisions == valued.outlets * PARAMETERS.own_ppgs * DECIDED
    assert valued.left_out == {"decided by the holdout or an experiment": HELD_OUT * PARAMETERS.own_ppgs * DECIDED}
    assert valued.everything == CANDIDATES[EVERYTHING].name
    assert valued.followed > 0.99


def test_each_estimate_is_near_the_truth_and_its_interval_holds_it(explored):
    transactions, net = truth(explored.market)
    found = {policy.policy: policy for policy in explored.valued.policies}
    for name in ("none", "random at budget"):
        run = shares(explored.valued)[name]
        for outcome, true in (("transactions", (transactions @ run).mean()), ("net_margin_usd", (net @ run).mean())):
            value = getattr(found[name], outcome)
            assert value.doubly_robust.estimate == pytest.approx(true, rel=0.12)
            for interval in (value.doubly_robust, value.self_normalised, value.switch):
                assert interval.low < true < interval.high
    logged, none = found["as logged"], found["none"]
    assert logged.transactions.effective_share == pytest.approx(1)
    # what was sold on average is far from the value of doing nothing, so the log was weighed and not just averaged
    assert logged.transactions.doubly_robust.estimate > none.transactions.doubly_robust.high


def test_a_policy_that_was_hardly_ever_run_gets_a_refusal_and_no_figure(explored):
    (everywhere,) = [policy for policy in explored.valued.policies if policy.policy == "all"]
    assert (everywhere.transactions, everywhere.net_margin_usd) == (None, None)
    assert "the effective sample is 4." in everywhere.refused


def test_before_the_first_decided_week_has_landed_there_is_nothing_to_value(explored):
    early = week_opens(BEFORE + 2) + SALES_DELAY - timedelta(seconds=1)
    with pytest.raises(OffPolicyError, match="no decision was logged yet for a week whose sales are in"):
        value_log(load_settings(home=explored.settings.home, business_time=early))


def test_a_platform_that_draws_nothing_is_refused_by_the_command_in_one_line(tmp_path):
    done = command(play(tmp_path, share=0.0).settings)
    assert done.returncode == 1
    assert "error: off-policy: no decision of the log was drawn at random" in done.stderr
    assert "nothing else could have been drawn" in done.stderr


def test_the_command_shows_every_policy_and_why_one_has_no_value(explored):
    done = command(explored.settings)
    assert done.returncode == 0, done.stderr
    value = next(p for p in explored.valued.policies if p.policy == "none").transactions
    assert f"{value.doubly_robust.estimate:.3f} (" in done.stdout
    assert f"{value.self_normalised.estimate:.3f} (" in done.stdout
    assert [p.policy for p in explored.valued.policies if done.stdout.count(p.policy) < 2] == []
    assert "all: off-policy: the effective sample is" in done.stdout


def command(settings):
    """`poplift off-policy` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", "off-policy"],
        env=child_environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
