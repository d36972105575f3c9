"""Online reads by plan answer as Feast's own where it is right, and the same on every store where it is not.

Every difference to Feast is a test whose name begins with `test_unlike_feast`.
"""

import asyncio
from datetime import timedelta

import numpy as np
import pytest
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.online.decoding import Status
from feature_repo.online.reader import EntityError
from tests.parity.online_pair import FRESH, NOW, TTL, TYPES, asked, key_of, rows, values, write_known


@pytest.mark.parametrize("writer", ["poplift", "feast"])
@pytest.mark.parametrize("full_feature_names", [False, True])
def test_values_statuses_and_times_of_known_fresh_entities_equal_those_of_feast(pair, writer, full_feature_names):
    write_known(pair, by=pair.feast if writer == "feast" else None)
    ours, feast = pair.read(asked(pair), full_feature_names=full_feature_names)
    assert ours.proto == feast.proto
    assert ours.to_dict(include_event_timestamps=True) == feast.to_dict(include_event_timestamps=True)
    assert ours.to_df().equals(feast.to_df())


def test_the_reader_gives_in_columns_what_feast_gives_in_messages(pair):
    write_known(pair)
    got, feast = pair.reader().read(asked(pair)), pair.read(asked(pair))[1].to_dict(include_event_timestamps=True)
    for name in got.values:
        assert got.values[name].tolist() == feast[name], name
        assert set(got.statuses[name]) == {Status.PRESENT}
    for view, feature in (("sales", "rate"), ("trend", "baskets"), ("calendar", "holiday")):
        seconds = got.event_timestamps[view].astype("datetime64[s]").astype(int).tolist()
        assert seconds == feast[f"{feature}__ts"]
    assert got.values["rate"].dtype == got.values["lines"].dtype == np.float64
    assert got.found.all()


def test_features_named_one_by_one_are_read_as_feast_reads_them(pair):
    write_known(pair)
    names = ["trend:region", "sales:label", "sales:rate"]
    ours, feast = (s.get_online_features(names, asked(pair)).proto for s in (pair.ours, pair.feast))
    assert ours == feast


def test_columns_of_entities_are_read_as_rows_are(pair):
    write_known(pair)
    by_row = asked(pair)
    columns = {name: [row[name] for row in by_row] for name in by_row[0]}
    by_rows, by_columns = (pair.read(entities)[0].proto for entities in (by_row, columns))
    assert by_rows == by_columns


def test_the_read_that_does_not_block_the_loop_answers_the_same(pair):
    write_known(pair)
    service = pair.ours.get_feature_service("all")
    waited = asyncio.run(pair.ours.get_online_features_async(service, asked(pair)))
    assert waited.proto == pair.read(asked(pair))[0].proto


def test_what_a_plan_cannot_read_is_read_in_feasts_own_way(pair):
    write_known(pair)
    mapped = [{"next_outlet_id": pair.outlet(letter)} for letter in "ab"]
    ours, feast = (r.to_dict(include_event_timestamps=True) for r in pair.read(mapped, service="mapped"))
    assert ours == feast
    assert ours["region"] == ["region 0", "region 1"]


def test_missing_rows_of_entities_are_feasts_own_error(pair):
    for entities, error in (([{"ppg_id": "x"}], KeyError), ([], IndexError)):
        for store in (pair.ours, pair.feast):
            with pytest.raises(error):
                store.get_online_features(["trend:region"], entities)


