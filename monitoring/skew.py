"""Whether what was served is what training would have seen: served vectors recomputed as of the time of serving."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import pandas as pd

from monitoring.served_vectors import ServedVector

Join = Callable[[pd.DataFrame], pd.DataFrame]
LISTED = 50  # differences kept for monitoring.json; one feature that is wrong is wrong for many entities


class SkewInputError(ValueError):
    """The offline answer cannot be compared with what was served; the message says what is wrong with it."""


@dataclass(frozen=True)
class Difference:
    """One value that was served otherwise than it is offline; None is no value."""

    view: str
    feature: str
    entity: str
    online: float | None
    offline: float | None
    business_time: datetime
    decision_id: str


@dataclass(frozen=True)
class SkewSummary:
    """How many vectors and values were compared, how many differ per view and feature, and the first of those."""

    vectors: int
    compared: int
    differing: Mapping[str, int]
    differences: tuple[Difference, ...]

    @property
    def state(self) -> Literal["ok", "breach"]:
        """Any difference is one too many: both ways compute the same arithmetic on the same rows."""
        return "breach" if self.differing else "ok"

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence per feature that differs, with its first entity and both values."""
        first = {f"{d.view}.{d.feature}": d for d in reversed(self.differences)}
        return tuple(
            f"{name} was served otherwise than training sees it, in {count} of {self.vectors} vectors: "
            f"{_of(first[name])} (docs/runbooks/features-skewed.md)"
            for name, count in self.differing.items()
        )


def measure_skew(vectors: Sequence[ServedVector], *, views: Mapping[str, Sequence[str]], join: Join) -> SkewSummary:
    """Compare every batch feature of every vector with its point-in-time value at the business time of serving.

    `views` map a view to its features. `join` gets the entity keys and event_timestamp (UTC), one row per vector,
    and returns those rows in order with the features added. No value on both sides is no difference. Raises
    SkewInputError when the join loses rows or leaves a feature out.
    """
    if not vectors:
        return SkewSummary(0, 0, {}, ())
    times = pd.to_datetime([v.business_time for v in vectors], utc=True)
    asked = pd.DataFrame([dict(v.entity) for v in vectors]).assign(event_timestamp=times)
    offline = join(asked)
    if len(offline) != len(vectors):
        raise SkewInputError(f"{len(vectors)} vectors were asked for offline, {len(offline)} came back")
    compared, differing, differences = 0, {}, []
    for view, features in views.items():
        for feature in features:
            rows = [row for row, v in enumerate(vectors) if feature in v.features]
            if not rows:
                continue
            if feature not in offline:
                raise SkewInputError(f"{view}.{feature} was served and is not in the offline answer")
            served = np.array([_served(vectors[row], view, feature) for row in rows])
            known = offline[feature].to_numpy("float64")[rows]
            apart = np.flatnonzero(~((served == known) | (np.isnan(served) & np.isnan(known))))
            compared += len(rows)
            if len(apart):
                differing[f"{view}.{feature}"] = len(apart)
                places = [(vectors[rows[i]], served[i], known[i]) for i in apart[:LISTED]]
                differences += [_difference(view, feature, *place) for place in places]
    return SkewSummary(len(vectors), compared, differing, _spread(differences))


def _served(vector: ServedVector, view: str, feature: str) -> float:
    value = vector.features[feature]
    return np.nan if value is None or view in vector.replaced else float(value)


def _difference(view: str, feature: str, vector: ServedVector, online: float, offline: float) -> Difference:
    entity = ", ".join(f"{key.removesuffix('_id')} {value}" for key, value in vector.entity.items())
    return Difference(
        view, feature, entity, _number(online), _number(offline), vector.business_time, vector.decision_id
    )


def _spread(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """The first of every feature before the second of any: each feature that differs is among those kept."""
    seen: dict[str, int] = {}
    ranked = []
    for difference in differences:
        place = seen[difference.feature] = seen.get(difference.feature, -1) + 1
        ranked.append((place, difference))
    ranked.sort(key=lambda pair: pair[0])
    return tuple(difference for _, difference in ranked[: max(LISTED, len(seen))])


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _of(difference: Difference) -> str:
    online, offline = ("nothing" if v is None else f"{v:.12g}" for v in (difference.online, difference.offline))
    return f"{difference.entity} got {online} online and has {offline} offline at {difference.business_time:%F %R}"
