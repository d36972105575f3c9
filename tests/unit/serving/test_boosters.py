"""The C interface gives what the Python package gives, bit by bit, and refuses what would read past the end."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from feature_repo.catalog import MODEL_FEATURES
from serving.boosters import Booster, BoosterError
from serving.heads import Heads
from serving.release import HEADS

WIDTH = len(MODEL_FEATURES)
CELLS = st.floats(allow_nan=True, allow_infinity=True, width=64)


@pytest.fixture(scope="module", params=HEADS)
def both(request: Any, model_folder: Path) -> tuple[Booster, lightgbm.Booster]:
    path = model_folder / f"{request.param}.lgb"
    return Booster(path.read_text()), lightgbm.Booster(model_file=str(path))


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_predictions_are_those_of_the_package_for_any_float(both: tuple[Booster, lightgbm.Booster], data: Any) -> None:
    ours, package = both
    rows = data.draw(arrays(np.float64, (data.draw(st.integers(1, 9)), WIDTH), elements=CELLS))
    np.testing.assert_array_equal(ours.predict(rows), package.predict(rows))


def test_names_and_objective_are_read_from_the_model(both: tuple[Booster, lightgbm.Booster]) -> None:
    ours, package = both
    assert list(ours.feature_names) == package.feature_name()
    assert ours.objective == package.params["objective"]


def test_threads_share_a_booster_and_get_their_own_answers(both: tuple[Booster, lightgbm.Booster]) -> None:
    ours, package = both
    draw = np.random.default_rng(3)
    questions = [draw.gamma(1.0, 1.5, (int(draw.integers(1, 60)), WIDTH)) for _ in range(60)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ours.predict, questions))
    for question, answer in zip(questions, answers, strict=True):
        np.testing.assert_array_equal(answer, package.predict(question))


def test_rows_of_another_width_are_refused(both: tuple[Booster, lightgbm.Booster]) -> None:
    for shape in ((3, WIDTH - 1), (3, WIDTH + 1), (WIDTH,)):
        with pytest.raises(BoosterError, match=f"has {WIDTH} features"):
            both[0].predict(np.zeros(shape))


def test_no_rows_give_no_predictions(both: tuple[Booster, lightgbm.Booster]) -> None:
    assert both[0].predict(np.empty((0, WIDTH))).shape == (0,)


@pytest.mark.parametrize("spoil", [lambda t: "", lambda t: "tree\nnum_class=1\n", lambda t: t[: len(t) // 2]])
def test_what_is_no_whole_model_of_one_output_is_refused(model_folder: Path, spoil: Callable[[str], str]) -> None:
    with pytest.raises(BoosterError):
        Booster(spoil((model_folder / "units.lgb").read_text()))


def test_heads_feed_every_booster_in_its_own_order(model_folder: Path, golden: pd.DataFrame) -> None:
    boosters = {head: Booster((model_folder / f"{head}.lgb").read_text()) for head in HEADS}
    shuffled = tuple(np.random.default_rng(5).permutation(MODEL_FEATURES).tolist())
    straight, other = (Heads(names, dict.fromkeys(names, 1.5), boosters) for names in (tuple(MODEL_FEATURES), shuffled))
    inputs = golden.to_numpy()
    expected = straight.predict(straight.filled(straight.arranged(inputs)))
    rows = other.filled(other.arranged(inputs))
    for head, values in other.predict(rows).items():
        np.testing.assert_array_equal(values, expected[head])
    np.testing.assert_array_equal(other.completed(golden), rows)
    text = (model_folder / "units.lgb").read_text()
    explaining = [heads.explaining("units", text, heads.completed(golden)) for heads in (straight, other)]
    expected, shares = (heads.contributions("units", heads.completed(golden)) for heads in explaining)
    by_name = dict(zip(shuffled, shares.T, strict=True))
    np.testing.assert_array_equal(np.column_stack([by_name[name] for name in MODEL_FEATURES]), expected)


def test_a_feature_the_catalog_does_not_know_is_named(model_folder: Path) -> None:
    heads = Heads(("made_up",), {"made_up": 0.0}, {})
    with pytest.raises(KeyError, match="made_up"):
        heads.arranged(np.zeros((1, WIDTH)))
