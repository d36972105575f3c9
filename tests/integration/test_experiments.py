"""An experiment from design to readout on a simulated market's events: lake, log, reports, page and table together."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from flows.steps import experiment
from flows.steps.experiment import Asked, design_experiment, launch_experiment, read_experiment
from monitoring.experiments.design import DesignError
from monitoring.experiments.lake_evidence import EvidenceError, evidence, outlet_weeks
from monitoring.experiments.readout import read_out
from poplift.activation import CANDIDATES
from poplift.assignment import TREATMENT, is_held_out
from poplift.assumptions import Assumptions
from poplift.contracts.tables import EVERY_CONTRACT
from poplift.lake import Lake
from poplift.launches import LaunchError, read_launch
from poplift.market_week import SALES_DELAY
from poplift.settings import load_settings
from poplift.sources.market.environment import AS_USUAL, Market
from poplift.sources.market.events import catalogue, week_tables
from poplift.sources.market.parameters import MarketParameters
from serving.executions_door import ExecutionsDoor
from serving.policy import Policy

BEFORE, WEEKS, AFTER = 20, 4, 4
PARAMETERS = MarketParameters(outlets=40, own_ppgs=2, competing_ppgs=1, weeks=BEFORE + WEEKS + AFTER, noise=0.05)
EVERYTHING = len(CANDIDATES) - 1
ASKED = Asked("all-in", CANDIDATES[EVERYTHING].name, ("own-00", "own-01"))


def land(lake, frames):
    """Append frames of contract tables to the lake."""
    for table, frame in frames.items():
        known = next(c for c in EVERY_CONTRACT if c.table == table)
        lake.connection.register("incoming", frame)
        columns = ", ".join(f'"{c}"' for c in known.column_names)
        lake.append(table, f"SELECT {columns} FROM incoming ORDER BY ALL")
        lake.connection.unregister("incoming")


def opens(market, week):
    frame = catalogue(market)["weeks"]
    return frame.loc[frame["week"] == week, "starts_at"].item().to_pydatetime()


def closed(home, market, week):
    """Settings of the instant when the sales of `week` are known."""
    return load_settings(home=home, business_time=opens(market, week + 1) + SALES_DELAY)


def log_line(record, outlet, ppg, week_start, decided_at):
    """What the API logs for an outlet of an experiment."""
    treated = record.arms[outlet] == TREATMENT
    candidates = [
        {"activation": CANDIDATES[0].model_dump(), "propensity": 1 - record.share},
        {"activation": CANDIDATES[EVERYTHING].model_dump(), "propensity": record.share},
    ]
    row = {
        "decision_id": f"{outlet}-{ppg}-{week_start}",
        "kind": "recommendation",
        "business_time": decided_at.isoformat(),
        "week_start": week_start.isoformat(),
        "outlet_id": outlet,
        "ppg_id": ppg,
        "release_id": "r1",
        "policy": "predicted-difference",
        "activation": candidates[treated]["activation"],
        "propensity": 0.5,
        "arm": record.arms[outlet],
        "experiment": record.name,
        "candidates": candidates,
    }
    return json.dumps(row) + "\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Designed and launched after BEFORE weeks, run by nine in ten treated outlets, read half-way and at the end."""
    home = tmp_path_factory.mktemp("home")
    market = Market(PARAMETERS, 5)
    lake = Lake(home / "lake")
    frames = catalogue(market)
    land(lake, frames | {"weeks": frames["weeks"]})
    for _ in range(BEFORE):
        land(lake, week_tables(market, market.step(), shopper_key="k"))
    at_launch = closed(home, market, BEFORE)
    designed = design_experiment(at_launch, asked=ASKED)
    record = launch_experiment(at_launch, asked=ASKED, weeks=WEEKS)
    lines, readouts, outlets = [], {}, sorted(frames["outlets"]["outlet_id"])
    treated = np.array([record.arms.get(o) == TREATMENT for o in outlets])
    lazy = set(np.array(outlets)[treated][:2])
    for week in range(BEFORE + 1, PARAMETERS.weeks + 1):
        settings = closed(home, market, week)
        if week <= BEFORE + WEEKS:
            day = record.starts_on + timedelta(weeks=week - BEFORE - 1)
            decided = opens(market, week) + SALES_DELAY
            lines += [log_line(record, o, p, day, decided) for o in record.arms for p in record.ppg_ids]
            settings.decisions_dir.mkdir(exist_ok=True)
            (settings.decisions_dir / f"{week}.jsonl").write_text("".join(lines[-2 * len(record.arms) :]))
            runs = treated & ~np.isin(outlets, list(lazy))
            plan = np.where(runs[:, None], EVERYTHING, 0) * np.ones(2, dtype=int)
            plan[[o not in record.arms for o in outlets]] = AS_USUAL
            market.act(plan)
        land(lake, {k: v for k, v in week_tables(market, market.step(), shopper_key="k").items() if len(v)})
        if week <= BEFORE + WEEKS:
            reports = [
                {
                    "execution_id": f"x-{o}-{p}-{week}",
                    "decision_id": f"{o}-{p}-{day}",
                    "outcome": "executed",
                    "activation": None,
                    "reported_at": opens(market, week + 1),
                }
                for o, run in zip(outlets, runs, strict=True)
                for p in record.ppg_ids
                if run
            ]
            ExecutionsDoor(settings).receive(reports)
        if week in {BEFORE + 2, PARAMETERS.weeks}:
            readouts[week] = read_experiment(settings, name=ASKED.name)
    final = closed(home, market, PARAMETERS.weeks)
    return SimpleNamespace(
        home=home,
        market=market,
        record=record,
        designed=designed,
        at_launch=at_launch,
        final=final,
        readouts=readouts,
        lazy=lazy,
    )


