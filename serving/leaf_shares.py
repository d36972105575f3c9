"""What every feature added to a prediction, by the leaf of every tree that a row falls into, worked out at loading.

Exact TreeSHAP (Lundberg et al., 2020) takes longer than everything else of an answer. A leaf's share of a feature is
the mean TreeSHAP of the example rows that fell into it. A leaf without an example has Saabas' share ("Interpreting
random forests", 2014): at every split on its way, the mean leaf below the branch less the mean leaf below the split,
leaves weighted by training rows. Either way the shares of a tree and its mean add up to the leaf, so those of a model
and one base value add up to its raw score. `benchmarks/reasons.py` tells how far they are from TreeSHAP of the row.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Leaves = NDArray[np.intp]


class Trees(Protocol):
    """What is asked of a model of k features for n complete rows."""

    def leaves(self, rows: Floats) -> Leaves:
        """The leaf of every tree that each row falls into, n x trees."""

    def treeshap(self, rows: Floats, *, tree: int) -> Floats:
        """Contributions of one tree, n x k."""


class LeafShares:
    """Shares of a LightGBM model in text form with one output, from `examples`, m complete rows of its k features."""

    def __init__(self, text: str, model: Trees, examples: Floats) -> None:
        trees = [_fields(tree) for tree in text.partition("\nend of trees\n")[0].split("\nTree=")[1:]]
        most = max((int(tree["num_leaves"]) for tree in trees), default=0)
        self._first = np.arange(len(trees)) * most  # row of the table that has the first leaf of a tree
        self._table = np.zeros((len(trees) * most, examples.shape[1]))
        fell = model.leaves(examples)
        for at, tree in enumerate(trees):
            if int(tree["num_leaves"]) > 1:  # a tree without a split has nothing to share out
                own = self._table[at * most : (at + 1) * most]
                _share_out(own, tree)
                _take_means(own, fell[:, at], model.treeshap(examples, tree=at))

    def of(self, leaves: Leaves) -> Floats:
        """Shares of n rows, n x k, from the leaf of every tree that each fell into, n x trees."""
        of_trees = self._table.take(self._first + leaves, axis=0)
        shares: Floats = np.einsum("rtk->rk", of_trees)  # half the time of sum
        return shares


def _take_means(table: Floats, leaves: Leaves, shares: Floats) -> None:
    """Put the mean shares of the rows in it in the place of every leaf that has rows."""
    found, place, count = np.unique(leaves, return_inverse=True, return_counts=True)
    sums = np.zeros((len(found), table.shape[1]))
    np.add.at(sums, place, shares)
    table[found] = sums / count[:, None]


def _share_out(table: Floats, tree: Mapping[str, str]) -> None:
    """Fill leaves x features of one tree. A split comes before those below it; a negative child is leaf ~child."""
    feature, left, right = (_numbers(tree[name]) for name in ("split_feature", "left_child", "right_child"))
    leaf_count, leaf_value = _numbers(tree["leaf_count"]), [float(value) for value in tree["leaf_value"].split(" ")]
    count, mean = [0] * len(feature), [0.0] * len(feature)

    def below(child: int) -> tuple[int, float]:
        return (leaf_count[~child], leaf_value[~child]) if child < 0 else (count[child], mean[child])

    for split in reversed(range(len(feature))):
        (n, a), (m, b) = below(left[split]), below(right[split])
        count[split], mean[split] = n + m, (n * a + m * b) / (n + m)
    way = np.zeros((len(feature), table.shape[1]))
    for split, name in enumerate(feature):
        for child in (left[split], right[split]):
            to = table[~child] if child < 0 else way[child]
            to[:] = way[split]
            to[name] += below(child)[1] - mean[split]


def _fields(tree: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in tree.splitlines())


def _numbers(values: str) -> list[int]:
    return [int(value) for value in values.split(" ")]
