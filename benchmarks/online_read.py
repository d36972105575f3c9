"""Online reads of 30 features in three views: Feast's own store, ours through Feast, our reader, and bare HMGETs."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float64, Int64, String
from measure import Result, awake_processors
from redis_server import redis_server

GOALS = {1: 4, 100: 10, 1000: 12}
CALLS = {1: 60, 100: 6, 1000: 2}
MOST_FOR_FIVE_VIEWS = 1.2
ENTITIES, DRAWS = 2000, 2000
NOW = datetime(2018, 1, 2, 5, tzinfo=UTC)
TYPES = (*[Float64] * 20, *[Int64] * 6, *[String] * 4)
FEAST, THROUGH_FEAST, READER, BARE = "Feast", "ours through Feast", "our reader", "bare pipelined HMGET"
Arms = Mapping[str, Callable[[], Any]]


def main(blocks: int) -> None:
    """Compare the answers, then measure both stores in interleaved blocks, processors awake, and keep the result."""
    rows: list[tuple[str, ...]] = []
    met = True
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as folder, redis_server(Path(folder)) as address:
        for name, online in {"Redis": {"connection_string": address}, "SQLite": {}}.items():
            stores = {count: Store(Path(folder), name.lower(), online, views=count) for count in (1, 3, 5)}
            rows += lines(f"{name}, 1, asleep", interleaved(stores[3].arms(1), blocks=blocks, calls=CALLS[1]))
            for entities, goal in GOALS.items():
                with awake_processors():
                    samples = interleaved(stores[3].arms(entities), blocks=blocks, calls=CALLS[entities])
                rows += lines(f"{name}, {entities}", samples)
                met &= name != "Redis" or times_faster(samples[FEAST], samples[READER])[0] >= goal
            of_views = {f"{count} views": stores[count].arms(100)[READER] for count in (1, 5)}
            with awake_processors():
                samples = interleaved(of_views, blocks=blocks, calls=5 * CALLS[100])
            low, middle, high = times_faster(samples["5 views"], samples["1 views"])
            rows.append((f"{name}, 100", "cost of 5 views over 1", "", "", f"{middle:.2f}", f"{low:.2f}–{high:.2f}"))
            met &= name != "Redis" or high <= MOST_FOR_FIVE_VIEWS
    Result(
        name="online_read",
        goal="our reader on Redis at least 4, 10 and 12 times Feast for 1, 100 and 1000 entities, by the lower end of "
        "the 95 % interval, on processors that are awake (one asleep adds its waking to every arm); five views cost at "
        f"most {MOST_FOR_FIVE_VIEWS} times one view with the same features",
        met=met,
        columns=("store, entities", "what", "p50 ms", "p99 ms", "times Feast", "95 % interval"),
        rows=tuple(rows),
    ).save()


class Store:
    """One filled online store, seen by Feast's class and by ours; the thirty features are spread over the views."""

    def __init__(self, folder: Path, kind: str, online: dict[str, Any], *, views: int) -> None:
        project = f"bench_{kind}_{views}"
        online = online or {"path": str(folder / f"{project}.db")}
        ours = f"feature_repo.online.{kind}.Guarded{kind.title()}OnlineStore"
        self._ours = opened(folder, project, online | {"type": ours, "business_time": NOW.isoformat()})
        self._feast = opened(folder, project, online | {"type": kind})
        outlet = Entity(name="outlet", join_keys=["outlet_id"], value_type=ValueType.STRING)
        every = list(definitions(outlet, views, folder))
        self._ours.apply([outlet, *every, FeatureService(name="all", features=every)])
        self._feast.refresh_registry()
        for view in every:
            self._ours.provider.online_store.online_write_batch(self._ours.config, view, list(filling(view)), None)
        registry = self._ours.registry
        self._reader = self._ours.provider.online_store.reader(
            self._ours.config, registry, project=project, service="all"
        )

    def arms(self, entities: int) -> Arms:
        """What is measured, after every answer was found to be that of Feast."""
        asked = drawn(entities)
        service = self._feast.get_feature_service("all")
        self._compare(service, asked)
        arms: dict[str, Callable[[], Any]] = {
            FEAST: lambda: self._feast.get_online_features(service, asked).to_dict(),
            THROUGH_FEAST: lambda: self._ours.get_online_features(service, asked).to_dict(),
            READER: lambda: self._reader.read(asked),
        }
        client = getattr(self._feast.provider.online_store, "_client", None)
        if client is not None:
            arms[BARE] = bare(client, self._reader._plan(), asked)  # noqa: SLF001
        return arms

    def _compare(self, service: FeatureService, asked: Sequence[dict[str, str]]) -> None:
        feast, ours = (s.get_online_features(service, asked) for s in (self._feast, self._ours))
        if feast.proto != ours.proto:
            raise AssertionError("values, statuses or event times through Feast differ")
        expected, got = feast.to_dict(include_event_timestamps=True), self._reader.read(asked)
        for view in service.feature_view_projections:
            seconds = got.event_timestamps[view.name].astype("datetime64[s]").astype(int).tolist()
            for feature in view.features:
                same = got.values[feature.name].tolist() == expected[feature.name]
                if (
                    not same
                    or seconds != expected[f"{feature.name}__ts"]
                    or not (got.statuses[feature.name] == 1).all()
                ):
                    raise AssertionError(f"the reader's {feature.name} differs from Feast's")