def status_of(pair, outlet, ppg="x"):
    """Statuses by feature of one entity, which the reader and both ways through Feast must agree on."""
    (row,) = rows(pair, (outlet, ppg))
    ours, _ = pair.read([row])
    names, results = ours.proto.metadata.feature_names.val, ours.proto.results
    answered = {name: result.statuses[0] for name, result in zip(names, results, strict=True)}
    for name, result in zip(names, results, strict=True):
        assert (result.values[0].WhichOneof("val") is not None) == (result.statuses[0] == Status.PRESENT), name
    columns = pair.reader().read([row])
    assert {name: int(s[0]) for name, s in columns.statuses.items()} == {n: answered[n] for n in columns.statuses}
    mapped = pair.ours.get_online_features(
        pair.ours.get_feature_service("mapped"), [{"next_outlet_id": pair.outlet(outlet)}]
    ).proto
    by_map = dict(zip(mapped.metadata.feature_names.val, (r.statuses[0] for r in mapped.results), strict=True))
    assert by_map["region"] == answered["region"]
    return answered


def test_unlike_feast_an_unknown_entity_is_not_found_on_every_store(pair):
    write_known(pair)
    status = status_of(pair, "nobody")
    assert {status[name] for name in (*TYPES, "baskets", "region", "visits")} == {Status.NOT_FOUND}
    assert status["holiday"] == Status.PRESENT
    plain = pair.read(rows(pair, "ax", ("nobody", "x")))[1].proto
    region = plain.results[list(plain.metadata.feature_names.val).index("region")]
    on_redis = isinstance(pair.ours.provider.online_store, RedisOnlineStore)
    assert region.statuses[1] == (Status.PRESENT if on_redis else Status.NOT_FOUND)


def test_unlike_feast_a_null_is_a_null_value_and_a_feature_never_written_is_not_found(pair):
    write_known(pair)
    pair.write(
        "sales", (key_of(pair, "a", "x"), values(rate=Value(), label=Value(), weeks=None), FRESH + timedelta(hours=1))
    )
    pair.write("sales", (key_of(pair, "d", "x"), values(rate=Value(), weeks=None), FRESH))
    assert status_of(pair, "a")["rate"] == status_of(pair, "a")["label"] == Status.NULL_VALUE
    assert (status_of(pair, "d")["weeks"], status_of(pair, "d")["lines"]) == (Status.NOT_FOUND, Status.PRESENT)
    assert pair.read(rows(pair, "ax"))[0].to_dict()["rate"] == [None]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (NOW - TTL, Status.PRESENT),
        (NOW - TTL - timedelta(seconds=1), Status.OUTSIDE_MAX_AGE),
        (NOW + timedelta(seconds=300), Status.PRESENT),
        (NOW + timedelta(seconds=301), Status.OUTSIDE_MAX_AGE),
    ],
    ids=["oldest", "too old", "latest", "from the future"],
)
def test_unlike_feast_what_is_older_than_the_age_limit_or_from_the_future_is_withheld(pair, event, expected):
    write_known(pair)
    # Plain Feast, because the guarded write refuses the future.
    region = {"region": Value(string_val="north"), "baskets": Value(double_val=1.0)}
    pair.write("trend", (key_of(pair, "z"), region, event), by=pair.feast)
    status = status_of(pair, "z")
    assert status["region"] == status["baskets"] == expected
    ours, feast = (r.to_dict(include_event_timestamps=True) for r in pair.read(rows(pair, "zx")))
    assert feast["region"] == ["north"]
    assert ours["region"] == (["north"] if expected == Status.PRESENT else [None])
    assert ours["region__ts"] == [int(event.timestamp())]


def test_times_are_exact_to_the_microsecond_on_every_store(pair):
    event = FRESH + timedelta(microseconds=123_457)
    pair.write("trend", (key_of(pair, "a"), {"baskets": Value(double_val=1.0), "region": Value(string_val="r")}, event))
    got = pair.reader("all").read(rows(pair, "ax"))
    assert got.event_timestamps["trend"].tolist() == [event.replace(tzinfo=None)]


def test_a_key_of_another_type_is_refused_by_the_reader_with_row_and_key(pair):
    with pytest.raises(EntityError, match=r"row 0: join key week_number is '54' \(str\), calendar want int64"):
        pair.reader().read([{"outlet_id": "a", "ppg_id": "x", "week_number": "54"}])
