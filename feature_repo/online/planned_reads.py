"""The reading half of poplift's online stores: Feast's own entry points, served by compiled plans."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import numpy as np
from feast import FeatureService
from feast.infra.online_stores.online_store import OnlineStore
from feast.online_response import OnlineResponse

from feature_repo.online.current_plans import CurrentPlans
from feature_repo.online.decoding import Status
from feature_repo.online.feast_answer import answer
from feature_repo.online.plan import PlanError, ReadPlan, compile_plan
from feature_repo.online.reader import EntityError, PlanReader, StoredValues
from feature_repo.online.rules import usable


class PlannedReads(OnlineStore):  # type: ignore[misc]
    """Goes before a Feast online store class, which says by `stored_values` how its bytes are read.

    What a plan cannot serve (on-demand views, mapped join keys, views by version, entity values of other types)
    is read by Feast's own way.
    """

    _plans: CurrentPlans | None = None
    _stored: StoredValues | None = None

    @abstractmethod
    def stored_values(self, config: Any) -> StoredValues:
        """The raw read of this store; asked for once."""

    def reader(self, config: Any, registry: Any, *, project: str, service: str) -> PlanReader:
        """A reader of the feature service of this name; errors of the registry and PlanError pass through."""
        compiled = _compiler(config, registry, project, service)
        plans = self._current(config, registry)
        plans.get((project, service), compiled)
        return self._reader(config, lambda: plans.get((project, service), compiled))

    def read_plans(self, config: Any, registry: Any) -> dict[str, str]:
        """Compiled plans of all feature services that a plan can read, by name, as text."""
        plans = {}
        for service in registry.list_feature_services(config.project):
            with suppress(PlanError):  # computed at request time, or read by Feast's own way
                plans[service.name] = _compiler(config, registry, config.project, service)().to_json()
        return plans

    def get_online_features(  # noqa: PLR0917 - Feast's signature
        self,
        config: Any,
        features: list[str] | FeatureService,
        entity_rows: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> OnlineResponse:
        """Feast's read, under the contract of `reader`: values, statuses and event times."""
        if not include_feature_view_version_metadata:
            try:
                plan = self._plan(config, registry, project, features, full_feature_names)
                columns = _columns(plan, entity_rows)
                return answer(self._reader(config, lambda: plan).find(plan, columns), columns)
            except (PlanError, EntityError):
                pass
        return super().get_online_features(
            config,
            features,
            entity_rows,
            registry,
            project,
            full_feature_names,
            include_feature_view_version_metadata,
        )

    async def get_online_features_async(self, *args: Any, **kwargs: Any) -> OnlineResponse:
        """The same in a thread."""
        return await asyncio.to_thread(self.get_online_features, *args, **kwargs)

    def _read_features_per_fv(  # noqa: PLR0917 - Feast's signature
        self,
        config: Any,
        grouped_refs: Sequence[tuple[Any, list[str]]],
        join_key_values: Any,
        entity_name_to_join_key_map: Any,
        online_features_response: Any,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        # Feast's own way, a view at a time by `online_read`, which withholds values; the statuses say why.
        start = len(online_features_response.results)
        OnlineStore._read_features_per_fv(  # noqa: SLF001 - the stores' own ways batch past `online_read`
            self,
            config,
            grouped_refs,
            join_key_values,
            entity_name_to_join_key_map,
            online_features_response,
            full_feature_names,
            include_feature_view_version_metadata,
        )
        for view, features in grouped_refs:
            for vector in online_features_response.results[start : start + len(features)]:
                _say_why(vector, view.ttl, config.online_store)
            start += len(features)

    def _plan(self, config: Any, registry: Any, project: str, features: Any, full_names: bool) -> ReadPlan:
        compiled = _compiler(config, registry, project, features, full_names=full_names)
        return self._current(config, registry).get((project, full_names, _asked(features)), compiled)

    def _current(self, config: Any, registry: Any) -> CurrentPlans:
        if self._plans is None:
            self._plans = CurrentPlans(
                registry.refresh,
                version=lambda: registry.cached_registry_proto_created,
                every=config.registry.cache_ttl_seconds or None,
            )
        return self._plans

    def _reader(self, config: Any, plan: Callable[[], ReadPlan]) -> PlanReader:
        if self._stored is None:
            self._stored = self.stored_values(config)
        online = config.online_store
        return PlanReader(
            plan, self._stored, present_us=online.present_us, skew_us=round(online.allowed_skew_seconds * 1e6)
        )


def _compiler(
    config: Any, registry: Any, project: str, features: Any, *, full_names: bool = False
) -> Callable[[], ReadPlan]:
    def compiled() -> ReadPlan:
        by_name = isinstance(features, str)
        asked = registry.get_feature_service(features, project, allow_cache=True) if by_name else features
        versioned = config.registry.enable_online_feature_view_versioning
        return compile_plan(
            registry, project=project, features=asked, full_feature_names=full_names, versioned=versioned
        )

    return compiled


def _asked(features: list[str] | FeatureService) -> Hashable:
    if isinstance(features, list):
        return tuple(features)
    if getattr(features, "precompute_online", False):
        raise PlanError(f"feature service {features.name} is read as vectors computed before")
    projections = features.feature_view_projections
    if any(p.join_key_map for p in projections):
        raise PlanError(f"feature service {features.name} maps join keys")
    return (features.name, *((p.name_to_use(), *(f.name for f in p.features)) for p in projections))


def _columns(plan: ReadPlan, rows: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    """Values per join key, in the order of the rows' own keys; raises EntityError for rows only Feast can judge."""
    if isinstance(rows, Mapping):
        columns = dict(rows)
    else:
        names = rows[0].keys() if rows else ()
        if any(row.keys() != names for row in rows):
            raise EntityError("the rows differ in their keys")
        columns = {name: [row[name] for row in rows] for name in names}
    lengths = {len(column) if isinstance(column, list) else 0 for column in columns.values()}
    if columns.keys() != plan.join_keys.keys() or len(lengths) != 1 or not min(lengths):
        raise EntityError(f"the rows give {', '.join(columns)}, the plan wants {', '.join(plan.join_keys)}")
    return columns


def _say_why(vector: Any, ttl: timedelta | None, contract: Any) -> None:
    """Replace the status of values that are withheld or null."""
    events = np.array([time.ToMicroseconds() for time in vector.event_timestamps], dtype=np.int64)
    fresh = usable(events, oldest_us=contract.oldest_us(ttl), latest_us=contract.latest_us())
    for row, value in enumerate(vector.values):
        if vector.statuses[row] == Status.PRESENT and value.WhichOneof("val") is None:
            vector.statuses[row] = Status.NULL_VALUE if fresh[row] else Status.OUTSIDE_MAX_AGE
