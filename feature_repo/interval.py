"""Which interval a materialisation covers: never past business time, never one that starts after it ends."""

import dataclasses
from datetime import datetime
from typing import Literal

from feast.infra.common.materialization_job import MaterializationTask

from poplift.clock import present


class FutureIntervalError(Exception):
    """A materialisation was asked for beyond what is known; nothing was written."""


def known_interval(task: MaterializationTask, *, business_time: datetime | Literal["now"]) -> MaterializationTask:
    """The task with a start that can hold rows; raises FutureIntervalError when it ends after business time.

    Feast's first `materialize-incremental` starts at wall-clock now - ttl, which lies after the end in business time
    and would silently write nothing; such a start becomes end - ttl.
    """
    end = task.end_time
    known_until = present(business_time)
    if end > known_until:
        raise FutureIntervalError(
            f"{task.feature_view.name}: asked to materialise until {end:%Y-%m-%dT%H:%M:%S}, but data is known "
            f"until {known_until:%Y-%m-%dT%H:%M:%S} (business time). A later end would move the watermark past "
            f"data still to come. Use: feast -c feature_repo materialize-incremental {known_until:%Y-%m-%dT%H:%M:%S}"
        )
    if task.start_time < end:
        return task
    return dataclasses.replace(task, start_time=end - task.feature_view.ttl)


def start_within_age(task: MaterializationTask) -> datetime:
    """Where to start so that nothing young enough is missed: the start asked for, or the age limit before the end.

    A row about a time before the last run that became known only after it would otherwise never be written.
    """
    start: datetime = task.start_time
    ttl = task.feature_view.ttl
    return min(start, task.end_time - ttl) if ttl else start
