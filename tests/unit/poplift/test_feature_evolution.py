"""A service hands out tomorrow what it hands out today; everything else may change."""

import dataclasses
from datetime import timedelta

import pytest

from poplift.feature_evolution import Promise, Service, breaking_changes

DAY = timedelta(days=1)
TREND = Promise(
    view="outlet_trend",
    entities=frozenset({"outlet"}),
    ttl=21 * DAY,
    features={"baskets_4w": "Float64", "baskets_13w": "Float64"},
)
PLAN = Promise(
    view="plan", entities=frozenset(), ttl=None, features={"depth": "Float64"}, request={"planned_price": "Float64"}
)
SERVICE = Service("demand_v1", (TREND, PLAN))


def changes(new, old=SERVICE):
    return breaking_changes({old.name: old}, {s.name: s for s in new})


def with_trend(**changed):
    return [dataclasses.replace(SERVICE, promises=(dataclasses.replace(TREND, **changed), PLAN))]


def with_plan(**changed):
    return [dataclasses.replace(SERVICE, promises=(TREND, dataclasses.replace(PLAN, **changed)))]


@pytest.mark.parametrize(
    "new",
    [
        [SERVICE],
        [SERVICE, Service("demand_v2", ())],
        with_trend(features={**TREND.features, "baskets_26w": "Float64"}),
        with_trend(ttl=30 * DAY),
        with_trend(ttl=timedelta(0)),  # no limit
        [dataclasses.replace(SERVICE, promises=(PLAN, TREND, dataclasses.replace(TREND, view="other")))],
        [dataclasses.replace(SERVICE, retired="nobody reads it since May")],
        with_plan(request={}),
    ],
    ids=["same", "new service", "new feature", "longer", "unlimited", "new view", "announced", "field not needed"],
)
def test_what_takes_nothing_away_is_free(new):
    assert changes(new) == ()


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ([], "service demand_v1 is gone, and its readers were not told: register it as retired first"),
        ([Service("demand_v1", (PLAN,))], "service demand_v1: view outlet_trend is gone"),
        (with_trend(features={"baskets_4w": "Float64"}), "service demand_v1: feature outlet_trend.baskets_13w is gone"),
        (
            with_trend(features={**TREND.features, "baskets_4w": "Int64"}),
            "service demand_v1: feature outlet_trend.baskets_4w was Float64 and is Int64",
        ),
        (
            with_trend(entities=frozenset({"ppg", "outlet"})),
            "service demand_v1: view outlet_trend: the entities were outlet and are outlet, ppg",
        ),
        (
            with_trend(ttl=7 * DAY),
            "service demand_v1: view outlet_trend: the age limit was 21 days, 0:00:00 and is 7 days, 0:00:00",
        ),
        (
            with_plan(request={**PLAN.request, "planned_place": "String"}),
            "service demand_v1: view plan: request field planned_place is new, and no caller sends it",
        ),
        (
            with_plan(request={"planned_price": "Int64"}),
            "service demand_v1: view plan: request field planned_price was Float64 and is Int64",
        ),
    ],
    ids=[
        "dropped",
        "without a view",
        "renamed or dropped",
        "retyped",
        "re-grained",
        "shorter",
        "asks more",
        "asks else",
    ],
)
def test_what_takes_something_away_is_named(new, said):
    assert changes(new) == (said,)


def test_a_service_whose_readers_were_told_may_go():
    assert changes([], dataclasses.replace(SERVICE, retired="nobody reads it since May")) == ()


def test_what_no_service_hands_out_may_change_at_will():
    private = dataclasses.replace(TREND, features={})
    assert changes(with_trend(features={}), dataclasses.replace(SERVICE, promises=(private, PLAN))) == ()
