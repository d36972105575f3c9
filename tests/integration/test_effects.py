"""`poplift effects` on a small home: fitted once, readable online, as a table of versions and in the registry."""

import pandas as pd
import pytest

from feature_repo.build import table_path
from feature_repo.catalog import (
    DEMAND_SERVING,
    DEMAND_TRAINING,
    EFFECT_VIEW,
    EFFECTS,
    MODEL_FEATURES,
    RUNNING_VIEWS,
    VIEWS,
)
from flows.console import Console
from flows.effects_console import show
from flows.steps.effects import refresh_effects
from flows.steps.ledger import verify_ledger
from poplift import alias_moves, registry
from poplift.activation import CANDIDATES
from poplift.feature_store import online_features, open_store
from poplift.settings import load_settings

pytestmark = pytest.mark.slow  # a fit, Feast and MLflow


@pytest.fixture(scope="module")
def home(small_home, tmp_path_factory):
    """A home of its own over the small home's lake and feature tables."""
    own = load_settings(home=tmp_path_factory.mktemp("effects"), database_prefix="effects")
    own.lake_dir.symlink_to(small_home.settings.lake_dir)
    for view in (*VIEWS, *RUNNING_VIEWS):
        path = table_path(own.features_dir, view.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(table_path(small_home.settings.features_dir, view.name))
    return own


@pytest.fixture(scope="module")
def fitted(home):
    return refresh_effects(home)


def written(home):
    return pd.read_parquet(table_path(home.features_dir, EFFECT_VIEW.name))


def test_every_managed_outlet_and_ppg_has_a_row_per_activation(home, fitted):
    rows = written(home)
    assert fitted.rows == len(rows)
    assert rows.groupby(["outlet_id", "ppg_id"])["activation"].nunique().eq(len(CANDIDATES)).all()
    assert rows["outlet_id"].nunique() == 8
    assert (rows["created_timestamp"] == pd.Timestamp(home.business_time)).all()


def test_what_was_written_is_read_online_under_the_effects_service(home, fitted):
    row = written(home).query("activation == 'display+mailer'").iloc[fitted.rows % 7]
    entity = {key: row[key] for key in EFFECT_VIEW.entities}
    found = dict(online_features(home, service=EFFECTS, entities=[entity]).values)
    for feature in EFFECT_VIEW.features:
        assert found[feature.name][0] == pytest.approx(row[feature.name])


def test_no_demand_service_hands_out_an_effect(home, fitted):
    assert not set(MODEL_FEATURES) & {feature.name for feature in EFFECT_VIEW.features}
    store = open_store(home)
    for service in (DEMAND_SERVING, DEMAND_TRAINING):
        views = {p.name for p in store.get_feature_service(service).feature_view_projections}
        assert EFFECT_VIEW.name not in views


def test_the_same_question_again_fits_nothing_and_writes_nothing(home, fitted):
    before = {p: p.stat().st_mtime_ns for p in table_path(home.features_dir, EFFECT_VIEW.name).glob("*")}
    again = refresh_effects(home)
    assert again.averages is None
    assert (again.version, again.rows) == (fitted.version, fitted.rows)
    assert {p: p.stat().st_mtime_ns for p in table_path(home.features_dir, EFFECT_VIEW.name).glob("*")} == before


def test_the_command_says_what_every_activation_adds_and_the_next_time_that_there_is_nothing_to_fit(
    home, fitted, command, capsys
):
    show(Console(), fitted)
    said = capsys.readouterr().out
    for row in fitted.averages.query("activation != 'none'").to_dict("records"):
        (line,) = [line for line in said.splitlines() if f" {row['activation']} " in line]
        assert f"{row['incremental_transactions']:+.3f}" in line
        assert row["evidence"] in line
    assert f"effects version {fitted.version}: {fitted.rows:,} rows written and online" in said
    again = command(home, "effects")
    assert f"nothing to fit: version {fitted.version} is of this data, code and seed; {fitted.rows:,} rows" in again
    assert again.endswith(f"report: {fitted.report}\n")


def test_the_ledger_tells_which_fit_is_champion_and_agrees_with_mlflow(home, fitted):
    move = alias_moves.ledger(home).moves(model=registry.EFFECTS)[0]
    assert (move.from_version, move.to_version, move.who) == (None, fitted.version, "effects")
    state = verify_ledger(home)
    assert (state.not_asked, state.reasons) == (None, ())


def test_a_champion_of_effects_that_was_set_elsewhere_is_written_down_at_the_next_look(home, fitted):
    registry.client(home).delete_registered_model_alias(registry.EFFECTS, registry.CHAMPION)
    verify_ledger(home)
    assert alias_moves.ledger(home).moves(model=registry.EFFECTS)[-1].who == alias_moves.OUTSIDE
    registry.set_alias(home, name=registry.EFFECTS, alias=registry.CHAMPION, version=fitted.version)
    assert verify_ledger(home).reasons == ()


def test_the_fit_is_registered_with_its_report_and_tables(home, fitted, tmp_path):
    version = registry.by_alias(home, name=registry.EFFECTS, alias=registry.CHAMPION)
    assert version is not None
    assert version.version == fitted.version
    assert version.tags["as_of"] == home.business_time.isoformat()
    assert version.metrics["display_transactions_low"] <= version.metrics["display_transactions_high"]
    registry.copy_artifact(home, version, "report.html", to=tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == fitted.report.read_text()
    assert "No cell was drawn at random" in fitted.report.read_text()
