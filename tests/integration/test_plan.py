"""`poplift plan`: from a file of effects to a table, a page and an artifact, the same each time, and nothing by default."""

import json
from datetime import timedelta

import pyarrow.parquet as pq
import pytest

from flows.steps.plan import RulesError, plan_coming_week, read_rules
from poplift.assignment import is_held_out
from poplift.lake import Lake
from poplift.settings import child_environment, load_settings
from serving.planner.conflicts import InfeasiblePlanError
from serving.planner.effects import NoEffectTableError
from serving.planner.explain import worth
from serving.planner.rules import MustRun, NeverRun, PlanRules
from tests.integration.test_flows import poplift
from tests.page import Page
from tests.unit.serving.planner.effect_rows import frame, made_up, none, row


@pytest.fixture
def effects(settings):
    """A made-up effect table where the step looks for it."""
    folder = settings.features_dir / "outlet_ppg_effects"
    folder.mkdir(parents=True)
    made_up(4, outlets=10, ppgs=3).to_parquet(folder / "part.parquet")
    return folder / "part.parquet"


def test_a_plan_is_a_table_with_a_row_per_outlet_and_ppg_and_its_summary(settings, effects):
    planned = plan_coming_week(settings, rules=PlanRules(budget_usd=6, max_displays=1))
    table = pq.read_table(planned.table)
    rows = table.to_pandas()
    assert planned.table.parent == settings.plans_dir / "week=2018-01-01"
    assert len(rows) == 30
    assert set(rows["week_start"].astype(str)) == {"2018-01-01"}
    runs = rows[rows["runs"]]
    assert len(runs) == planned.summary.lines > 0
    assert runs["cost_usd"].sum() == pytest.approx(planned.summary.cost_usd)
    assert runs["cost_usd"].sum() <= 6
    assert set(runs["reason"]) == {"runs"}
    assert (runs["incremental_margin_usd_low"] > 0).all()
    assert rows["why"].str.len().min() > 20
    said = json.loads(table.schema.metadata[b"poplift_plan"])
    assert said["cost_usd"] == pytest.approx(planned.summary.cost_usd)
    assert said["rules"]["budget_usd"] == 6
    latest = json.loads((settings.plans_dir / "latest.json").read_text())
    assert settings.plans_dir / latest["file"] == planned.table


def test_the_same_inputs_give_the_same_files_and_other_ones_leave_the_old_plan_in_place(settings, effects):
    first = plan_coming_week(settings, rules=PlanRules(budget_usd=6))
    content, page = first.table.read_bytes(), first.page.read_bytes()
    again = plan_coming_week(settings, rules=PlanRules(budget_usd=6))
    assert (again.table, again.table.read_bytes(), again.page.read_bytes()) == (first.table, content, page)
    other = plan_coming_week(settings, rules=PlanRules(budget_usd=7))
    assert other.table != first.table
    assert first.table.read_bytes() == content
    assert not list(settings.home.rglob("*.part"))


def test_the_page_tells_a_sales_manager_what_where_why_and_on_what_it_rests(settings, effects):
    planned = plan_coming_week(settings, rules=PlanRules(budget_usd=6, max_displays=1, exclusive_ppgs=(("p0", "p1"),)))
    page = Page(planned.page.read_text())
    for line in planned.top:
        assert worth(line) in page.text
        assert worth(line) in line.why
        assert line.outlet_id in page.text
    for said in (
        f"{planned.summary.lines} activations in {planned.summary.outlets} outlets",
        "of 6.00",
        "at most 1 display(s) per outlet",
        "only one of p0, p1",
        "the 95% interval of its margin lies above zero",
        "Cost of one display for one week. 1.0",
        "Declared, not measured",
        "more likely too high than too low",
    ):
        assert said in page.text, said
    assert page.hrefs == ["index.html"]


def test_a_name_that_looks_like_markup_does_not_break_the_page(settings, effects):
    frame(none("<b>o</b>", "p"), row("<b>o</b>", "p&q", "mailer")).to_parquet(effects)
    page = Page(plan_coming_week(settings, rules=PlanRules(budget_usd=6)).page.read_text())
    assert "Outlet <b>o</b>" in page.text


def test_the_outlets_of_the_permanent_holdout_are_left_alone_and_counted(settings, effects):
    assert is_held_out("o004")
    planned = plan_coming_week(settings, rules=PlanRules(budget_usd=1000))
    rows = pq.read_table(planned.table).to_pandas()
    assert set(rows.loc[rows["outlet_id"] == "o004", "reason"]) == {"holdout"}
    assert planned.summary.not_run["holdout"] == 3
    assert "the outlet is in the permanent holdout" in Page(planned.page.read_text()).text


def test_without_a_budget_nothing_runs_and_the_page_says_so(settings, effects):
    planned = plan_coming_week(settings)
    assert not pq.read_table(planned.table)["runs"].to_pandas().any()
    assert planned.summary.cost_usd == 0
    assert planned.headline == "Nothing is planned: no budget was given, so nothing is spent"
    assert "No budget was given" in Page(planned.page.read_text()).text


def test_outlets_without_effects_and_bad_rows_are_reported_by_name_and_count(settings, effects, small_home):
    settings.lake_dir.symlink_to(small_home.settings.lake_dir)
    managed = Lake(settings.lake_dir).read("outlets", as_of=settings.now()).to_pyarrow().to_pandas()
    outlets = sorted(managed.loc[managed["is_managed"], "outlet_id"])
    frame(
        *(row(outlet, "p", "mailer") for outlet in outlets[:-2]), row(outlets[-2], "p", "billboard")
    ).to_parquet(effects)  # fmt: skip
    planned = plan_coming_week(settings, rules=PlanRules(budget_usd=100))
    assert planned.summary.missing_outlets == tuple(outlets[-2:])
    assert planned.summary.lines == len(outlets) - 2
    text = Page(planned.page.read_text()).text
    assert ", ".join(outlets[-2:]) in text
    assert "1: activation is not known" in text
    assert any(outlets[-1] in note for note in planned.notes)


