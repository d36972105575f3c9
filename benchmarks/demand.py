"""Goal S1: the demand model on held-out weeks against its baselines, at several floors, and the counting noise."""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from measure import Result

from flows.steps.features import refresh_features
from flows.steps.ingest import ingest_events
from flows.steps.train import training_set
from poplift.settings import load_settings
from poplift.statistics import FLOOR, Interval, poisson_deviance, relative_change
from training.train import train

FLOORS = (1e-6, FLOOR, 1e-2)
MOST_BIAS = 0.03
GOALS = {"mean_all": -0.25, "poisson_glm": -0.10}


def main(seed: int) -> None:
    """Train once in a home of its own, score the held-out weeks and keep the result."""
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as home:
        settings = load_settings(home=Path(home), seed=seed)
        ingest_events(settings)
        refresh_features(settings)
        data = training_set(settings)
        candidate = train(data, settings=settings)
    evaluation = candidate.evaluation
    cells = evaluation.cells
    past = data.frame[data.frame["week"] <= candidate.model.plan["trained_through_week"]]
    frozen = past.groupby(["outlet_id", "ppg_id"])["transactions"].mean().rename("frozen")
    rivals = {
        "mean_all": cells["mean_all"].to_numpy("float64"),
        "mean frozen at the end of training": cells.join(frozen, on=["outlet_id", "ppg_id"])["frozen"].to_numpy(),
        "poisson_glm": cells["poisson_glm"].to_numpy("float64"),
    }
    rows = [_contest(cells, name, rival, floor, seed) for name, rival in rivals.items() for floor in FLOORS]
    model = cells["demand"].to_numpy("float64")
    noise = poisson_deviance(np.random.default_rng(seed).poisson(model).astype("float64"), model).mean()
    rows += [
        ("counts drawn from the model's own means", f"{FLOOR:g}", f"{noise:.4f}", "", ""),
        ("bias of the total", "", f"{evaluation.bias.estimate:+.1%}", "", _range(evaluation.bias)),
        ("coverage of the 80 % interval", "", f"{evaluation.coverage.estimate:.1%}", "", _range(evaluation.coverage)),
    ]
    wanted = ", ".join(f"{goal:+.0%} against {name}" for name, goal in GOALS.items())
    met = all(evaluation.versus[name].estimate <= goal for name, goal in GOALS.items())
    Result(
        name="demand",
        goal=f"S1: deviance {wanted}, |bias| at most {MOST_BIAS:.0%}",
        met=met and abs(evaluation.bias.estimate) <= MOST_BIAS,
        columns=("what", "floor", "figure", "model against it", "95 % interval"),
        rows=tuple(rows),
    ).save()


def _contest(cells: pd.DataFrame, name: str, rival: np.ndarray, floor: float, seed: int) -> tuple[str, ...]:
    actual = cells["transactions"].to_numpy("float64")
    losses = [poisson_deviance(actual, f, floor=floor) for f in (cells["demand"].to_numpy("float64"), rival)]
    change = relative_change(
        *losses, outlet=cells["outlet_id"].to_numpy(), week=cells["week"].to_numpy(), draws=2000, seed=seed
    )
    return (f"deviance of {name}", f"{floor:g}", f"{losses[1].mean():.4f}", f"{change.estimate:+.1%}", _range(change))


def _range(interval: Interval) -> str:
    return f"{interval.low:+.1%} to {interval.high:+.1%}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    main(parser.parse_args().seed)
