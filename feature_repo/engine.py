"""Feast's local materialisation in business time: the newest row per entity, in columns, in bounded memory."""

from typing import Any, Literal

from feast import FeatureView
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine, LocalComputeEngineConfig
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.registry.base_registry import BaseRegistry
from pydantic import AwareDatetime

from feature_repo.interval import known_interval, start_within_age
from feature_repo.latest_rows import latest_rows
from feature_repo.offline.parquet_source import ParquetSource, is_parquet
from feature_repo.online.batch import KEY_KINDS, OnlineBatch
from feature_repo.online.guard import GuardedStore
from poplift.clock import present


class BusinessTimeEngineConfig(LocalComputeEngineConfig):  # type: ignore[misc]
    """Named in feature_store.yaml as `batch_engine`; `business_time` is rendered from the settings."""

    type: str = "feature_repo.engine.BusinessTimeEngine"
    business_time: AwareDatetime | Literal["now"]


class BusinessTimeEngine(LocalComputeEngine):  # type: ignore[misc]
    """Feast's local engine that asks for known intervals only, and writes columns where the view is plain.

    Views with a transformation, other sources than local Parquet and other online stores go Feast's own way.
    """

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any
    ) -> LocalMaterializationJob:
        known = known_interval(task, business_time=self.repo_config.batch_engine.business_time)
        if not self._is_plain(known):
            return super()._materialize_one(registry, known, **kwargs)
        job = f"{known.feature_view.name}-{known.start_time}-{known.end_time}"
        try:
            self._write_latest(known)
        except Exception as error:  # noqa: BLE001 # Feast's engines hand every error back in the job, and it is raised there
            return LocalMaterializationJob(job_id=job, status=MaterializationJobStatus.ERROR, error=error)
        return LocalMaterializationJob(job_id=job, status=MaterializationJobStatus.SUCCEEDED)

    def _is_plain(self, task: MaterializationTask) -> bool:
        view = task.feature_view
        return (
            isinstance(self.online_store, GuardedStore)
            and type(view) is FeatureView
            and view.online
            and not view.offline
            and is_parquet(view.batch_source)
            and "://" not in view.batch_source.path
            and len(view.entity_columns) > 0
            and all(field.dtype.to_value_type() in KEY_KINDS for field in view.entity_columns)
            and not task.disable_event_timestamp
        )

    def _write_latest(self, task: MaterializationTask) -> None:
        """Write the newest row of every entity, batch by batch; what a killed run wrote is written again unchanged."""
        view, config = task.feature_view, self.repo_config
        start, known_by = start_within_age(task), present(config.batch_engine.business_time)
        source = ParquetSource(view.name, view.batch_source, str(config.repo_path))
        with latest_rows(view, source, start=start, end=task.end_time, known_by=known_by) as latest:
            bar = task.tqdm_builder(latest.count) if task.tqdm_builder else None
            batches = (OnlineBatch.of_table(view, batch) for batch in latest.batches)
            for report in self.online_store.write_each(config, view, batches):
                if bar is not None:
                    bar.update(report.given)
            if bar is not None:
                bar.close()
