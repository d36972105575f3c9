"""One engine in a process of its own: what its import takes, and one model on the same rows; JSON on the last line."""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]


def lightgbm_interface(model: Path) -> tuple[float, float, Predict]:
    """What serving uses: the library of LightGBM without its Python package."""
    began = time.perf_counter()
    from serving.boosters import Booster

    imported = time.perf_counter()
    booster = Booster(model.read_text())
    return imported - began, time.perf_counter() - imported, booster.predict


def lightgbm_package(model: Path) -> tuple[float, float, Predict]:
    """LightGBM's own Python package."""
    began = time.perf_counter()
    import lightgbm

    imported = time.perf_counter()
    booster = lightgbm.Booster(model_file=str(model))
    return imported - began, time.perf_counter() - imported, lambda rows: booster.predict(rows, num_threads=1)


def onnx_runtime(model: Path) -> tuple[float, float, Predict]:
    """Converted by onnxmltools beforehand, which serving would not import."""
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    booster = lightgbm.Booster(model_file=str(model))
    shape = [("rows", FloatTensorType([None, booster.num_feature()]))]
    converted = convert_lightgbm(booster, initial_types=shape).SerializeToString()
    began = time.perf_counter()
    import onnxruntime

    imported = time.perf_counter()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(converted, options, providers=["CPUExecutionProvider"])
    ready = time.perf_counter() - imported
    return imported - began, ready, lambda rows: session.run(None, {"rows": rows.astype(np.float32)})[0][:, 0]


def treelite_gtil(model: Path) -> tuple[float, float, Predict]:
    """Treelite's interpreter of trees."""
    began = time.perf_counter()
    import treelite

    imported = time.perf_counter()
    trees = treelite.frontend.load_lightgbm_model(str(model))
    ready = time.perf_counter() - imported
    return imported - began, ready, lambda rows: treelite.gtil.predict(trees, rows, nthread=1).ravel()


def tl2cgen_compiled(model: Path) -> tuple[float, float, Predict]:
    """Trees as C, compiled by gcc; the release would hold a library for one platform."""
    began = time.perf_counter()
    import tl2cgen
    import treelite

    imported = time.perf_counter()
    library = Path(tempfile.mkdtemp()) / "trees.so"
    trees = treelite.frontend.load_lightgbm_model(str(model))
    tl2cgen.export_lib(trees, toolchain="gcc", libpath=library, params={"parallel_comp": 16})
    predictor = tl2cgen.Predictor(library, nthread=1)
    ready = time.perf_counter() - imported
    return imported - began, ready, lambda rows: predictor.predict(tl2cgen.DMatrix(rows)).ravel()


ENGINES = {
    one.__name__: one for one in (lightgbm_interface, lightgbm_package, onnx_runtime, treelite_gtil, tl2cgen_compiled)
}
COMPILED = {tl2cgen_compiled.__name__}


def milliseconds(predict: Predict, rows: np.ndarray, *, times: int = 60) -> float:
    """Processor time of a call, the median of several."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        predict(rows)
        taken.append(time.process_time() - began)
    return float(np.median(taken)) * 1e3


def main(name: str, model: Path, rows: Path) -> None:
    """Measure the engine of that name."""
    asked = np.load(rows)
    imports, ready, predict = ENGINES[name](model)
    told = {
        "import s": imports,
        "ready s": ready,
        "one row ms": milliseconds(predict, asked[:1]),
        "rows ms": milliseconds(predict, asked),
        "predictions": [float(value) for value in predict(asked)],
    }
    sys.stdout.write("\n" + json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