def test_the_design_says_what_can_be_found_before_anything_runs(run):
    assert [row.weeks for row in run.designed.rows] == [2, 4, 6, 8, 12]
    assert run.record.detectable == run.designed.rows[1].detectable


def test_the_holdout_takes_part_in_no_experiment_and_the_arms_are_even_in_every_stratum(run):
    assert not [o for o in run.record.arms if is_held_out(o)]
    for stratum in set(run.record.strata.values()):
        arms = [arm for o, arm in run.record.arms.items() if run.record.strata[o] == stratum]
        assert abs(arms.count("treatment") - len(arms) / 2) < 1
    assert any(stratum.startswith(("north", "south", "east", "west")) for stratum in run.record.strata.values())


def test_another_holdout_of_the_served_release_leaves_other_outlets_to_a_design(run, monkeypatch):
    quarter = Policy(ppgs=("p",), sentinel_outlet="o", holdout_share=0.25)
    monkeypatch.setattr(experiment, "current_policy", lambda _: quarter)
    fewer = design_experiment(run.at_launch, asked=ASKED)
    managed = {o for o in run.record.arms if not is_held_out(o, share=0.25)}
    assert fewer.rows[0].outlets == len(managed) < len(run.record.arms)


def test_launching_the_same_again_changes_nothing_and_another_content_is_refused(run):
    again = launch_experiment(run.at_launch, asked=ASKED, weeks=WEEKS)
    assert again == run.record == read_launch(run.at_launch.experiments_dir, ASKED.name)
    with pytest.raises(LaunchError, match="with other content"):
        launch_experiment(run.at_launch, asked=ASKED, weeks=WEEKS + 1)


def test_the_effect_of_a_large_activation_is_seen_and_the_dip_awaited(run):
    early, final = run.readouts[BEFORE + 2].readout, run.readouts[PARAMETERS.weeks].readout
    assert early.verdict.word == "keep_running"
    assert early.weeks_observed == 2
    assert final.is_final
    assert final.effect.interval.above(0)
    rails = {g.label: g.state for g in final.guardrails}
    assert rails["Margin less activation cost"] != "not_measured"
    assert rails["Empty shelves"] != "not_measured"


def test_planned_and_run_are_told_apart(run):
    execution = run.readouts[PARAMETERS.weeks].readout.execution
    assert execution.planned == WEEKS * sum(arm == "treatment" for arm in run.record.arms.values())
    assert execution.planned - execution.in_treatment == WEEKS * len(run.lazy)
    assert execution.contaminated == ()


def test_reading_again_gives_the_same_and_adds_no_row(run):
    before = run.readouts[PARAMETERS.weeks]
    again = read_experiment(run.final, name=ASKED.name)
    assert again.readout == before.readout
    assert (before.is_new, again.is_new) == (True, False)
    lake = Lake(run.final.lake_dir)
    query = lake.query("readouts", as_of=run.final.now())
    columns = "experiment, activation, weeks, weeks_observed, effect, standard_error, verdict, is_final"
    rows = lake.connection.sql(f"SELECT {columns} FROM ({query}) ORDER BY weeks_observed").fetchall()
    assert [row[:4] for row in rows] == [
        (ASKED.name, ASKED.activation, 2, 2),
        (ASKED.name, ASKED.activation, WEEKS, WEEKS + AFTER),
    ]
    estimate = before.readout.effect.estimate
    assert rows[1][4:] == (estimate.effect, estimate.standard_error, before.readout.verdict.word, True)


