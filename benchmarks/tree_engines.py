"""What evaluates a head: LightGBM's C interface, beside its package, ONNX Runtime, treelite and tl2cgen."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measure import Result
from serving_home import heads, training_rows
from tree_engine import COMPILED, ENGINES, lightgbm_interface

from feature_repo.catalog import BATCH_FEATURES, MODEL_FEATURES
from poplift.activation import CANDIDATES
from serving.online import model_inputs
from serving.release import EXPLAINED

HERE = Path(__file__).parent
NEEDED = ("lightgbm==4.7.0", "onnxruntime==1.32.0", "onnxmltools==1.16.0", "skl2onnx==1.20.0", "treelite==4.8.1")
PPGS, TOLERANCE, SLACK = 27, 1e-9, 1.1


def main() -> None:
    """Install the rivals beside the project, let each predict the same rows in turn, and keep the result."""
    with tempfile.TemporaryDirectory(prefix="poplift-bench-") as name:
        folder = Path(name)
        python = installed(folder / "rivals", (*NEEDED, "tl2cgen==1.0.0"))
        model, rows = folder / "model.txt", folder / "rows.npy"
        dict(heads())[EXPLAINED].save_model(model)
        np.save(rows, asked())
        told = {engine: one(python, engine, model, rows) for engine in ENGINES}
    ours = told[lightgbm_interface.__name__]
    fit = [found for name, found in told.items() if name not in COMPILED and apart(found, ours) <= TOLERANCE]
    Result(
        name="tree_engines",
        goal=f"the first one, which serves, takes at most {SLACK:.0%} of the processor time of any that predicts the "
        f"same to {TOLERANCE:.0e} and puts no compiled code into a release",
        met=ours["rows ms"] <= SLACK * min(found["rows ms"] for found in fit),
        columns=("engine", "import s", "until ready s", "1 row ms", f"{len(asked())} rows ms", "largest deviation"),
        rows=tuple(
            (
                name,
                f"{found['import s']:.2f}",
                f"{found['ready s']:.2f}",
                f"{found['one row ms']:.3f}",
                f"{found['rows ms']:.2f}",
                f"{apart(found, ours):.0e}",
            )
            for name, found in told.items()
        ),
    ).save()


def asked() -> np.ndarray:
    """The rows of one recommendation: every ppg of an outlet under every activation."""
    sales = training_rows()[0][list(BATCH_FEATURES)].to_numpy()[:PPGS]
    each = np.tile(np.arange(len(CANDIDATES)), PPGS)
    rows = model_inputs(np.repeat(sales, len(CANDIDATES), axis=0), CANDIDATES, chosen=each, week_start_day=17532)
    if rows.shape[1] != len(MODEL_FEATURES):
        raise AssertionError("rows are not those of the model")
    return rows


def installed(folder: Path, packages: tuple[str, ...]) -> Path:
    """Python of an environment with these packages."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


def one(python: Path, engine: str, model: Path, rows: Path) -> dict[str, Any]:
    """What the engine of that name says."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    command = [str(python), str(HERE / "tree_engine.py"), engine, str(model), str(rows)]
    answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    told: dict[str, Any] = json.loads(answer.strip().splitlines()[-1])
    return told


def apart(found: dict[str, Any], ours: dict[str, Any]) -> float:
    """Largest relative deviation of its predictions."""
    expected = np.array(ours["predictions"])
    return float(np.abs(np.array(found["predictions"]) / expected - 1).max())


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
