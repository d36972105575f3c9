"""Shares come from TreeSHAP of the examples, elsewhere from a walk through the trees, and add up to the prediction."""

from collections.abc import Iterator
from typing import Any

import lightgbm
import numpy as np

from serving.boosters import Booster
from serving.leaf_shares import LeafShares

Floats = np.ndarray


def trained(leaves: int, *, rounds: int = 20) -> tuple[lightgbm.Booster, Floats]:
    draw = np.random.default_rng(11)
    rows = draw.normal(size=(600, 5))
    rows[draw.random(rows.shape) < 0.05] = np.nan
    sold = draw.poisson(np.exp(np.nan_to_num(rows[:, 0] * 0.8 + rows[:, 1] * rows[:, 2] * 0.5).clip(max=3.0)))
    parameters = {"objective": "poisson", "num_leaves": leaves, "verbose": -1, "num_threads": 1, "seed": 1}
    return lightgbm.train(parameters, lightgbm.Dataset(rows, sold.astype(float)), rounds), rows


def shares(package: lightgbm.Booster, rows: Floats, *, examples: Floats) -> Floats:
    text = package.model_to_string()
    booster = Booster(text)
    return LeafShares(text, booster, examples).of(booster.leaves(rows))


def treeshap(package: lightgbm.Booster, rows: Floats) -> Floats:
    return np.asarray(package.predict(rows, pred_contrib=True))[:, :-1]


def walked(package: lightgbm.Booster, row: Floats) -> Floats:
    """Saabas' shares by their definition, split by split, from the package's own description of its trees."""
    added = np.zeros(package.num_feature())
    trees = package.dump_model()["tree_info"]
    for tree, leaf in zip(trees, package.predict(row[None, :], pred_leaf=True)[0], strict=True):
        for split, branch in way(tree["tree_structure"], int(leaf)):
            added[split["split_feature"]] += mean(branch) - mean(split)
    return added


def way(node: dict[str, Any], leaf: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    while "split_index" in node:
        branch = next(node[side] for side in ("left_child", "right_child") if leaf in leaves_below(node[side]))
        yield node, branch
        node = branch


def leaves_below(node: dict[str, Any]) -> dict[int, dict[str, Any]]:
    if "split_index" not in node:
        return {node["leaf_index"]: node}
    return leaves_below(node["left_child"]) | leaves_below(node["right_child"])


def mean(node: dict[str, Any]) -> float:
    leaves = leaves_below(node).values()
    return float(np.average([leaf["leaf_value"] for leaf in leaves], weights=[leaf["leaf_count"] for leaf in leaves]))


def test_without_examples_shares_are_those_of_a_walk_from_the_root() -> None:
    package, rows = trained(9, rounds=5)
    found = shares(package, rows[:40], examples=rows[:0])
    np.testing.assert_allclose(found, [walked(package, row) for row in rows[:40]], rtol=0, atol=1e-12)


def test_a_row_that_is_the_only_example_has_its_own_treeshap() -> None:
    package, rows = trained(31)
    for row in rows[:20]:
        alone = row[None, :]
        np.testing.assert_allclose(shares(package, alone, examples=alone), treeshap(package, alone), atol=1e-12)


def test_over_its_examples_a_feature_has_the_mean_of_its_treeshap() -> None:
    package, rows = trained(31)
    found, exact = shares(package, rows, examples=rows), treeshap(package, rows)
    np.testing.assert_allclose(found.mean(axis=0), exact.mean(axis=0), rtol=0, atol=1e-12)


def test_examples_bring_the_shares_of_other_rows_nearer_to_treeshap() -> None:
    package, rows = trained(31)
    others, exact = rows[300:], treeshap(package, rows[300:])
    with_examples, without = (shares(package, others, examples=rows[:count]) for count in (300, 0))
    assert np.abs(with_examples - exact).mean() < 0.7 * np.abs(without - exact).mean()


def test_shares_and_one_base_value_for_all_rows_add_up_to_the_prediction() -> None:
    package, rows = trained(31)
    for count in (0, 7, 600):
        left = package.predict(rows, raw_score=True) - shares(package, rows, examples=rows[:count]).sum(axis=1)
        np.testing.assert_allclose(left, package.predict(rows[:1], pred_contrib=True)[0, -1], rtol=0, atol=1e-9)


def test_trees_of_one_split_have_the_shares_of_treeshap() -> None:
    package, rows = trained(2, rounds=60)
    np.testing.assert_allclose(shares(package, rows, examples=rows[:0]), treeshap(package, rows), rtol=0, atol=1e-12)


def test_a_model_that_found_no_split_has_nothing_to_explain() -> None:
    package = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(np.ones((50, 3)), np.ones(50)), 3)
    np.testing.assert_array_equal(shares(package, np.ones((4, 3)), examples=np.ones((2, 3))), np.zeros((4, 3)))


def test_no_rows_have_no_shares() -> None:
    package, rows = trained(9, rounds=2)
    assert shares(package, rows[:0], examples=rows).shape == (0, rows.shape[1])
