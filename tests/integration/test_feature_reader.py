"""The reader of the online store takes the quick way as soon as there is one, whatever happened before."""

import pytest

from feature_repo.online.reader import PlanReader
from poplift.settings import Settings
from serving.online import FeastReader
from tests.served_home import KNOWN


@pytest.fixture
def home(small_home, tmp_path):
    """Settings of a home that lacks its read plans, and how to put them there."""
    settings = Settings(**(small_home.settings.model_dump(exclude_unset=True) | {"home": tmp_path / "var"}))
    settings.home.mkdir()
    (settings.home / "online.db").symlink_to(small_home.settings.home / "online.db")
    return settings, lambda name: (settings.home / name).symlink_to(small_home.settings.home / name)


def test_a_reader_that_could_not_be_opened_is_opened_once_there_is_a_plan(home):
    settings, put = home
    reader = FeastReader(settings)
    with pytest.raises(Exception, match="poplift features"):
        reader.read([KNOWN])
    put("read-plans")
    assert reader.read([KNOWN]).values["base_price_13w"] > 0


def test_a_reader_that_went_through_the_registry_leaves_it_once_there_is_a_plan(home):
    settings, put = home
    put("registry.db")
    reader = FeastReader(settings)
    slow = reader.read([KNOWN])
    assert not isinstance(reader._store, PlanReader)
    put("read-plans")
    quick = reader.read([KNOWN])
    assert isinstance(reader._store, PlanReader)
    assert slow.values["base_price_13w"] == quick.values["base_price_13w"]
