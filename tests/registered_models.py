"""Small real models in a real registry, each with the gate's pass, for tests of what happens to a version later."""

from dataclasses import replace

import numpy as np
import pandas as pd

from feature_repo.catalog import MODEL_FEATURES
from poplift import registry
from poplift.registry import DEMAND, FILES, GOLDEN, REPORT
from poplift.verdicts import VERDICT, file_digests, sign
from training import demand

PASSED = {"gate": "pass", "commit": "abc", "data_digest": "d1"}


def training_rows():
    """Cells with every feature, and transactions that some of them drive."""
    draw = np.random.default_rng(1)
    frame = pd.DataFrame({name: draw.gamma(2.0, 0.5, 400) for name in MODEL_FEATURES})
    rate = 0.3 * frame[MODEL_FEATURES[0]] + frame["plan_depth"]
    return frame.assign(
        transactions=draw.poisson(rate).astype(float), units=draw.poisson(2 * rate).astype(float), week=40
    )


def files_of(folder, rows, *, seed):
    """A trained model of a few trees as the training step lays it down."""
    model = demand.fit(rows, recipe=replace(demand.Recipe(), rounds=4), seed=seed, threads=1, data_digest="d1")
    demand.save(model, folder / FILES)
    golden = rows[list(MODEL_FEATURES)].head(5)
    golden.to_json(folder / FILES / GOLDEN, orient="records", double_precision=15)
    return model


def register(settings, folder, rows, *, seed):
    """Train, give it a signed pass, and register it as the next version; returns the head that MLflow holds."""
    model = files_of(folder, rows, seed=seed)
    (folder / REPORT).write_text(f"report of seed {seed}")
    record = {
        "model": DEMAND,
        "outcome": "pass",
        "reasons": [],
        "files": file_digests(folder / FILES),
        "champion": None,
    }
    verdict = sign(record, key=settings.verdict_key.get_secret_value())
    (folder / VERDICT).write_text(verdict.to_json())
    booster = model.boosters["transactions"]
    registry.log_run(
        settings,
        run_name="tiny",
        params={"rounds": 4},
        metrics={"poisson_deviance": 0.5, "bias": 0.01},
        tags={**PASSED, **verdict.tags()},
        artifacts=folder,
        model=booster,
        input_example=rows[list(MODEL_FEATURES)].head(5),
        register_as=DEMAND,
    )
    return booster
