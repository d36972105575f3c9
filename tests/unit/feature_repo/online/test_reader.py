"""A plan is plain data, and what it reads is judged by age: withheld values say why."""

import subprocess
import sys

import numpy as np
import pytest
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.online.decoding import Status
from feature_repo.online.layout import EntityKeyLayout
from feature_repo.online.plan import PlanError, PlannedFeature, PlannedView, ReadPlan
from feature_repo.online.reader import EntityError, PlanReader, RawView, Stored

NOW, DAY = 1_514_869_200_000_000, 86_400_000_000
SKEW = 300_000_000
OUTLET, WEEK = EntityKeyLayout.of({"outlet_id": "string"}), EntityKeyLayout.of({"week": "int64"})


def view(name, keys=OUTLET, ttl_us=DAY, features=(("rate", "DOUBLE"), ("label", "STRING"))):
    return PlannedView(name, name, keys, ttl_us, tuple(PlannedFeature(f, f"{name}_{f}", t) for f, t in features))


PLAN = ReadPlan("shop", (view("sales"), view("calendar", WEEK, None, (("weekday", "INT64"),)), view("trend")))


class InMemory:
    """Stored values by view and entity key: event time and a cell per feature."""

    def __init__(self, rows):
        self.rows = rows
        self.asked = []

    def fetch(self, plan, keys, *, unless=None):
        self.asked.append(keys)
        of = {p: group for lookup, group in zip(plan.lookups, keys, strict=True) for p in lookup.views}
        found = []
        for place, planned in enumerate(plan.views):
            rows = [self.rows.get((planned.name, key), (0, [None] * len(planned.features))) for key in of[place]]
            columns = list(zip(*(cells for _, cells in rows), strict=True)) or [()] * len(planned.features)
            found.append(RawView(columns, np.array([event for event, _ in rows], dtype=np.int64)))
        return Stored(found)


def key(outlet):
    return OUTLET.encode({"outlet_id": [outlet]})[0]


def cell(**value):
    return Value(**value).SerializeToString()


def rows_of(event, *, rate=2.5, label="a"):
    return event, [cell(double_val=rate), cell(string_val=label)]


def reader(rows, plan=PLAN):
    stored = InMemory(rows)
    return PlanReader(lambda: plan, stored, present_us=lambda: NOW, skew_us=SKEW), stored


def read(event, **row):
    got = reader({("sales", key("1")): rows_of(event, **row)})[0].read([{"outlet_id": "1", "week": 3}])
    return got, got.values["sales_rate"].tolist(), got.statuses["sales_rate"].tolist()


@pytest.mark.parametrize("event", [NOW, NOW - DAY, NOW + SKEW])
def test_a_row_is_served_to_the_microsecond_of_its_limits(event):
    got, values, status = read(event)
    assert (values, status) == ([2.5], [Status.PRESENT])
    assert got.event_timestamps["sales"].tolist() == [np.datetime64(event, "us").item()]


@pytest.mark.parametrize("event", [NOW - DAY - 1, NOW + SKEW + 1])
def test_a_row_beyond_its_limits_keeps_its_time_and_loses_its_values(event):
    got, values, status = read(event)
    assert np.isnan(values).all()
    assert (status, got.values["sales_label"].tolist()) == ([Status.OUTSIDE_MAX_AGE], [None])
    assert got.event_timestamps["sales"].tolist() == [np.datetime64(event, "us").item()]


def test_a_view_without_age_limit_serves_any_past():
    rows = {("calendar", WEEK.encode({"week": [3]})[0]): (1, [cell(int64_val=4)])}
    got = reader(rows)[0].read([{"outlet_id": "1", "week": 3}])
    assert got.values["calendar_weekday"].tolist() == [4.0]


