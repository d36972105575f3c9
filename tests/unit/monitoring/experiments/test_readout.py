"""A readout: comparable arms first, then effect, guardrails, execution and one word."""

import json
from datetime import UTC, datetime

import duckdb
import numpy as np
import pandas as pd
import pytest

from monitoring.experiments.outcomes import OutcomeError
from monitoring.experiments.page import as_json, write_readout
from monitoring.experiments.readout import Evidence, read_out
from monitoring.experiments.readout_table import table_row
from poplift.contracts.check import check
from poplift.contracts.tables import contract
from tests.unit.monitoring.experiments.planted_sales import AFTER, FIRST, WEEKS, planted, record_of, sales

NOW = datetime(2018, 3, 20, tzinfo=UTC)


def until(outcomes, week):
    return outcomes[outcomes["week"] <= week]


def ran(record, arm="treatment", activation="display", weeks=WEEKS):
    outlets = [o for o, of in record.arms.items() if of == arm]
    rows = [(o, FIRST + n, activation) for o in outlets for n in range(weeks)]
    return pd.DataFrame(rows, columns=["outlet_id", "week", "activation"])


def test_an_effect_that_is_there_is_shipped_with_its_figure(outcomes, record):
    readout = read_out(record, Evidence(planted(outcomes, record, 4), reported=ran(record)))
    assert readout.verdict.word == "ship"
    assert readout.effect.interval.low < 4 < readout.effect.interval.high
    assert readout.verdict.sentence.startswith(
        f"{readout.effect.estimate.effect:+.2f} transactions per outlet and week (95%"
    )
    assert readout.verdict.sentence.endswith(": ship.")
    assert readout.is_final


def test_nothing_where_nothing_is(outcomes, record):
    readout = read_out(record, Evidence(outcomes, reported=ran(record)))
    assert readout.verdict.word == "not_enough_evidence"
    assert readout.effect.variance_removed > 0.8


def test_harm_ends_an_experiment_early_and_success_does_not(outcomes, record):
    week = FIRST + WEEKS - 1
    worse = read_out(record, Evidence(until(planted(outcomes, record, -5), week)))
    better = read_out(record, Evidence(until(planted(outcomes, record, 5), week)))
    assert worse.verdict.word == "do_not_ship"
    assert better.verdict.word == "keep_running"
    assert better.effect.interval.above(0)
    assert "4 weeks to go, those afterwards included" in " ".join(better.verdict.reasons)


def test_the_dip_afterwards_is_taken_off(outcomes, record):
    gross = read_out(record, Evidence(planted(outcomes, record, 4)))
    net = read_out(record, Evidence(planted(outcomes, record, 4, afterwards=-6)))
    assert net.effect.estimate.effect == pytest.approx(gross.effect.estimate.effect - 6 * AFTER / WEEKS)
    assert net.effect.afterwards.estimate == pytest.approx(gross.effect.afterwards.estimate - 6)
    assert net.verdict.word != "ship"


def test_looking_twice_gives_the_same_answer(outcomes, record):
    evidence = Evidence(planted(outcomes, record, 2), reported=ran(record))
    assert read_out(record, evidence) == read_out(record, evidence)
    shuffled = evidence.outcomes.sample(frac=1, random_state=1)
    assert read_out(record, Evidence(shuffled, reported=ran(record))) == read_out(record, evidence)


def test_arms_that_lost_outlets_stop_the_readout_and_show_no_effect(outcomes, record):
    gone = [o for o, arm in record.arms.items() if arm == "treatment"][:14]
    lost = outcomes[~(outcomes["outlet_id"].isin(gone) & (outcomes["week"] >= FIRST + 2))]
    readout = read_out(record, Evidence(planted(lost, record, 9)))
    assert readout.verdict.word == "invalid"
    assert readout.effect is None
    assert readout.guardrails == ()
    assert "26 of 40 treatment outlets" in readout.verdict.sentence
    assert "sample-ratio-mismatch" in readout.verdict.reasons[0]
    assert table_row(readout, read_at=NOW) is None
    assert as_json(readout)["effect"] is None


def test_an_outlet_that_was_served_the_other_arm_stops_the_readout(outcomes, record):
    swapped = {next(o for o, arm in record.arms.items() if arm == "control"): "treatment"}
    assert read_out(record, Evidence(outcomes, served=swapped)).verdict.word == "invalid"


def test_a_contaminated_control_arm_is_flagged_by_name_and_the_assignment_still_counts(outcomes, record):
    both = pd.concat([ran(record), ran(record, "control", weeks=2).iloc[:30]])
    readout = read_out(record, Evidence(planted(outcomes, record, 4), reported=both))
    assert len(readout.execution.contaminated) == 15
    assert readout.verdict.reasons[0].startswith(f"Contaminated control arm: {readout.execution.contaminated[0]}")
    clean = read_out(record, Evidence(planted(outcomes, record, 4), reported=ran(record)))
    assert readout.effect == clean.effect


def test_planned_is_not_done(outcomes, record):
    half = ran(record).groupby("outlet_id").head(3)
    other = ran(record, activation="mailer")
    readout = read_out(record, Evidence(outcomes, reported=pd.concat([half, half, other])))
    assert readout.execution.done_share == 0.5
    assert "120 of 240 planned outlet-weeks were run (50%)" in " ".join(readout.verdict.reasons)
    nobody = read_out(record, Evidence(outcomes))
    assert "Nobody reported" in " ".join(nobody.verdict.reasons)


def test_outcomes_of_outlets_in_no_arm_are_counted_and_change_nothing(outcomes, record):
    stranger = outcomes[outcomes["outlet_id"] == "o001"].assign(outlet_id="stranger", transactions=10_000)
    readout = read_out(record, Evidence(pd.concat([outcomes, stranger])))
    assert readout.outside == len(stranger)
    assert readout.effect == read_out(record, Evidence(outcomes)).effect