def test_the_commands_show_what_can_be_found_who_runs_it_and_what_it_showed(run, command):
    asked = [ASKED.name, "--activation", ASKED.activation, "--ppg", "own-00", "--ppg", "own-01"]
    said = command(run.at_launch, "experiment", "design", *asked)
    assert all(f" {row.detectable:.2f} " in said for row in run.designed.rows)
    assert run.designed.advice in said
    said = command(run.at_launch, "experiment", "launch", *asked, "--weeks", str(WEEKS))
    treated = sum(arm == TREATMENT for arm in run.record.arms.values())
    assert f"{ASKED.name}: {treated} treated and {len(run.record.arms) - treated} control outlets run it from" in said
    assert read_launch(run.at_launch.experiments_dir, ASKED.name) == run.record
    said = command(run.final, "experiment", "readout", ASKED.name)
    final = run.readouts[PARAMETERS.weeks]
    assert all(reason in said for reason in (final.readout.verdict.sentence, *final.readout.verdict.reasons))
    assert said.endswith(f"page: {final.page} (nothing new for the table of readouts)\n")


def test_the_page_is_among_the_reports(run):
    page = run.readouts[PARAMETERS.weeks].page
    assert page == run.final.reports_dir / "experiments" / "all-in.html"
    assert run.readouts[PARAMETERS.weeks].readout.verdict.sentence in page.read_text().replace("&#43;", "+")


def test_an_effect_too_small_for_the_weeks_is_refused_with_what_it_takes(run):
    with pytest.raises(LaunchError, match="It takes about"):
        launch_experiment(run.at_launch, asked=Asked("tiny", "display", ("own-00",), wanted=0.01), weeks=2)
    assert not (run.at_launch.experiments_dir / "tiny.json").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"name": "All in"}, "'All in' cannot be launched: name: "), ({"activation": "none"}, "there is nothing to test")],
)
def test_what_is_no_experiment_is_refused_in_one_line(run, changes, said):
    with pytest.raises(LaunchError, match=said) as refused:
        launch_experiment(run.at_launch, asked=replace(ASKED, **changes), weeks=WEEKS)
    assert "\n" not in str(refused.value)


def test_an_outlet_that_was_once_served_the_other_arm_is_seen_whatever_it_was_served_since(run, tmp_path):
    shutil.copytree(run.home / "lake", tmp_path / "lake")
    lake, as_of = Lake(tmp_path / "lake"), run.final.business_time
    before = evidence(lake, run.record, as_of=as_of, assumptions=Assumptions())
    assert before.served == run.record.arms
    outlet, arm = next(iter(run.record.arms.items()))
    other = ({"treatment", "control"} - {arm}).pop()
    lake.append(
        "decisions",
        f"SELECT * REPLACE ('another' AS decision_id, '{other}' AS arm) FROM ({lake.query('decisions', as_of=as_of)}) "
        f"WHERE outlet_id = '{outlet}' AND experiment = '{run.record.name}' ORDER BY decided_at LIMIT 1",
    )
    after = evidence(lake, run.record, as_of=as_of, assumptions=Assumptions())
    assert after.served == run.record.arms | {outlet: other}
    assert read_out(run.record, after).verdict.word == "invalid"


def test_a_ppg_that_nobody_knows_is_refused_by_name(run):
    with pytest.raises(EvidenceError, match="no ppg cola in the catalogue; it has 2, such as own-00, own-01"):
        design_experiment(run.at_launch, asked=Asked("x", "display", ("cola",)))


def test_three_outlets_are_refused_by_name(run, tmp_path):
    lake, market = Lake(tmp_path / "lake"), run.market
    frames = catalogue(market)
    frames["outlets"] = frames["outlets"].head(3)
    land(lake, frames)
    source = Lake(run.home / "lake")
    lines = source.query("pos_lines", as_of=run.at_launch.now())
    land(lake, {"pos_lines": source.connection.sql(f"SELECT * FROM ({lines}) WHERE outlet_id <= 'o00002'").df()})
    with pytest.raises(DesignError, match=r"experiment x: \d outlets .*o0000\d.* are too few"):
        design_experiment(
            load_settings(home=tmp_path, business_time=run.at_launch.now()), asked=Asked("x", "display", ("own-00",))
        )


def test_a_week_without_a_sale_is_a_zero_and_an_open_week_is_left_out(run):
    lake = Lake(run.home / "lake")
    rows = outlet_weeks(lake, ["own-00"], as_of=run.at_launch.now(), assumptions=Assumptions())
    assert len(rows) == PARAMETERS.outlets * BEFORE
    assert sorted(rows["week"].unique()) == list(range(1, BEFORE + 1))
    earlier = outlet_weeks(lake, ["own-00"], as_of=run.at_launch.now() - timedelta(days=2), assumptions=Assumptions())
    assert earlier["week"].max() == BEFORE - 1