def test_an_unknown_entity_a_missing_feature_and_a_null_have_statuses_of_their_own():
    rows = {("sales", key("1")): (NOW, [None, b""]), ("trend", key("1")): rows_of(NOW)}
    got = reader(rows)[0].read([{"outlet_id": "1", "week": 3}, {"outlet_id": "2", "week": 3}])
    assert got.statuses["sales_rate"].tolist() == [Status.NOT_FOUND, Status.NOT_FOUND]
    assert got.statuses["sales_label"].tolist() == [Status.NULL_VALUE, Status.NOT_FOUND]
    assert got.statuses["trend_rate"].tolist() == [Status.PRESENT, Status.NOT_FOUND]
    assert np.isnat(got.event_timestamps["trend"]).tolist() == [False, True]
    assert got.found.tolist() == [False, False]


def test_one_column_with_something_else_in_it_does_not_change_the_type_of_the_others():
    counts = ReadPlan("shop", (view("sales", features=(("big", "INT64"), ("small", "INT64"), ("none", "INT64"))),))
    rows = {("sales", key("1")): (NOW, [cell(int64_val=2**60), cell(int64_val=7), None])}
    got = reader(rows, counts)[0].read([{"outlet_id": "1"}])
    assert got.values["sales_big"].tolist() == [2**60]
    assert (got.values["sales_small"].dtype, got.values["sales_small"].tolist()) == (np.float64, [7.0])
    assert np.isnan(got.values["sales_none"]).all()
    assert [int(got.statuses[f"sales_{name}"][0]) for name in ("big", "small", "none")] == [1, 1, 3]


def test_an_entity_is_fetched_once_however_often_it_is_asked_for():
    rows = {("sales", key(o)): rows_of(NOW, rate=float(o)) for o in "123"}
    made, stored = reader(rows)
    got = made.read([{"outlet_id": o, "week": 1} for o in "31312"])
    assert got.values["sales_rate"].tolist() == [3.0, 1.0, 3.0, 1.0, 2.0]
    assert [len(group) for group in stored.asked[0]] == [3, 1]


def test_no_rows_are_answered_by_no_rows():
    got = reader({})[0].read([])
    assert got.values["sales_rate"].shape == got.statuses["calendar_weekday"].shape == (0,)
    assert got.found.shape == (0,)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"outlet_id": 7, "week": 3}, r"row 1: join key outlet_id is 7 \(int\), sales, trend want string"),
        ({"outlet_id": None, "week": 3}, r"outlet_id is None \(NoneType\)"),
        ({"outlet_id": "1"}, r"join key week is None"),
        ({"outlet_id": "1", "week": "3"}, r"join key week is '3' \(str\), calendar want int64"),
        ({"outlet_id": "1", "week": True}, r"week is True \(bool\)"),
    ],
)
def test_a_key_of_another_type_is_refused_with_row_key_and_views(row, said):
    with pytest.raises(EntityError, match=said):
        reader({})[0].read([{"outlet_id": "1", "week": 3}, row])


def test_a_plan_survives_being_written_down():
    again = ReadPlan.from_json(PLAN.to_json())
    assert again == PLAN
    assert again.to_json() == PLAN.to_json()


@pytest.mark.parametrize("text", ["", "[]", '{"project": "shop"}', '{"project": "shop", "views": [{"name": 1}]}'])
def test_what_is_not_a_plan_is_refused(text):
    with pytest.raises(PlanError, match="this is not a read plan"):
        ReadPlan.from_json(text)


def test_views_of_the_same_join_keys_are_looked_up_together():
    outlets, weeks = PLAN.lookups
    assert (outlets.views, weeks.views) == ((0, 2), (1,))
    assert len(outlets.fields) == 2 * (2 + 1)
    assert PLAN.join_keys == {"outlet_id": "string", "week": "int64"}


def test_reading_a_plan_imports_neither_feast_nor_pandas():
    program = (
        "import sys, feature_repo.online.reader, feature_repo.online.reading_redis, feature_repo.online.reading_sqlite\n"
        "sys.exit(', '.join({'feast', 'pandas', 'pyarrow'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