def test_the_notes_say_as_of_when_the_effects_are_and_that_old_ones_should_be_made_anew(settings, effects):
    fitted = settings.now() - timedelta(days=50)
    made_up(4).assign(event_timestamp=fitted, created_timestamp=fitted).to_parquet(effects)
    notes = plan_coming_week(settings, rules=PlanRules(budget_usd=6)).notes
    assert notes[0] == f"effects as of {fitted:%Y-%m-%d}"
    assert notes[1] == "the effects are 50 days old and should not be older than 42: run `poplift effects`"


def test_a_minimum_gap_reads_the_last_activations_of_the_online_store(small_home, tmp_path):
    there = small_home.settings
    settings = load_settings(home=tmp_path / "var", database_prefix=there.database_prefix)
    settings.home.mkdir()
    for name in ("lake", "registry.db", "online.db", "read-plans"):
        if (there.home / name).exists():
            (settings.home / name).symlink_to(there.home / name)
    promotion = pq.read_table(there.features_dir / "outlet_ppg_promotion").to_pandas().sort_values("event_timestamp")
    last = (
        promotion.groupby(["outlet_id", "ppg_id"]).tail(1).set_index(["outlet_id", "ppg_id"])["weeks_since_promotion"]
    )
    settings.features_dir.mkdir()
    frame(*(row(o, p, "mailer") for o, p in last.index)).to_parquet(
        settings.features_dir / "outlet_ppg_effects.parquet"
    )
    planned = plan_coming_week(settings, rules=PlanRules(budget_usd=1e6, minimum_gap_weeks=4))
    rows = pq.read_table(planned.table).to_pandas().set_index(["outlet_id", "ppg_id"])
    runs = set(rows.index[rows["runs"]])
    assert runs == set(last.index[last > 4])
    assert 0 < len(runs) < len(last)
    assert set(rows.loc[~rows["runs"], "reason"]) == {"gap"}


def test_rules_are_read_from_the_form_of_the_api_and_a_mistake_is_told_by_place(tmp_path):
    file = tmp_path / "rules.json"
    file.write_text(
        json.dumps({"budget_usd": 5, "exclusive_ppgs": [["a", "b"]], "never_run": [{"mechanic": "display"}]})
    )
    assert read_rules(file, budget_usd=None).budget_usd == 5
    assert read_rules(file, budget_usd=7.5).budget_usd == 7.5
    assert read_rules(None, budget_usd=None) == PlanRules()
    file.write_text('{"max_displays": "one"}')
    with pytest.raises(RulesError, match=r"rules\.json: max_displays"):
        read_rules(file, budget_usd=None)
    with pytest.raises(RulesError, match="No such file"):
        read_rules(tmp_path / "none.json", budget_usd=None)
    file.write_text('{"never_run": [{"mechanic": "display"}]}')
    assert read_rules(file, budget_usd=1).never_run == (NeverRun(mechanic="display"),)
    for no_budget in (-1, float("nan"), float("inf")):
        with pytest.raises(RulesError, match="--budget: budget_usd"):
            read_rules(None, budget_usd=no_budget)


def test_what_cannot_be_planned_is_refused_and_leaves_no_file(settings, effects):
    promised = (MustRun(outlet_id="o001", ppg_id="p0", activation="display"),)
    with pytest.raises(InfeasiblePlanError, match=r"raise the budget by 0\.50 USD"):
        plan_coming_week(settings, rules=PlanRules(budget_usd=0.5, must_run=promised))
    effects.unlink()
    with pytest.raises(NoEffectTableError, match="run `poplift effects`"):
        plan_coming_week(settings, rules=PlanRules(budget_usd=5))
    assert not settings.plans_dir.exists()


def test_the_command_shows_the_plan_and_a_refusal_in_one_line(settings, effects):
    done = poplift("plan", "--budget", "6", home=settings.home)
    assert done.returncode == 0, done.stderr
    assert "activations in" in done.stdout
    assert "of 6.00 USD" in done.stdout
    assert str(settings.reports_dir / "plan.html") in done.stdout
    rules = settings.home / "rules.json"
    rules.write_text(json.dumps({"must_run": [{"outlet_id": "o001", "ppg_id": "p0", "activation": "display"}]}))
    refused = poplift("plan", "--rules", str(rules), home=settings.home)
    assert refused.returncode == 1
    assert refused.stderr == (
        "error: rules.budget_usd: no budget was given, so nothing is spent: give a budget of at least 1.00 USD\n"
    )


@pytest.mark.slow
def test_the_flow_leaves_artifacts_and_waits_for_a_first_effect_table(settings, effects):
    import subprocess
    import sys

    program = (
        "from prefect.testing.utilities import prefect_test_harness\n"
        "from prefect.artifacts import Artifact\n"
        "from flows.deployments import plan_flow\n"
        "with prefect_test_harness(server_startup_timeout=180):\n"
        "    print('TABLE', plan_flow(budget_usd=6.0))\n"
        "    print('KEYS', Artifact.get('plan').type, Artifact.get('plan-page').type)\n"
    )
    environment = child_environment(settings)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"TABLE {settings.plans_dir}" in done.stdout
    assert "KEYS table markdown" in done.stdout
    assert "effects were not estimated anew" in done.stderr  # there is no lake, and a plan all the same
    effects.unlink()
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert "TABLE None" in done.stdout
    assert "nothing to plan yet" in done.stderr
