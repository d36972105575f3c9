"""POST /v1/events: lines in, once, judged row by row; ids of shoppers go no further than the door."""

import json
from datetime import timedelta

import pytest

from feature_repo.running import RunningWeek
from poplift.contracts.tables import POS_LINES
from poplift.feature_store import FeatureStoreError
from poplift.lake import Lake
from poplift.pseudonym import pseudonym
from poplift.settings import load_settings
from serving.app import create_app
from serving.event_door import EventDoor
from serving.events import EXAMPLE, PosLine
from tests.live_week import NOW, chain, line, values


class Online:
    """Keeps the newest rows, fails when told to."""

    def __init__(self):
        self.rows, self.failing = {}, False

    def write(self, rows):
        if self.failing:
            raise FeatureStoreError("down")
        self.rows |= values(rows)


@pytest.fixture
def online(monkeypatch):
    """Stands for the online store; everything else is real."""
    store = Online()
    monkeypatch.setattr("feature_repo.running.RunningWriter", lambda settings: store)
    return store


@pytest.fixture
def home(tmp_path):
    settings = load_settings(home=tmp_path / "var", business_time=NOW)
    chain(settings.lake_dir)
    return settings


@pytest.fixture
def client(home, store, limits, serving):
    with serving(create_app(home, reader=store, limits=limits)) as running:
        yield running


def post(client, *lines):
    return client.post("/v1/events", json=list(lines))


def test_lines_are_in_the_lake_and_online_when_the_answer_comes(client, home, online):
    answer = post(client, line("b1"), line("b2", quantity=3))
    assert answer.status_code == 202
    said = answer.json()
    assert {k: said[k] for k in ("state", "accepted", "duplicates", "quarantined")} == {
        "state": "applied",
        "accepted": 2,
        "duplicates": 0,
        "quarantined": [],
    }
    assert online.rows["o1", "cola"]["units_week_to_date"] == 4
    assert online.rows == values(RunningWeek(Lake(home.lake_dir), as_of=NOW).rows())


def test_lines_sent_again_count_once(client, home, online):
    post(client, line("b1"), line("b2"))
    again = post(client, line("b1"), line("b2"), line("b3"), line("b3")).json()
    assert (again["accepted"], again["duplicates"]) == (1, 3)
    assert online.rows["o1", "cola"]["transactions_week_to_date"] == 3


def test_a_line_that_breaks_the_contract_is_named_by_its_place_and_the_others_are_taken(client, online):
    answer = post(client, line("b1"), line("b2", quantity=0), line("b3", week=77), line("b4")).json()
    assert answer["quarantined"] == [
        {"row": 1, "column": "quantity", "rule": "range"},
        {"row": 2, "column": "week", "rule": "unknown"},
    ]
    assert answer["accepted"] == 2


def test_a_line_of_the_future_is_quarantined_as_future(client, online):
    answer = post(client, line("b1", sold_at=(NOW + timedelta(minutes=6)).isoformat())).json()
    assert answer["quarantined"] == [{"row": 0, "column": "sold_at", "rule": "future"}]


