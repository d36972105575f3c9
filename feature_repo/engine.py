"""Feast's local materialisation in business time: an interval that starts in 2026 and ends in 2018 is repaired."""

import dataclasses
from typing import Any

from feast.infra.common.materialization_job import MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine, LocalComputeEngineConfig
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.registry.base_registry import BaseRegistry
from pydantic import AwareDatetime


class FutureIntervalError(Exception):
    """A materialisation was asked for beyond what is known; nothing was written."""


class BusinessTimeEngineConfig(LocalComputeEngineConfig):  # type: ignore[misc]
    """Named in feature_store.yaml as `batch_engine`; `business_time` is rendered from the settings."""

    type: str = "feature_repo.engine.BusinessTimeEngine"
    business_time: AwareDatetime


class BusinessTimeEngine(LocalComputeEngine):  # type: ignore[misc]
    """Feast's first `materialize-incremental` starts at wall-clock now - ttl and would silently write nothing."""

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any
    ) -> LocalMaterializationJob:
        end = task.end_time
        business_time = self.repo_config.batch_engine.business_time
        if end > business_time:
            raise FutureIntervalError(
                f"{task.feature_view.name}: asked to materialise until {end:%Y-%m-%dT%H:%M:%S}, but data is known "
                f"until {business_time:%Y-%m-%dT%H:%M:%S} (business time). A later end would move the watermark past "
                f"data still to come. Use: feast -c feature_repo materialize-incremental {business_time:%Y-%m-%dT%H:%M:%S}"  # noqa: E501 # one line to copy
            )
        if task.start_time >= end:
            task = dataclasses.replace(task, start_time=end - task.feature_view.ttl)
        return super()._materialize_one(registry, task, **kwargs)
