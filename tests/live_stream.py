"""A home with the tiny chain, its running view registered, and a stream of Redis beside it."""

import json
from datetime import timedelta

from feature_repo.catalog import RUNNING, RUNNING_VIEWS
from feature_repo.running import recomputed
from flows.steps.stream import Pace
from poplift import feature_store
from poplift.arrivals import QUARANTINE, SKEW
from poplift.databases import ensure_databases
from poplift.lake import Lake
from poplift.settings import load_settings
from poplift.stream import RedisStream
from tests.live_week import NOW, OUTLETS, PRODUCTS, chain, line

CELLS = [
    {"outlet_id": o, "ppg_id": p}
    for o, managed in OUTLETS.items()
    if managed
    for p in sorted({*PRODUCTS.values()} - {None})
]
QUICK = Pace(
    batch=20,
    wait=timedelta(seconds=0.05),
    between_batches=timedelta(0),
    land_every=timedelta(seconds=0.3),
    retry=timedelta(seconds=0.1),
)
LEASE = timedelta(seconds=1)


def live_home(home, redis_url, **more):
    """Settings of a home whose views are registered; `redis_url` None keeps everything in SQLite."""
    from feature_repo.definitions.repository import objects

    settings = load_settings(home=home, database_prefix="live", redis_url=redis_url, business_time=NOW, **more)
    chain(settings.lake_dir)
    ensure_databases(settings)
    feature_store.apply(settings, objects(settings))
    return settings


def stream(settings):
    return RedisStream(settings.redis_url, name=settings.database_prefix, lease=LEASE)


def payloads(*lines):
    return [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]


def some_lines(count):
    """Lines over all outlets and products; every tenth a correction, some broken, some poison."""
    products, outlets = list(PRODUCTS), list(OUTLETS)
    sent = []
    for n in range(count):
        sent.append(line(f"b{n // 3}", products[n % 4], outlet_id=outlets[n // 3 % 3], quantity=1 + n % 5))
        if n % 10 == 9:
            sent.append(b"poison %d" % n if n % 20 == 9 else line(f"x{n}", quantity=0))
    return payloads(*sent)


def online(settings):
    """(outlet, ppg) → feature values as Feast reads them online."""
    store = feature_store.open_store(settings)
    asked = store.get_feature_service(RUNNING)
    read = store.get_online_features(features=asked, entity_rows=[dict(c) for c in CELLS]).to_dict()
    names = [f.name for f in RUNNING_VIEWS[0].features]
    return {(c["outlet_id"], c["ppg_id"]): {name: read[name][n] for name in names} for n, c in enumerate(CELLS)}


def batch(settings):
    """The same, computed from the lake."""
    rows = recomputed(Lake(settings.lake_dir), as_of=settings.now()).to_pylist()
    return {
        (r["outlet_id"], r["ppg_id"]): {
            k: v for k, v in r.items() if k not in {"outlet_id", "ppg_id"} and "_time" not in k
        }
        for r in rows
    }


def landed(settings):
    """The newest version of every line of the lake, without when it became known."""
    lake = Lake(settings.lake_dir)
    query = f"SELECT * EXCLUDE (created_at) FROM ({lake.query('pos_lines', as_of=settings.now() + SKEW)}) ORDER BY ALL"
    return lake.connection.sql(query).fetchall()


def quarantined(settings):
    """(rule, message id) of everything refused."""
    lake = Lake(settings.lake_dir)
    files = [str(p) for p in lake.parts("pos_lines", folder=QUARANTINE)]
    query = "SELECT rule, json_extract_string(row, 'message') FROM read_parquet(?) ORDER BY ALL"
    return lake.connection.execute(query, [files]).fetchall() if files else []
