"""What a feature service asks of the online store, compiled once into plain data that reading needs no registry for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any, cast

from feature_repo.online.layout import EntityKeyLayout, KeyKind, event_field, packed, value_field

if TYPE_CHECKING:
    from feast import FeatureService

_KEY_KINDS: Mapping[str, KeyKind] = {"STRING": "string", "INT32": "int32", "INT64": "int64"}


class PlanError(Exception):
    """A plan cannot read what is asked; the message names view and reason, Feast's own way may still do it."""


@dataclass(frozen=True)
class PlannedFeature:
    """One feature: its name in the store and in the answer, and the name of its Feast ValueType."""

    name: str
    column: str
    value_type: str


@dataclass(frozen=True)
class PlannedView:
    """One feature view: its name in the answer and in the store, its keys, and its age limit in µs (None: no limit)."""

    name: str
    stored: str
    keys: EntityKeyLayout
    ttl_us: int | None
    features: tuple[PlannedFeature, ...]

    @property
    def fields(self) -> tuple[bytes, ...]:
        """Redis hash fields: one per feature, then that of the event time."""
        return (*(value_field(self.stored, f.name) for f in self.features), event_field(self.stored))


@dataclass(frozen=True)
class Lookup:
    """Views that are read by the same entity keys, by their place in the plan, with their Redis hash fields.

    `spans` says, per view, where its features begin among the fields and where its event time follows them.
    """

    keys: EntityKeyLayout
    views: tuple[int, ...]
    fields: tuple[bytes, ...]
    spans: tuple[tuple[int, int], ...]

    @cached_property
    def hmget(self) -> tuple[bytes, bytes]:
        """HMGET of the fields in Redis's own protocol: what comes before the packed key, and after it."""
        head = b"*%d\r\n" % (len(self.fields) + 2) + packed(b"HMGET")
        return head, b"".join([packed(field) for field in self.fields])


@dataclass(frozen=True)
class Block:
    """Features of one lookup that are of one type and decoded together: (view, feature) by place, and their columns."""

    lookup: int
    value_type: str
    places: tuple[tuple[int, int], ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class ReadPlan:
    """Views in the order of the answer; views with the same join keys share one hash per entity on Redis."""

    project: str
    views: tuple[PlannedView, ...]

    @cached_property
    def lookups(self) -> tuple[Lookup, ...]:
        """One per combination of join keys."""
        together: dict[EntityKeyLayout, list[int]] = {}
        for place, view in enumerate(self.views):
            together.setdefault(view.keys, []).append(place)
        return tuple(self._lookup(keys, places) for keys, places in together.items())

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Every feature, in blocks."""
        blocks: dict[tuple[int, str], list[tuple[int, int]]] = {}
        for number, lookup in enumerate(self.lookups):
            for view in lookup.views:
                for place, feature in enumerate(self.views[view].features):
                    blocks.setdefault((number, feature.value_type), []).append((view, place))
        return tuple(
            Block(number, value_type, tuple(places), tuple(self.views[v].features[f].column for v, f in places))
            for (number, value_type), places in blocks.items()
        )

    @cached_property
    def join_keys(self) -> Mapping[str, KeyKind]:
        """Name and kind of every join key an entity row must have."""
        return {name: kind for lookup in self.lookups for name, kind in lookup.keys.kinds}

    def _lookup(self, keys: EntityKeyLayout, places: Sequence[int]) -> Lookup:
        fields = [self.views[place].fields for place in places]
        ends = list(accumulate(map(len, fields)))
        spans = tuple((end - len(own), end - 1) for own, end in zip(fields, ends, strict=True))
        return Lookup(keys, tuple(places), tuple(chain.from_iterable(fields)), spans)

    def to_json(self) -> str:
        """The plan as text: the same plan gives the same text."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "ReadPlan":
        """The plan that `to_json` wrote; raises PlanError when the text is something else."""
        try:
            raw = json.loads(text)
            return cls(raw["project"], tuple(_view_of(view) for view in raw["views"]))
        except (KeyError, TypeError, ValueError) as error:
            raise PlanError(f"this is not a read plan: {type(error).__name__}: {error}") from error


def compile_plan(
    registry: Any,
    *,
    project: str,
    features: "FeatureService | list[str]",
    full_feature_names: bool = False,
    versioned: bool = False,
) -> ReadPlan:
    """Resolve a feature service or feature references as Feast does; errors of the registry pass through.

    `versioned` says that online tables carry the version of their view. Raises PlanError for on-demand views, mapped
    join keys, references to a version, views without entity and join keys that are neither text nor integer.
    """
    from feast.utils import _get_online_request_context

    resolved = _get_online_request_context(registry, project, features, full_feature_names)
    on_demand, types, grouped = resolved[1], resolved[3], resolved[5]
    if on_demand:
        raise PlanError(f"{', '.join(v.name for v in on_demand)}: on-demand features are computed, not read")
    views = []
    for table, names in grouped:
        wanted = cast("list[str]", names)
        views.append(_planned(table, wanted, types, full_names=full_feature_names, versioned=versioned))
    return ReadPlan(project, tuple(views))


def _planned(
    table: Any, names: list[str], types: Mapping[str, Any], *, full_names: bool, versioned: bool
) -> PlannedView:
    from feast.infra.online_stores.helpers import compute_versioned_name

    shown = table.projection.name_to_use()
    if table.projection.join_key_map:
        raise PlanError(f"feature view {shown}: its join keys are mapped, {table.projection.join_key_map}")
    if getattr(table.projection, "version_tag", None) is not None:
        raise PlanError(f"feature view {shown}: asked for by version")
    columns = {f.name: f.dtype.to_value_type().name for f in table.features}
    return PlannedView(
        name=shown,
        stored=compute_versioned_name(table, versioned),
        keys=EntityKeyLayout.of({key: _kind(shown, key, types) for key in table.join_keys}),
        ttl_us=round(table.ttl.total_seconds() * 1e6) if table.ttl else None,
        features=tuple(PlannedFeature(n, f"{shown}__{n}" if full_names else n, columns[n]) for n in names),
    )


def _kind(view: str, key: str, types: Mapping[str, Any]) -> KeyKind:
    name = types[key].name if key in types else "unknown"
    if name not in _KEY_KINDS:
        raise PlanError(f"feature view {view}: join key {key} is {name}, only {', '.join(_KEY_KINDS)} are read by plan")
    return _KEY_KINDS[name]


def _view_of(raw: Mapping[str, Any]) -> PlannedView:
    return PlannedView(
        name=raw["name"],
        stored=raw["stored"],
        keys=EntityKeyLayout(tuple((name, kind) for name, kind in raw["keys"]["kinds"])),
        ttl_us=raw["ttl_us"],
        features=tuple(PlannedFeature(**feature) for feature in raw["features"]),
    )
