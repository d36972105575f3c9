"""Launch records: written once, never changed, never in each other's way."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest

from poplift.launches import Launch, LaunchError, launch, read_launch, read_launches

MADE = Launch(
    name="display-cola",
    activation="display",
    ppg_ids=("cola",),
    arms={"1": "treatment", "2": "control"},
    strata={"1": "all", "2": "all"},
    share=0.5,
    first_week=10,
    starts_on=date(2018, 1, 1),
    weeks=8,
    detectable=0.4,
    launched_at=datetime(2017, 12, 30, tzinfo=UTC),
)


def changed(**changes):
    return Launch.model_validate(MADE.model_dump() | changes)


def test_a_launch_comes_back_as_it_was_written(tmp_path):
    assert launch(tmp_path, MADE) == read_launch(tmp_path, "display-cola") == MADE
    assert read_launches(tmp_path) == [MADE]


def test_the_same_launch_again_changes_nothing(tmp_path):
    launch(tmp_path, MADE)
    again = launch(tmp_path, changed(launched_at=MADE.launched_at + timedelta(days=1)))
    assert again == MADE
    assert [p.name for p in tmp_path.glob("*.json")] == ["display-cola.json"]


def test_a_launch_of_the_same_name_with_other_content_is_refused_and_says_what_differs(tmp_path):
    launch(tmp_path, MADE)
    with pytest.raises(LaunchError, match=r"display-cola was launched at 2017-12-30 00:00 UTC .*\(weeks\)"):
        launch(tmp_path, changed(weeks=9))
    assert read_launch(tmp_path, "display-cola") == MADE
    assert not list(tmp_path.glob(".*.partial"))


def test_of_many_launches_at_once_one_is_written(tmp_path):
    def attempt(weeks):
        try:
            return launch(tmp_path, changed(weeks=weeks)).weeks
        except LaunchError:
            return None

    with ThreadPoolExecutor(8) as pool:
        won = {weeks for weeks in pool.map(attempt, range(1, 17)) if weeks is not None}
    assert won == {read_launch(tmp_path, "display-cola").weeks}


def test_two_experiments_do_not_decide_for_the_same_outlet_and_ppg_at_once(tmp_path):
    launch(tmp_path, MADE)
    with pytest.raises(LaunchError, match="watched until 2018-03-26; start on that day"):
        launch(tmp_path, changed(name="other", starts_on=date(2018, 3, 5)))
    launch(tmp_path, changed(name="later", starts_on=date(2018, 3, 26)))
    launch(tmp_path, changed(name="tea", ppg_ids=("tea",)))


def test_an_unknown_experiment_is_answered_with_the_known_ones(tmp_path):
    launch(tmp_path, MADE)
    with pytest.raises(LaunchError, match=r"no experiment cola .*; launched: display-cola"):
        read_launch(tmp_path, "cola")


def test_a_record_that_was_edited_by_hand_is_refused_by_name(tmp_path):
    launch(tmp_path, MADE)
    path = tmp_path / "display-cola.json"
    path.write_text(path.read_text().replace('"weeks": 8', '"weeks": "eight"'))
    with pytest.raises(LaunchError, match=r"display-cola\.json is not a launch record"):
        read_launch(tmp_path, "display-cola")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"activation": "none"}, "nothing to test"),
        ({"activation": "banner"}, "not an activation"),
        ({"arms": {"1": "control", "2": "control"}}, "both arms"),
        ({"strata": {"1": "all"}}, "every outlet has a stratum"),
        ({"name": "../x"}, "name"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        changed(**change)


def test_an_experiment_runs_from_its_first_day_to_its_last():
    assert [MADE.runs(ppg_id="cola", day=date(2018, 1, 1) + timedelta(weeks=n)) for n in (-1, 0, 7, 8)] == [
        False,
        True,
        True,
        False,
    ]
    assert not MADE.runs(ppg_id="tea", day=MADE.starts_on)
