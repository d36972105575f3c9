"""How far the shares that reasons tell are from TreeSHAP, and what either costs: the recipe, and a larger model."""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lightgbm
import numpy as np
from measure import Result
from serving_home import heads, training_rows

from flows.steps.features import refresh_features
from flows.steps.ingest import ingest_events
from flows.steps.train import GOLDEN_ROWS, training_set
from poplift.settings import load_settings
from serving.boosters import Booster
from serving.leaf_shares import LeafShares
from serving.release import EXPLAINED
from training.train import train

TOP, ASKED = 3, 10
GOALS = {"in common": 0.9, "other way": 0.001, "times": 20.0}


def main(rows: int, seed: int) -> None:
    """Explain the same rows both ways and keep the result; the shares are learnt from other rows."""
    drawn = rows + GOLDEN_ROWS
    models = {"recipe on the soft drinks": recipe(drawn, seed), "300 trees of 63 leaves, made-up sales": large(drawn)}
    found = [compared(booster, inputs) for booster, inputs in models.values()]
    Result(
        name="reasons",
        goal=f"of the {TOP} largest, {GOALS['in common']:.0%} in common with TreeSHAP and at most "
        f"{GOALS['other way']:.1%} pointing the other way; {GOALS['times']:.0f} times faster for {ASKED} rows",
        met=all(
            one["in common"] >= GOALS["in common"]
            and one["other way"] <= GOALS["other way"]
            and one["TreeSHAP ms"] >= GOALS["times"] * one["ours ms"]
            for one in found
        ),
        columns=(
            "model",
            "rows",
            "same first reason",
            f"in common of {TOP}",
            "point the other way",
            "correlation",
            f"TreeSHAP, {ASKED} rows ms",
            f"ours, {ASKED} rows ms",
        ),
        rows=tuple(
            (
                name,
                str(rows),
                f"{one['same first']:.0%}",
                f"{one['in common']:.0%}",
                f"{one['other way']:.2%}",
                f"{one['correlation']:.3f}",
                f"{one['TreeSHAP ms']:.2f}",
                f"{one['ours ms']:.2f}",
            )
            for name, one in zip(models, found, strict=True)
        ),
    ).save()


def recipe(rows: int, seed: int) -> tuple[lightgbm.Booster, np.ndarray]:
    """The head that is explained, trained as in production, and rows of its training set as it sees them."""
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as home:
        settings = load_settings(home=Path(home), seed=seed)
        ingest_events(settings)
        refresh_features(settings)
        data = training_set(settings)
        model = train(data, settings=settings).model
    booster = lightgbm.Booster(model_str=model.boosters[EXPLAINED].model_to_string())
    drawn = data.frame[booster.feature_name()].sample(rows, random_state=seed).astype("float64")
    return booster, drawn.fillna(model.plan["defaults"]).to_numpy()


def large(rows: int) -> tuple[lightgbm.Booster, np.ndarray]:
    """The model of the serving benchmarks."""
    return dict(heads())[EXPLAINED], training_rows()[0].to_numpy()[:rows]


def compared(booster: lightgbm.Booster, inputs: np.ndarray) -> dict[str, float]:
    """How the largest shares of the rows agree, and milliseconds for as many as an answer explains."""
    text, examples, inputs = booster.model_to_string(), inputs[:GOLDEN_ROWS], inputs[GOLDEN_ROWS:]
    ours = Booster(text)
    learnt = LeafShares(text, ours, examples)
    exact = treeshap(booster, inputs)
    shares = learnt.of(ours.leaves(inputs))
    first, second = largest(exact), largest(shares)
    shown = np.take_along_axis(shares, second, axis=1)
    return {
        "same first": float((first[:, 0] == second[:, 0]).mean()),
        "in common": float((first[:, :, None] == second[:, None, :]).any(axis=2).mean()),
        "other way": float((np.sign(shown) != np.sign(np.take_along_axis(exact, second, axis=1))).mean()),
        "correlation": float(np.corrcoef(exact.ravel(), shares.ravel())[0, 1]),
        "TreeSHAP ms": milliseconds(lambda: treeshap(booster, inputs[:ASKED])),
        "ours ms": milliseconds(lambda: learnt.of(ours.leaves(inputs[:ASKED]))),
    }


def treeshap(booster: lightgbm.Booster, inputs: np.ndarray) -> np.ndarray:
    """Exact path-dependent TreeSHAP as LightGBM works it out, n x features."""
    return np.asarray(booster.predict(inputs, pred_contrib=True, num_threads=1))[:, :-1]


def largest(shares: np.ndarray) -> np.ndarray:
    """Places of the largest shares of every row, the largest first."""
    return np.argsort(-np.abs(shares), axis=1, kind="stable")[:, :TOP]


def milliseconds(work: Callable[[], object], *, times: int = 30) -> float:
    """The median of several runs."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken)) * 1e3


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    main(arguments.rows, arguments.seed)
