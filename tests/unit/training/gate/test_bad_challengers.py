"""Models that are bad in one way each, every one refused for that reason; on a frame whose demand is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from feature_repo.catalog import MODEL_FEATURES
from training import demand
from training.baselines import fit_baselines
from training.evaluation import evaluate
from training.gate.contender import of_model
from training.gate.cost import MOST_MILLISECONDS, Cost, check_cost, measure
from training.gate.examine import Subject, examine
from training.gate.judge import REQUIRED, judge
from training.gate.knowledge import expected_deviance
from training.gate.response import check_response

FAST = Cost(20.0, 1.0)


class Clock:
    """Seconds that pass only when something is asked of it."""

    def __init__(self, step):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


@pytest.fixture(scope="module")
def rows(frame):
    made = frame()
    return made.assign(base_price_13w=2.0, planned_price=2.0 * (1.0 - made["plan_depth"]))


def judged(rows, model, *, honest=None, step=0.001, size=1_000_000):
    """The whole gate on a model; `honest` are the rows as they were known when deciding."""
    honest = rows if honest is None else honest
    past, held_out = rows[rows["week"] <= 40], rows[rows["week"] > 40]
    baselines = fit_baselines(past, target_weeks=(41, 53)).predict(held_out)
    cells = evaluate(
        model, held_out=held_out, history=past, baselines=baselines, unavailable={}, seed=1, draws=50
    ).cells
    challenger = of_model(model, held_out)
    examined = examine(
        Subject(model, size),
        None,
        frame=rows,
        forecast=challenger.mean,
        known=lambda at: honest[honest["event_timestamp"] == at][["outlet_id", "ppg_id", *MODEL_FEATURES]],
        seed=1,
        clock=Clock(step),
    )
    return judge(
        cells,
        challenger=challenger,
        baselines=baselines,
        champion=None,
        seed=1,
        draws=400,
        examined=examined,
        required=REQUIRED,
    )


def fitted(rows, recipe):
    return demand.fit(rows[rows["week"] <= 40], recipe=recipe, seed=7, threads=1, data_digest="d1")


@pytest.fixture(scope="module")
def sound(rows, recipe):
    return fitted(rows, recipe)


def refused_by(verdict):
    assert verdict.outcome == "refuse", verdict.reasons
    return {finding.check for finding in verdict.findings if finding.outcome == "refuse"}


def test_a_sound_model_is_examined_in_every_way_and_refused_in_none(rows, sound):
    verdict = judged(rows, sound)
    assert {f.check for f in verdict.findings} == set(REQUIRED)
    assert [f.said for f in verdict.findings if f.outcome == "refuse"] == []
    assert all(np.isfinite(value) for value in verdict.figures.values())


def test_an_overfitted_model_is_refused_as_overfitted(rows, recipe):
    memorising = replace(recipe, rounds=60, learning_rate=0.3, num_leaves=60, min_child_samples=1, lambda_l2=0.0)
    verdict = judged(rows, fitted(rows, memorising))
    assert "generalisation" in refused_by(verdict)
    assert any(reason.startswith("overfitted: ") for reason in verdict.reasons)


def test_a_model_fed_with_the_outcome_is_refused_by_its_score_and_by_the_audit(rows, recipe):
    leaky = rows.assign(transactions_lag_1=rows["transactions"])
    verdict = judged(
        leaky, fitted(leaky, replace(recipe, rounds=80, min_child_samples=10, feature_fraction=1.0)), honest=rows
    )
    assert {"knowledge", "point in time"} <= refused_by(verdict)
    assert any("most transactions_lag_1" in reason for reason in verdict.reasons)
    assert any("nearer than counts scatter" in reason for reason in verdict.reasons)
    assert verdict.figures["audit_honest_deviance"] > 1.5 * verdict.figures["audit_deviance"]


def test_a_feature_with_a_hint_of_the_outcome_is_found_by_the_audit_though_no_score_betrays_it(rows, sound):
    leaky = rows.assign(weeks_since_sale=rows["weeks_since_sale"] + 0.001 * rows["transactions"])
    verdict = judged(leaky, sound, honest=rows)
    assert refused_by(verdict) == {"point in time"}
    assert "differ from what was known when deciding, most weeks_since_sale" in verdict.reasons[0]


def test_a_slow_model_is_refused_as_slow(rows, sound):
    assert refused_by(judged(rows, sound, step=1.0)) == {"cost"}


def test_a_model_with_huge_files_is_refused_for_their_size(rows, sound):
    verdict = judged(rows, sound, size=40_000_000)
    assert verdict.reasons == ("1 ms per 1,000 rows, 40.0 MB of files, more than 32 MB",)


def test_a_model_several_times_slower_than_the_champion_is_refused_though_fast_enough():
    assert check_cost(Cost(100.0, 1.0), FAST).outcome == "refuse"
    assert check_cost(Cost(40.0, 1.0), Cost(1.0, 1.0)).outcome == "pass"  # nobody would notice
    assert check_cost(Cost(MOST_MILLISECONDS - 1, 1.0), None).outcome == "pass"


def test_the_time_of_an_answer_is_that_of_the_best_run():
    ticks = iter([0.0, 9.0, 10.0, 10.5, 11.0, 13.0, 14.0, 15.0, 16.0, 17.0])
    assert measure(lambda: None, size=2_000_000, clock=lambda: next(ticks)) == Cost(500.0, 2.0)


def test_a_model_that_sells_less_at_a_lower_price_is_refused(rows):
    finding = check_response(lambda asked: 1.0 - asked["plan_depth"].to_numpy(), rows, seed=1)
    assert finding.outcome == "refuse"
    assert finding.said == "a deeper price cut lowers the forecast in 1,500 of 1,500 rows"


def test_without_a_base_price_the_response_is_open(rows):
    finding = check_response(lambda asked: np.ones(len(asked)), rows.assign(base_price_13w=np.nan), seed=1)
    assert finding.outcome == "not enough evidence"


def test_the_columns_of_the_rows_may_come_in_any_order(rows, sound):
    pd.testing.assert_frame_equal(sound.predict(rows[rows.columns[::-1]]), sound.predict(rows))


def test_the_expected_deviance_is_that_of_drawn_counts():
    mean = np.array([0.05, 0.3, 2.0, 9.0])
    from poplift.statistics import poisson_deviance

    counts = np.random.default_rng(0).poisson(mean, (200_000, 4))
    drawn = poisson_deviance(counts.astype(float), np.broadcast_to(mean, counts.shape)).mean(axis=0)
    np.testing.assert_allclose(expected_deviance(mean), drawn, rtol=0.01)
