"""Age of the newest event against the soft and the hard limit."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from feature_repo.catalog import VIEWS
from monitoring.freshness import freshness

AS_OF = datetime(2018, 1, 2, 5, tzinfo=UTC)


@dataclass(frozen=True)
class View:
    name: str = "outlet_trend"
    soft_age: timedelta = timedelta(days=8)
    ttl: timedelta = timedelta(days=21)


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (timedelta(0), "ok"),
        (timedelta(days=8), "ok"),
        (timedelta(days=8, microseconds=1), "soft"),
        (timedelta(days=21), "soft"),
        (timedelta(days=21, microseconds=1), "hard"),
        (timedelta(microseconds=-1), "future"),
    ],
)
def test_a_limit_belongs_to_the_better_state(age, state):
    (row,) = freshness([View()], newest={"outlet_trend": AS_OF - age}, store="online", as_of=AS_OF)
    assert (row.state, row.age) == (state, age)


@pytest.mark.parametrize("newest", [{}, {"outlet_trend": None}])
def test_a_view_without_values_is_empty(newest):
    (row,) = freshness([View()], newest=newest, store="offline", as_of=AS_OF)
    assert (row.state, row.age, row.newest) == ("empty", None, None)


def test_every_view_of_the_catalog_gets_a_row_with_its_own_limits():
    rows = freshness(VIEWS, newest={view.name: AS_OF for view in VIEWS}, store="offline", as_of=AS_OF)
    assert [(r.view, r.soft_age, r.hard_age, r.state) for r in rows] == [
        (view.name, view.soft_age, view.ttl, "ok") for view in VIEWS
    ]


def test_a_time_without_a_zone_is_refused_with_the_view_named():
    with pytest.raises(ValueError, match=r"outlet_trend .* has no time zone"):
        freshness([View()], newest={"outlet_trend": datetime(2018, 1, 1)}, store="online", as_of=AS_OF)  # noqa: DTZ001