def test_the_id_of_a_shopper_is_kept_nowhere(client, home, online):
    post(client, line("b1", shopper_id="card-4711"))
    post(client, line("b2", shopper_id="card-4711", quantity=0))
    key = home.shopper_key.get_secret_value()
    lake = Lake(home.lake_dir)
    rows = lake.connection.sql(f"SELECT shopper_id FROM ({lake.query('pos_lines', as_of=NOW)}) WHERE basket_id = 'b1'")
    assert rows.fetchall() == [(pseudonym("card-4711", key=key),)]
    kept = b"".join(path.read_bytes() for path in home.home.rglob("*") if path.is_file())
    assert b"card-4711" not in kept


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"quantity": "2"}, "body.0.quantity"),
        ({"quantity": 2.5}, "body.0.quantity"),
        ({"quantity": True}, "body.0.quantity"),
        ({"basket_id": 7}, "body.0.basket_id"),
        ({"basket_id": ""}, "body.0.basket_id"),
        ({"basket_id": "x" * 201}, "body.0.basket_id"),
        ({"sold_at": "2017-01-10T12:00:00"}, "body.0.sold_at"),
        ({"sold_at": 1484049600}, "body.0.sold_at"),
        ({"week": ...}, "body.0.week"),
        ({"created_at": "2017-01-10T12:00:00Z"}, "body.0.created_at"),
        ({"loyalty_name": "J. Doe"}, "body.0.loyalty_name"),
    ],
)
def test_a_line_of_another_shape_is_a_422_with_its_place_and_nothing_is_taken(client, home, online, change, where):
    answer = post(client, line("b1", **change))
    assert answer.status_code == 422
    assert [e["where"] for e in answer.json()["errors"]] == [where]
    assert "J. Doe" not in answer.text
    assert len(Lake(home.lake_dir).parts("pos_lines")) == 1


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e400"])
def test_a_number_that_is_none_is_a_422(client, online, value):
    body = json.dumps([line("b1")]).replace('"sales_value": 1.5', f'"sales_value": {value}')
    answer = client.post("/v1/events", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("body", ["[]", "{}", "nothing", '[{"basket_id": "\\ud800"}]', json.dumps([1] * 1001)])
def test_a_body_that_is_no_list_of_1_to_1000_lines_is_a_422(client, online, body):
    answer = client.post("/v1/events", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422


def test_ten_megabytes_are_refused_unread(client, online):
    answer = client.post("/v1/events", content=b"[" + b" " * 10_000_000 + b"]")
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_online_store_that_is_down_is_a_503_and_sending_again_mends_it(client, home, online):
    post(client, line("b0"))
    online.failing = True
    answer = post(client, line("b1"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    online.failing = False
    again = post(client, line("b1")).json()
    assert (again["accepted"], again["duplicates"]) == (0, 1)
    assert online.rows["o1", "cola"]["transactions_week_to_date"] == 2


def test_an_empty_lake_is_a_503_that_does_not_tell_where_it_lies(tmp_path, store, limits, serving, online):
    settings = load_settings(home=tmp_path / "empty", business_time=NOW)
    with serving(create_app(settings, reader=store, limits=limits)) as client:
        answer = post(client, line())
    assert answer.status_code == 503
    assert str(tmp_path) not in answer.text


def test_two_processes_of_one_home_see_each_others_lines(home, online):
    doors = [EventDoor(home) for _ in range(2)]
    for n in range(4):
        doors[n % 2].receive([line(f"b{n}")])
    assert online.rows["o1", "cola"]["transactions_week_to_date"] == 4


def test_the_lines_of_one_request_follow_each_other_where_time_runs(home, online):
    running = home.model_copy(update={"business_clock": "wall"})
    assert EventDoor(running).receive([line(), line(quantity=7)]).accepted == 2
    lake = Lake(home.lake_dir)
    query = lake.query("pos_lines", as_of=running.now())
    rows = lake.connection.sql(f"SELECT quantity FROM ({query}) WHERE basket_id = 'b1'").fetchall()
    assert rows == [(7,)]


@pytest.mark.services
def test_where_there_is_a_redis_lines_are_queued_with_pseudonyms_only(tmp_path, own_redis, store, limits, serving):
    from poplift.stream import RedisStream

    settings = load_settings(home=tmp_path / "var", redis_url=own_redis, business_time=NOW)
    with serving(create_app(settings, reader=store, limits=limits)) as client:
        said = post(client, line("b1", shopper_id="card-4711"), line("b2", quantity=0)).json()
    assert (said["state"], said["accepted"], said["duplicates"], said["quarantined"]) == ("queued", 2, None, None)
    stream = RedisStream(own_redis, name=settings.database_prefix)
    assert stream.acquire()
    first, _ = stream.take(most=9, wait=timedelta(seconds=1))
    key = settings.shopper_key.get_secret_value()
    assert json.loads(first.payload) == line("b1", shopper_id=pseudonym("card-4711", key=key)) | {
        "sold_at": json.loads(first.payload)["sold_at"]
    }
    assert b"card-4711" not in first.payload


@pytest.mark.services
def test_a_redis_that_is_gone_is_a_503_within_seconds(tmp_path, free_port, store, limits, serving):
    settings = load_settings(home=tmp_path / "var", redis_url=f"127.0.0.1:{free_port}", business_time=NOW)
    with serving(create_app(settings, reader=store, limits=limits)) as client:
        answer = post(client, line())
    assert answer.status_code == 503
    assert "127.0.0.1" not in answer.text


def test_the_schema_is_that_of_the_contract():
    fields = PosLine.model_fields
    assert list(fields) == [c for c in POS_LINES.column_names if c != "created_at"]
    for name, field in fields.items():
        column = POS_LINES.column(name)
        assert field.is_required() == (not column.nullable), name
        if name != "shopper_id":
            assert field.description.startswith(column.description)
    PosLine.model_validate(EXAMPLE)


def test_the_page_of_the_api_shows_the_route_and_its_errors(client):
    route = client.get("/openapi.json").json()["paths"]["/v1/events"]["post"]
    assert set(route["responses"]) == {"202", "400", "401", "403", "408", "409", "413", "422", "429", "503"}
