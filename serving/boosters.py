"""LightGBM models by the library's C interface: its Python package would bring pandas and scikit-learn along."""

import ctypes
import weakref
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from serving.leaf_shares import Floats, Leaves

# LightGBM/c_api.h
_FLOAT64, _ROW_MAJOR = 1, 1
_NORMAL, _LEAF_INDEX, _CONTRIBUTIONS = 0, 2, 3
_ALL_ROUNDS = (0, -1)


class BoosterError(Exception):
    """LightGBM refuses a model or a prediction; the message is its own."""


class Booster:
    """One model of one output a row; predictions are those of `lightgbm.Booster.predict`, bit by bit.

    Threads may share it: LightGBM only reads the trees, and every call has buffers of its own. It asks for one thread
    always: LightGBM keeps that number for the whole process, and two calls at once that want different ones crash it.
    For more cores call it from more threads.
    """

    def __init__(self, text: str) -> None:
        header = dict(line.partition("=")[::2] for line in text.partition("\nTree=")[0].splitlines())
        if header.get("num_tree_per_iteration") != "1":
            raise BoosterError("not a LightGBM model with one output")
        if "\nend of trees\n" not in text:  # the library does not look for it and crashes
            raise BoosterError("the model ends before its last tree")
        self.feature_names = tuple(header["feature_names"].split(" "))
        self.objective = header.get("objective", "").partition(" ")[0]
        self.trees = text.count("\nTree=")
        self._handle = ctypes.c_void_p()
        library = _library()
        rounds = ctypes.c_int()
        _checked(
            library.LGBM_BoosterLoadModelFromString(text.encode(), ctypes.byref(rounds), ctypes.byref(self._handle))
        )
        weakref.finalize(self, library.LGBM_BoosterFree, self._handle)

    def predict(self, rows: Floats) -> Floats:
        """One value for each of n complete rows, whose columns are `feature_names`."""
        return self._run(rows, _NORMAL, width=1)[:, 0]

    def leaves(self, rows: Floats) -> Leaves:
        """Number of the leaf that each of n complete rows falls into, n x `trees`."""
        return self._run(rows, _LEAF_INDEX, width=self.trees).astype(np.intp)

    def treeshap(self, rows: Floats, *, tree: int) -> Floats:
        """TreeSHAP contributions (Lundberg et al., 2020) of one tree to n complete rows, one column per feature.

        Not while another thread asks the same booster: LightGBM keeps in it which trees are asked.
        """
        width = len(self.feature_names) + 1
        return self._run(rows, _CONTRIBUTIONS, width=width, rounds=(tree, 1))[:, :-1]  # the last is the base value

    def _run(self, rows: Floats, what: int, *, width: int, rounds: tuple[int, int] = _ALL_ROUNDS) -> Floats:
        given = np.ascontiguousarray(rows, dtype=np.float64)
        if given.ndim != 2 or given.shape[1] != len(self.feature_names):  # the library would read past the end
            raise BoosterError(f"rows of shape {given.shape}, the model has {len(self.feature_names)} features")
        out = np.empty((len(given), width))
        written = ctypes.c_int64()
        _checked(
            _library().LGBM_BoosterPredictForMat(
                self._handle,
                given.ctypes.data_as(ctypes.c_void_p),
                _FLOAT64,
                *given.shape,
                _ROW_MAJOR,
                what,
                *rounds,
                b"num_threads=1 verbosity=-1",
                ctypes.byref(written),
                out.ctypes.data_as(ctypes.c_void_p),
            )
        )
        if written.value != out.size:
            raise BoosterError(f"{written.value} values came back for {len(given)} rows")
        return out


@cache
def _library() -> ctypes.CDLL:
    """The shared library inside the installed wheel, found without importing the package."""
    package = find_spec("lightgbm")
    folder = Path(package.origin).parent if package and package.origin else None
    found = sorted(folder.glob("*/lib_lightgbm.*")) if folder else []
    if not found:
        raise BoosterError("the library of LightGBM is not installed: pip install 'poplift[serving]'")
    library = ctypes.CDLL(str(found[0]))
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    pointer, number = ctypes.c_void_p, ctypes.c_int
    library.LGBM_BoosterFree.argtypes = [pointer]
    library.LGBM_BoosterLoadModelFromString.argtypes = [ctypes.c_char_p, pointer, pointer]
    library.LGBM_BoosterPredictForMat.argtypes = [
        *(pointer, pointer, number, ctypes.c_int32, ctypes.c_int32),
        *(number, number, number, number, ctypes.c_char_p, pointer, pointer),
    ]
    return library


def _checked(code: int) -> None:
    if code:
        raise BoosterError(_library().LGBM_GetLastError().decode(errors="replace"))
