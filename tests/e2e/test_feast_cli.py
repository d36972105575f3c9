"""The `feast` command works as its users expect: from any folder, on one registry, in business time."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from feature_repo.catalog import DEMAND_SERVING, EFFECT_VIEW, RUNNING_VIEWS, VIEWS
from poplift import feature_store
from poplift.settings import child_environment, load_settings
from tests.integration.conftest import journey, shared, small_home

__all__ = ["journey", "shared", "small_home"]

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
BUSINESS_TIME = "2018-01-02T05:00:00"


@pytest.fixture
def settings(tmp_path, small_home):
    """A home with feature tables of its own and nothing registered; feature_store.yaml lies in it."""
    own = load_settings(home=tmp_path / "var", database_prefix="cli")
    shutil.copytree(small_home.settings.features_dir, own.features_dir)
    feature_store.render(own, own.home / "feature_store.yaml")
    return own


@pytest.fixture
def folders(tmp_path):
    """Two working directories: the checkout and one that has nothing to do with it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    return REPOSITORY, elsewhere


def feast(settings, folder, *arguments, fails=False):
    """Run the command in `folder`; -c names the definitions, -f the settings of this test."""
    where = [
        "-c",
        os.path.relpath(REPOSITORY / "feature_repo", folder),
        "-f",
        str(settings.home / "feature_store.yaml"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "feast.cli.cli", *where, *arguments],
        env=child_environment(settings, FEAST_NO_PROGRESS="1"),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert bool(done.returncode) == fails, said
    return said


def listed(settings, folder):
    """Names in the first column; Feast prints the entities of a view in any order."""
    return sorted(line.split()[0] for line in feast(settings, folder, "feature-views", "list").splitlines()[1:])


def test_the_commands_of_the_how_to_work_from_two_folders_on_one_registry(settings, folders):
    here, there = folders
    planned = feast(settings, here, "plan")
    assert all(view.name in planned for view in (*VIEWS, *RUNNING_VIEWS, EFFECT_VIEW))
    feast(settings, here, "apply")
    assert listed(settings, there) == sorted(
        ["planned_activation", *(v.name for v in (*VIEWS, *RUNNING_VIEWS, EFFECT_VIEW))]
    )
    assert listed(settings, here) == listed(settings, there)
    with sqlite3.connect(settings.home / "registry.db") as registry:
        before = registry.execute("SELECT count(*) FROM feature_views").fetchone()
    feast(settings, there, "apply")
    with sqlite3.connect(settings.home / "registry.db") as registry:
        assert (
            registry.execute("SELECT count(*) FROM feature_views").fetchone()
            == before
            == (len((*VIEWS, *RUNNING_VIEWS, EFFECT_VIEW)),)
        )
    feast(settings, there, "materialize-incremental", BUSINESS_TIME)
    feast(settings, here, "materialize-incremental", BUSINESS_TIME)
    answer = feature_store.online_features(settings, service=DEMAND_SERVING, entities=first_cells(settings))
    assert answer.found.all()


def first_cells(settings):
    import pandas as pd

    from feature_repo.build import table_path

    cells = pd.read_parquet(table_path(settings.features_dir, "outlet_ppg_sales"), columns=["outlet_id", "ppg_id"])
    return cells.drop_duplicates().head(5).to_dict("records")


def test_what_the_command_registers_is_what_the_flow_registers(settings, folders):
    from feature_repo.definitions.repository import objects

    feast(settings, folders[1], "apply")
    store = feature_store.open_store(settings)
    by_command = sorted(o.name for o in (*store.list_feature_services(), *store.list_all_feature_views()))
    feature_store.apply(settings, objects(settings))
    store = feature_store.open_store(settings)
    assert sorted(o.name for o in (*store.list_feature_services(), *store.list_all_feature_views())) == by_command


def test_an_end_after_business_time_is_refused_and_nothing_is_written(settings, folders):
    feast(settings, folders[0], "apply")
    file = settings.home / "online.db"
    before = file.read_bytes() if file.exists() else b""
    said = feast(settings, folders[1], "materialize-incremental", "2018-01-09T05:00:00", fails=True)
    assert "asked to materialise until 2018-01-09T05:00:00, but data is known until 2018-01-02T05:00:00" in said
    assert f"Use: feast -c feature_repo materialize-incremental {BUSINESS_TIME}" in said
    assert (file.read_bytes() if file.exists() else b"") == before


def test_the_command_too_refuses_to_take_a_registered_feature_away(settings, folders):
    from feast import FeatureService, Field
    from feast.types import Float64

    from feature_repo.definitions import repository

    feast(settings, folders[0], "apply")
    store = feature_store.open_store(settings)
    wider = store.get_feature_view("ppg_trend")
    wider.features = [*wider.features, Field(name="price_lag_9", dtype=Float64)]
    wider.projection.features = wider.features  # what a service hands out
    others = [o for o in repository.objects(settings) if o.name not in {"ppg_trend", DEMAND_SERVING}]
    served = [wider, *(o for o in others if o.name in {view.name for view in VIEWS})]
    feature_store.apply(settings, [wider, FeatureService(name=DEMAND_SERVING, features=served), *others])
    for command in ("plan", "apply"):
        said = feast(settings, folders[1], command, fails=True)
        assert f"service {DEMAND_SERVING}: feature ppg_trend.price_lag_9 is gone" in said
        assert "put the change beside them as <view>_v2 and <service>_v2" in said


def test_the_checkouts_own_settings_file_is_left_alone(settings, folders):
    """The tests above name a file of their own: a developer's rendered one is neither read nor written."""
    file = REPOSITORY / "feature_repo" / "feature_store.yaml"
    before = (file.stat().st_mtime_ns, file.read_bytes()) if file.exists() else None
    feast(settings, folders[1], "feature-services", "list")
    assert ((file.stat().st_mtime_ns, file.read_bytes()) if file.exists() else None) == before
