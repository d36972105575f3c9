"""Retraining by evidence: counted on the real lake and registry, decided, written down, and never lost by a skip."""

from datetime import timedelta

import pytest
from filelock import FileLock

from flows.steps import retrain as step
from flows.steps.evidence import broken_kinds, decisions, gather, monitoring_history, remember
from flows.steps.retrain import retrain
from monitoring.verdict import Figure, Verdict
from poplift import registry
from poplift.clock import wall_now
from poplift.settings import load_settings

LAST_WEEK = 53


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A tracking database with the experiment and no run; making it takes seconds, so the tests copy it."""
    settings = load_settings(home=tmp_path_factory.mktemp("mlflow"))
    client = registry.client(settings)
    client.create_experiment(registry.DEMAND, artifact_location=settings.mlflow_artifact_root)
    return (settings.home / "mlflow.db").read_bytes()


@pytest.fixture
def home(tmp_path, small_home, template):
    """The small home's lake and an empty registry."""
    (tmp_path / "lake").symlink_to(small_home.settings.lake_dir)
    (tmp_path / "mlflow.db").write_bytes(template)
    return load_settings(home=tmp_path)


def trained_through(settings, week, *, rows=10_000, as_of=None):
    """A finished training of the weeks up to one, as `poplift train` leaves it, refused by the gate or not."""
    client = registry.client(settings)
    experiment = client.get_experiment_by_name(registry.DEMAND).experiment_id
    as_of = as_of or settings.business_time - timedelta(days=7 * (LAST_WEEK - week))
    tags = {"last_week": str(week), "rows": str(rows), "as_of": as_of.isoformat()}
    client.set_terminated(client.create_run(experiment, tags=tags).info.run_id)


def verdict(**statuses):
    return Verdict("breach", ("something",), tuple(Figure(k, k, 1.0, "", "", s) for k, s in statuses.items()))


def later(settings, weeks):
    return load_settings(home=settings.home, business_time=settings.business_time + timedelta(days=7 * weeks))


def records(settings):
    return [line.record for line in decisions(settings).lines()]


def nothing_new(*_):
    return None


def test_before_the_first_training_there_is_nothing_to_count(home):
    assert gather(home).trained_rows == 0
    assert retrain(home, dry_run=True).decision.grounds == ("there is no model yet",)
    assert records(home) == []


def test_new_rows_are_the_labelled_cells_of_weeks_after_the_newest_training_whoever_made_it(home, small_home):
    import pandas as pd

    trained_through(home, 40)
    trained_through(home, 51)
    client = registry.client(home)  # a run that trained nothing, the gate on a baseline say
    experiment = client.get_experiment_by_name(registry.DEMAND).experiment_id
    client.set_terminated(client.create_run(experiment, tags={"gate": "refuse"}).info.run_id)
    sales = pd.read_parquet(small_home.settings.features_dir / "outlet_ppg_sales")
    cells = len(sales[["outlet_id", "ppg_id"]].drop_duplicates())
    evidence = gather(home)
    assert (evidence.trained_rows, evidence.new_rows) == (10_000, 2 * cells)


def test_a_dry_run_tells_and_writes_nothing(home, command):
    trained_through(home, LAST_WEEK)
    done = retrain(home, dry_run=True)
    assert not done.decision.is_due
    assert "0 new labelled rows are 0.0% of the 10,000 trained on" in done.decision.reasons[0]
    said = command(home, "retrain", "--dry-run")
    assert all(reason in said for reason in done.decision.reasons)
    assert records(home) == []


def test_the_command_keeps_who_asked_and_says_that_it_was_skipped(home, command):
    trained_through(home, LAST_WEEK)
    said = command(home, "retrain", "--why", "asked by ana")
    assert "Retrain: skipped" in said
    assert "0 new labelled rows are 0.0% of the 10,000 trained on" in said
    assert [(r["cause"], r["decision"]) for r in records(home)] == [("asked by ana", "skip")]


def test_skips_are_written_down_and_leave_the_evidence_until_it_is_enough(home, monkeypatch):
    monkeypatch.setattr(step, "train_if_changed", nothing_new)
    trained_through(home, LAST_WEEK)
    remember(later(home, 1), verdict(inputs_moved_far="breach"))
    assert retrain(later(home, 1), cause="monday").result == "skipped"
    remember(later(home, 1), verdict(inputs_moved_far="breach"))
    assert retrain(later(home, 1)).result == "skipped", "one week that was looked at twice is one week"
    remember(later(home, 2), verdict(inputs_moved_far="breach", bias="breach"))
    done = retrain(later(home, 2), cause="monitoring: drift broken")
    assert done.decision.grounds == ("drift broken in 2 weeks running, up to the week of 2018-01-15",)
    written = records(home)
    assert [r.get("decision") or r["result"] for r in written] == ["skip", "skip", "train", "nothing new"]
    assert (written[0]["cause"], written[2]["cause"]) == ("monday", "monitoring: drift broken")
    assert written[0]["figures"]["drift_weeks"] == 1.0
    assert decisions(home).faults() == ()


def test_what_was_broken_before_the_newest_training_does_not_count_any_more(home):
    for weeks in (1, 2):
        remember(later(home, weeks), verdict(bias="breach"))
    trained_through(home, LAST_WEEK, as_of=home.business_time + timedelta(days=14))
    assert gather(later(home, 2)).windows == ()


def test_the_last_look_of_a_week_is_the_one_that_counts(home):
    trained_through(home, LAST_WEEK)
    remember(later(home, 1), verdict(bias="breach"))
    remember(later(home, 1), verdict(bias="warn"))
    assert [window.broken for window in gather(later(home, 1)).windows] == [frozenset()]


def test_a_training_that_dies_is_on_record_and_a_retry_goes_on_within_the_budget(home, monkeypatch):
    def dying(*_):
        raise MemoryError

    monkeypatch.setattr(step, "train_if_changed", dying)
    for _ in range(4):
        with pytest.raises(MemoryError):
            retrain(home)
    assert "budget: 4 trainings in 30 days" in retrain(home).decision.held_by[0]
    assert [r["decision"] for r in records(home)] == ["train"] * 4 + ["skip"]


def test_looking_and_finding_nothing_new_costs_no_budget(home, monkeypatch):
    monkeypatch.setattr(step, "train_if_changed", nothing_new)
    for _ in range(6):
        assert retrain(home).result == "nothing new"
    assert gather(home).started == ()


def test_of_two_at_the_same_time_the_second_is_skipped_with_the_reason(home):
    trained_through(home, LAST_WEEK)
    with FileLock(home.home / "retrain.lock"):
        assert retrain(home).decision.reasons == ("another retraining is running",)
    assert records(home)[0]["held_by"] == ["another retraining is running"]


def test_only_what_a_new_model_can_answer_is_a_ground():
    found = verdict(oldest_view_days="breach", served_otherwise="breach", rows_refused="breach", bias="warn")
    assert broken_kinds(found) == ("quality",)


def test_the_history_of_monitoring_tells_when_and_what(home):
    before = wall_now()
    remember(home, verdict(wape_ppg_week="breach", inputs_moved_far="warn"))
    (line,) = monitoring_history(home).lines()
    assert (line.record["week"], line.record["broken"]) == ("2018-01-01", ["performance"])
    assert line.record["at"] >= before.isoformat()
