"""Feast's local materialisation in business time."""

from typing import Any, Literal

from feast.infra.common.materialization_job import MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine, LocalComputeEngineConfig
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.registry.base_registry import BaseRegistry
from pydantic import AwareDatetime

from feature_repo.interval import known_interval


class BusinessTimeEngineConfig(LocalComputeEngineConfig):  # type: ignore[misc]
    """Named in feature_store.yaml as `batch_engine`; `business_time` is rendered from the settings."""

    type: str = "feature_repo.engine.BusinessTimeEngine"
    business_time: AwareDatetime | Literal["now"]


class BusinessTimeEngine(LocalComputeEngine):  # type: ignore[misc]
    """Feast's local engine that asks for known intervals only."""

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any
    ) -> LocalMaterializationJob:
        known = known_interval(task, business_time=self.repo_config.batch_engine.business_time)
        return super()._materialize_one(registry, known, **kwargs)
