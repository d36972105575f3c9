"""Whichever store holds the features: the same answer to what nobody knows, and the same flags as they age."""

from datetime import timedelta

import pytest

from feature_repo.catalog import VIEWS
from serving.app import create_app
from tests.served_home import KNOWN, served_home
from tests.unit.serving.conftest import serve, train

pytestmark = pytest.mark.services

OUTLET = f"/v1/recommendations/{KNOWN['outlet_id']}"


@pytest.fixture(scope="module")
def homes(small_home, redis_home, tmp_path_factory):
    """Settings by store, each with the same release."""
    model = train(tmp_path_factory.mktemp("model") / "demand")
    online = {"sqlite": small_home.settings, "redis": redis_home.settings}
    return {
        name: served_home(settings, tmp_path_factory.mktemp(name) / "var", model) for name, settings in online.items()
    }


def asked(homes, *questions, later=timedelta()):
    """By store, status and body of each question that long after the features were made."""
    found = {}
    for name, settings in homes.items():
        moved = settings.model_copy(update={"business_time": settings.business_time + later})
        with serve(create_app(moved)) as client:
            answers = [client.get(q) if isinstance(q, str) else client.post("/v1/demand", json=q) for q in questions]
        found[name] = [(answer.status_code, answer.json()) for answer in answers]
    return found


def test_what_nobody_knows_is_the_same_404_on_every_store(homes):
    demand = {"rows": [KNOWN, KNOWN | {"outlet_id": "nowhere"}, KNOWN | {"ppg_id": "nothing"}]}
    found = asked(homes, "/v1/recommendations/nowhere", demand, {"rows": [{"outlet_id": "x", "ppg_id": "y"}]})
    for answers in found.values():
        assert [status for status, _ in answers] == [404, 404, 404]
        for _, body in answers:
            del body["request_id"]
    assert found["sqlite"] == found["redis"]
    assert [error["where"] for error in found["redis"][1][1]["errors"]] == ["row 1", "row 2"]


@pytest.mark.parametrize(
    ("later", "flag"),
    [(timedelta(), None), (timedelta(days=8), "stale"), (timedelta(days=22), "expired")],
    ids=["fresh", "past the soft age", "past the hard age"],
)
def test_features_that_age_are_flagged_then_replaced_on_every_store(homes, later, flag):
    found = asked(homes, OUTLET, {"rows": [KNOWN]}, later=later)
    said = {}
    for name, [(_, recommended), (_, demand)] in found.items():
        (item,), (row,) = recommended["recommendations"], demand["rows"]
        assert item["flags"] == row["flags"] == ([f"{flag}:{view.name}" for view in VIEWS] if flag else [])
        assert item["degraded"] == row["degraded"] == (flag == "expired")
        said[name] = (item["recommended"]["activation_name"], row["transactions"])
    assert said["sqlite"] == said["redis"]
    assert flag != "expired" or said["redis"][0] == "none"
