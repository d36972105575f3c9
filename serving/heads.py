"""The heads of a release: boosters over one set of features, whose missing values are filled as in training."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_repo.catalog import MODEL_FEATURES
from serving.boosters import Booster
from serving.leaf_shares import Floats, LeafShares

Order = NDArray[np.intp] | None


@dataclass(frozen=True)
class Heads:
    """Boosters by head; rows of a model are n x `features`, in whatever order each booster wants them itself."""

    features: tuple[str, ...]
    defaults: Mapping[str, float]
    boosters: Mapping[str, Booster]
    shares: Mapping[str, LeafShares] = field(default_factory=dict)

    def completed(self, columns: Any) -> Floats:
        """Rows of a frame or of n values by name, the default in place of every missing value; extra names are ignored.

        A booster trained without missing values would silently read one as zero. Raises KeyError that names the
        absent features.
        """
        absent = [name for name in self.features if name not in columns]
        if absent:
            raise KeyError(f"features the model needs are absent: {', '.join(absent)}")
        return self.filled(np.column_stack([np.asarray(columns[name], dtype=np.float64) for name in self.features]))

    def filled(self, rows: Floats) -> Floats:
        """Rows with the default in place of every missing value."""
        missing = np.isnan(rows)
        return np.where(missing, self._defaults, rows) if missing.any() else rows

    def arranged(self, inputs: Floats) -> Floats:
        """Rows of `features` from n x `MODEL_FEATURES`; raises KeyError for features the catalog does not know."""
        return inputs if self._from_catalog is None else inputs[:, self._from_catalog]

    def predict(self, rows: Floats) -> dict[str, Floats]:
        """One value a complete row by head."""
        return {head: booster.predict(self._of(head, rows)) for head, booster in self.boosters.items()}

    def explaining(self, head: str, text: str, examples: Floats) -> "Heads":
        """The same heads, of which this one, whose model text is given, has contributions; `examples` are complete."""
        shares = LeafShares(text, self.boosters[head], self._of(head, examples))
        return replace(self, shares={**self.shares, head: shares})

    def contributions(self, head: str, rows: Floats) -> Floats:
        """Contributions of complete rows to the raw score of one head, one column per feature of `features`.

        Raises KeyError for a head that is not `explaining`.
        """
        shares = self.shares[head].of(self.boosters[head].leaves(self._of(head, rows)))
        order = self._orders[head]
        return shares if order is None else shares[:, np.argsort(order)]

    def _of(self, head: str, rows: Floats) -> Floats:
        order = self._orders[head]
        return rows if order is None else rows[:, order]

    @cached_property
    def _defaults(self) -> Floats:
        return np.array([self.defaults[name] for name in self.features])

    @cached_property
    def _from_catalog(self) -> Order:
        unknown = sorted(set(self.features) - set(MODEL_FEATURES))
        if unknown:
            raise KeyError(f"features the catalog does not know: {', '.join(unknown)}")
        return _order(MODEL_FEATURES, self.features)

    @cached_property
    def _orders(self) -> Mapping[str, Order]:
        # LightGBM takes columns by position and says nothing of their names
        return {head: _order(self.features, booster.feature_names) for head, booster in self.boosters.items()}


def _order(given: tuple[str, ...], wanted: tuple[str, ...]) -> Order:
    """Places in `given` of the names wanted; None where both are the same."""
    places = {name: at for at, name in enumerate(given)}
    return None if given == wanted else np.array([places[name] for name in wanted], dtype=np.intp)