@pytest.mark.parametrize(
    ("column", "sign"), [("margin_usd", -1), ("category_transactions", -1), ("stock_out_share", 1)]
)
def test_a_broken_guardrail_forbids_what_the_effect_allows(outcomes, record, column, sign):
    random = np.random.default_rng(5)
    better = planted(outcomes, record, 4)
    level = better.assign(transactions=random.normal(50, 1, len(better)))
    fine = better.assign(**{column: level["transactions"]})
    harmed = better.assign(**{column: planted(level, record, sign * 8.0)["transactions"]})
    assert read_out(record, Evidence(fine)).verdict.word == "ship"
    readout = read_out(record, Evidence(harmed))
    assert readout.verdict.word == "do_not_ship"
    assert readout.verdict.reasons[0].startswith("Guardrail broken: ")
    assert [g.state for g in readout.guardrails].count("harmed") == 1


def test_control_outlets_that_lose_to_treated_neighbours_are_noticed():
    outcomes = sales(2, outlets=200)
    record = record_of(outcomes)
    ids = sorted(record.arms)
    beside = {o: (ids[n - 1], ids[(n + 1) % len(ids)]) for n, o in enumerate(ids)}
    treated = {o: sum(record.arms[b] == "treatment" for b in beside[o]) / 2 for o in ids}
    control = outcomes["outlet_id"].map(record.arms).eq("control") & (outcomes["week"] >= FIRST)
    stolen = outcomes.assign(transactions=outcomes["transactions"] - 6.0 * outcomes["outlet_id"].map(treated) * control)
    quiet, spilled = (read_out(record, Evidence(o, neighbours=beside)).guardrails[-1] for o in (outcomes, stolen))
    assert (quiet.state, spilled.state) == ("ok", "harmed")
    assert "only moved" in spilled.note


def test_an_experiment_that_is_looked_at_once_shows_nothing_before_its_end(outcomes):
    record = record_of(outcomes, looks="once")
    early = read_out(record, Evidence(until(planted(outcomes, record, 5), FIRST + 3)))
    assert early.effect is None
    assert early.verdict.sentence == "Keep running: this experiment is looked at once, at the end; 6 weeks to go."
    final = read_out(record, Evidence(planted(outcomes, record, 5)))
    weekly = read_out(record_of(outcomes), Evidence(planted(outcomes, record, 5)))
    assert (
        final.effect.interval.high - final.effect.interval.low
        < weekly.effect.interval.high - weekly.effect.interval.low
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda o: until(o, FIRST - 1), "no outcomes since its first week 27; the newest is of week 26"),
        (lambda o: o[o["week"] != FIRST + 1], "week 28 has no outcomes at all"),
        (lambda o: o[o["week"] > FIRST - 3], "2 weeks of outcomes before week 27"),
        (lambda o: pd.concat([o, o.head(2)]), "2 pairs of outlet and week twice, first outlet o000 in week 1"),
        (lambda o: o.assign(transactions=o["transactions"].astype(float).where(o["week"] != 3)), "not finite"),
        (lambda o: o.drop(columns="transactions"), "no transactions"),
        (lambda o: o.head(0), "no rows"),
        (lambda o: o[o["outlet_id"] < "o012"], "smaller arm has"),
    ],
)
def test_outcomes_that_cannot_be_used_are_refused_by_what_is_wrong(outcomes, record, change, said):
    if said == "smaller arm has":
        record = record_of(change(outcomes))
    with pytest.raises(OutcomeError, match=said):
        read_out(record, Evidence(change(outcomes)))


def test_the_row_of_a_readout_keeps_its_contract(outcomes, record):
    readout = read_out(record, Evidence(planted(outcomes, record, 4)))
    row = table_row(readout, read_at=NOW)
    connection = duckdb.connect()
    connection.register("readout", pd.DataFrame([row]))
    checked = check(connection, contract("readouts"), source="readout", known={}, as_of=NOW)
    assert connection.sql(checked.bad).fetchall() == []
    assert len(connection.sql(checked.good).fetchall()) == 1
    assert (row["weeks"], row["weeks_observed"], row["outlets"]) == (WEEKS, WEEKS + AFTER, 80)


def test_the_page_says_verdict_figure_guardrails_and_nothing_from_outside(outcomes, record, tmp_path):
    readout = read_out(record, Evidence(planted(outcomes, record, 4).assign(margin_usd=1.0), reported=ran(record)))
    path = write_readout(tmp_path, readout, as_of=NOW, written_at=NOW)
    page = path.read_text()
    assert readout.verdict.sentence.replace("+", "&#43;") in page or readout.verdict.sentence in page
    for said in (
        "display-cola",
        "What must not get worse",
        "Margin less activation cost",
        "findable by design",
        "<svg",
    ):
        assert said in page
    assert "http" not in page.replace("http-equiv", "")
    kept = json.loads((tmp_path / "display-cola.json").read_text())
    assert kept == as_json(readout)
    assert kept["verdict"] == "ship"
    again = write_readout(tmp_path, readout, as_of=NOW, written_at=NOW)
    assert again.read_text() == page


def test_the_page_of_a_broken_experiment_shows_no_effect(outcomes, record, tmp_path):
    swapped = {next(o for o, arm in record.arms.items() if arm == "control"): "treatment"}
    readout = read_out(record, Evidence(planted(outcomes, record, 4), served=swapped))
    page = write_readout(tmp_path, readout, as_of=NOW, written_at=NOW).read_text()
    assert "No verdict" in page
    assert "<svg" not in page
    assert "transactions per outlet and week (95" not in page
