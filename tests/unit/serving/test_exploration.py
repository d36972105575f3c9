"""What is recommended on purpose against the best guess: holdout, experiments, exploration; each with its probability."""

import json
from datetime import UTC, date, datetime

import numpy as np
import pytest

from poplift.assignment import is_held_out, propensities
from poplift.launches import Launch, launch
from serving.exploration import CurrentLaunches, assign, why
from serving.policy import Choice, Policy

WEEK = date(2018, 1, 1)
PPGS = tuple(f"p{n}" for n in range(400))
FREE = next(o for o in map(str, range(100)) if not is_held_out(o))
HELD = next(o for o in map(str, range(1000)) if is_held_out(o))
POLICY = Policy(ppgs=PPGS, sentinel_outlet="1", exploration_share=0.1)
K = len(POLICY.candidates)
BEST = 3


def choices(count=400):
    flat = np.zeros(K)
    return [Choice(ppg, row, BEST, flat, flat, flat, None) for row, ppg in enumerate(PPGS[:count])]


def experiment(arm="treatment", **changes):
    made = Launch(
        name="display-now",
        activation="display",
        ppg_ids=PPGS[:1],
        arms={FREE: arm, "other": "control" if arm == "treatment" else "treatment"},
        strata={FREE: "all", "other": "all"},
        share=0.25,
        first_week=54,
        starts_on=WEEK,
        weeks=2,
        detectable=0.5,
        launched_at=datetime(2018, 1, 1, tzinfo=UTC),
    )
    return made.model_copy(update=changes)


def test_an_outlet_of_the_holdout_gets_none_and_is_told_why():
    for assigned in assign(
        POLICY, choices(), outlet_id=HELD, week=WEEK, launches=[experiment(arms={HELD: "treatment"})]
    ):
        assert POLICY.candidates[assigned.choice.chosen].name == "none"
        assert "permanent holdout" in assigned.choice.abstained_because
        assert (assigned.draw.arm, assigned.draw.propensity) == ("holdout", 1.0)


def test_exploration_draws_its_share_and_keeps_the_order():
    found = assign(POLICY, choices(), outlet_id=FREE, week=WEEK, launches=())
    assert [a.choice.ppg_id for a in found] == list(PPGS)
    drawn = [a for a in found if a.draw.arm == "explored"]
    assert 20 < len(drawn) < 65
    assert len({a.choice.chosen for a in drawn}) == K
    assert all(a.choice.chosen == BEST for a in found if a.draw.arm == "policy")
    for assigned in found:
        assert assigned.draw.propensities == propensities(BEST, candidates=K, share=0.1)
        is_none = POLICY.candidates[assigned.choice.chosen].name == "none"
        assert (assigned.choice.abstained_because is not None) == is_none


def test_asked_again_the_same_is_drawn_and_another_week_draws_anew():
    first, again = (assign(POLICY, choices(), outlet_id=FREE, week=WEEK, launches=()) for _ in range(2))
    later = assign(POLICY, choices(), outlet_id=FREE, week=date(2018, 1, 8), launches=())
    chosen = [[a.choice.chosen for a in found] for found in (first, again, later)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize(("arm", "run", "propensity"), [("treatment", "display", 0.25), ("control", "none", 0.75)])
def test_a_running_experiment_decides_for_its_ppgs_with_the_probability_of_its_launch(arm, run, propensity):
    mine, other = assign(POLICY, choices(2), outlet_id=FREE, week=WEEK, launches=[experiment(arm)])
    assert POLICY.candidates[mine.choice.chosen].name == run
    assert (mine.draw.arm, mine.draw.propensity, mine.experiment) == (arm, propensity, "display-now")
    assert sum(mine.draw.propensities) == 1
    assert f"in its {arm} arm" in why(mine)
    assert other.experiment is None


def test_before_and_after_its_weeks_an_experiment_decides_nothing():
    for week in (date(2017, 12, 25), date(2018, 1, 15)):
        (found,) = assign(POLICY, choices(1), outlet_id=FREE, week=week, launches=[experiment()])
        assert found.experiment is None


def test_an_activation_that_the_release_does_not_know_is_left_to_the_policy():
    record = experiment(activation="display+price_cut_50")
    (found,) = assign(replace_share(0.0), choices(1), outlet_id=FREE, week=WEEK, launches=[record])
    assert (found.choice.chosen, found.draw.arm, found.experiment) == (BEST, "policy", None)


def replace_share(share):
    return POLICY.model_copy(update={"exploration_share": share})


def test_launches_are_seen_when_they_come_and_a_broken_one_leaves_those_known(tmp_path):
    current = CurrentLaunches(tmp_path / "experiments")
    assert current.get() == ()
    launch(tmp_path / "experiments", experiment())
    assert current.get() == (experiment(),)
    (tmp_path / "experiments" / "broken.json").write_text("{")
    assert current.get() == (experiment(),)


def test_answer_and_log_carry_arm_and_every_propensity(settings, app, serving, policy):
    outlet = "367"
    arms = {outlet: "treatment", "406": "control"}
    record = replace_record(arms, policy.ppgs)
    launch(settings.experiments_dir, record)
    with serving(app) as client:
        answer = client.get(f"/v1/recommendations/{outlet}?limit=100").json()
    logged = [json.loads(line) for f in settings.decisions_dir.glob("*.jsonl") for line in f.read_text().splitlines()]
    assert len(logged) == len(answer["recommendations"]) == len(policy.ppgs)
    of_experiment = [r for r in answer["recommendations"] if r["experiment"]]
    assert [r["ppg_id"] for r in of_experiment] == [policy.ppgs[0]]
    assert of_experiment[0]["recommended"]["activation_name"] == "display"
    assert "treatment arm" in of_experiment[0]["arm_note"]
    by_id = {row["decision_id"]: row for row in logged}
    for item in answer["recommendations"]:
        row = by_id[item["decision_id"]]
        assert sum(c["propensity"] for c in row["candidates"]) == pytest.approx(1)
        assert (row["arm"], row["propensity"]) == (item["arm"], item["propensity"])
        assert row["propensity"] == item["recommended"]["propensity"]
        assert (row["policy"], row["release_id"]) == (answer["release"]["policy"], answer["release"]["id"])


def replace_record(arms, ppgs):
    return experiment(arms=arms, strata=dict.fromkeys(arms, "all"), ppg_ids=ppgs[:1])


def test_a_choice_is_replaced_not_changed():
    before = choices(1)
    assign(POLICY, before, outlet_id=HELD, week=WEEK, launches=())
    assert before[0].chosen == BEST