def opened(folder: Path, project: str, online: dict[str, Any]) -> FeatureStore:
    """A store whose registry is read once."""
    return FeatureStore(
        config=RepoConfig(
            project=project,
            provider="local",
            registry={
                "registry_type": "sql",
                "path": f"sqlite:///{folder}/{project}_registry.db",
                "cache_ttl_seconds": 3600,
                "serve_features_while_materializing": True,
            },
            online_store=online,
            offline_store={"type": "duckdb"},
            entity_key_serialization_version=3,
        )
    )


def definitions(outlet: Entity, count: int, folder: Path) -> Iterator[FeatureView]:
    """Thirty features spread over `count` views of one entity."""
    for number in range(count):
        fields = [Field(name=f"f{i}", dtype=t) for i, t in enumerate(TYPES) if i % count == number]
        yield FeatureView(
            name=f"view_{number}_of_{count}",
            entities=[outlet],
            ttl=timedelta(days=21),
            schema=[Field(name="outlet_id", dtype=String), *fields],
            source=FileSource(name=f"t{number}_{count}", path=str(folder / "none.parquet"), timestamp_field="ts"),
        )


def filling(view: FeatureView) -> Iterator[tuple[EntityKey, dict[str, Value], datetime, None]]:
    """A row per entity: every value present, every event time its own."""
    draw = np.random.default_rng(len(view.features))
    for outlet in range(ENTITIES):
        values = {}
        for field in view.features:
            if field.dtype == Float64:
                values[field.name] = Value(double_val=draw.normal())
            elif field.dtype == Int64:
                values[field.name] = Value(int64_val=int(draw.integers(0, 1_000_000)))
            else:
                values[field.name] = Value(string_val=f"category {draw.integers(100)}")
        key = EntityKey(join_keys=["outlet_id"], entity_values=[Value(string_val=f"outlet-{outlet}")])
        yield key, values, NOW - timedelta(seconds=int(draw.integers(86_400, 10 * 86_400))), None


def drawn(entities: int) -> list[dict[str, str]]:
    """That many different entities."""
    draw = np.random.default_rng(entities)
    return [{"outlet_id": f"outlet-{i}"} for i in draw.choice(ENTITIES, entities, replace=False)]


def bare(client: Any, plan: Any, asked: Sequence[dict[str, str]]) -> Callable[[], Any]:
    """The ceiling in redis-py: keys and fields at hand, nothing decoded."""
    (lookup,) = plan.lookups
    names = lookup.keys.encode({"outlet_id": [row["outlet_id"] for row in asked]})
    keys = [name + plan.project.encode() for name in names]

    def read() -> Any:
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hmget(key, lookup.fields)
            return pipe.execute()

    return read


def interleaved(arms: Arms, *, blocks: int, calls: int) -> dict[str, list[list[float]]]:
    """Seconds of every call, by arm and block, in turning order."""
    for arm in arms.values():
        arm()
    samples: dict[str, list[list[float]]] = {name: [] for name in arms}
    for block in range(blocks):
        for name in list(arms) if block % 2 == 0 else list(reversed(arms)):
            taken = []
            for _ in range(calls):
                began = time.perf_counter()
                arms[name]()
                taken.append(time.perf_counter() - began)
            samples[name].append(taken)
    return samples


def times_faster(slow: list[list[float]], fast: list[list[float]]) -> tuple[float, float, float]:
    """Median over blocks of the ratio of their medians, between the ends of its 95 % bootstrap interval."""
    ratios = np.array([statistics.median(s) / statistics.median(f) for s, f in zip(slow, fast, strict=True)])
    drawn_medians = np.median(np.random.default_rng(1).choice(ratios, (DRAWS, len(ratios))), axis=1)
    low, high = np.percentile(drawn_medians, [2.5, 97.5])
    return float(low), float(np.median(ratios)), float(high)


def lines(title: str, samples: Mapping[str, list[list[float]]]) -> Iterator[tuple[str, ...]]:
    """Every arm beside Feast's."""
    for arm, taken in samples.items():
        low, middle, high = times_faster(samples[FEAST], taken)
        yield title, arm, *percentiles(taken), f"{middle:.1f}", f"{low:.1f}–{high:.1f}"


def percentiles(taken: list[list[float]]) -> tuple[str, str]:
    """Median and 99th percentile in milliseconds."""
    milliseconds = np.concatenate([np.array(block) for block in taken]) * 1e3
    return tuple(f"{np.percentile(milliseconds, q):.2f}" for q in (50, 99))  # type: ignore[return-value]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=20)
    main(parser.parse_args().blocks)
