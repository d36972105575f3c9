"""The decision log never blocks a request and loses nothing that it took."""

import json
import resource
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from serving.decision_log import DecisionLog, decision_ids
from serving.metrics import Metrics


def lines(folder: Path) -> list[int]:
    return [json.loads(line)["n"] for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]


def value(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value(name) or 0.0


def test_everything_queued_is_on_disk_after_close(tmp_path: Path) -> None:
    metrics = Metrics()
    log = DecisionLog(tmp_path / "decisions", metrics=metrics)
    log.start()
    for start in range(0, 3000, 3):
        assert log.append([{"n": n} for n in range(start, start + 3)])
    log.close()
    assert lines(tmp_path / "decisions") == list(range(3000))
    assert value(metrics, "poplift_decisions_written_total") == 3000


def test_many_threads_lose_and_double_nothing(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path, metrics=Metrics())
    log.start()
    threads = [
        threading.Thread(target=lambda k=k: [log.append([{"n": 500 * k + n}]) for n in range(500)]) for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert sorted(lines(tmp_path)) == list(range(2000))


def test_a_full_queue_drops_and_counts_and_does_not_wait(tmp_path: Path) -> None:
    metrics = Metrics()
    log = DecisionLog(tmp_path, metrics=metrics, capacity=10)
    assert log.append([{"n": n} for n in range(10)])
    began = time.perf_counter()
    assert not log.append([{"n": 10}, {"n": 11}])
    assert time.perf_counter() - began < 0.1
    assert value(metrics, "poplift_decisions_dropped_total") == 2
    log.start()
    log.close()
    assert lines(tmp_path) == list(range(10))


def test_a_failed_write_is_tried_again_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    log = DecisionLog(tmp_path, metrics=metrics)
    monkeypatch.setattr("serving.decision_log.RETRY_SECONDS", 0.01)
    write, failures = log._write, iter([OSError(28, "No space left on device")] * 2)

    def failing(text: str) -> None:
        error = next(failures, None)
        if error is not None:
            raise error
        write(text)

    monkeypatch.setattr(log, "_write", failing)
    log.start()
    log.append([{"n": 1}])
    deadline = time.monotonic() + 5
    while not lines(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    log.close()
    assert lines(tmp_path) == [1]
    assert value(metrics, "poplift_decision_log_errors_total") == 2
    assert value(metrics, "poplift_decisions_dropped_total") == 0


def test_a_disk_that_is_full_is_not_filled_by_trying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    metrics = Metrics()
    log = DecisionLog(tmp_path, metrics=metrics)
    monkeypatch.setattr("serving.decision_log.RETRY_SECONDS", 0.01)
    log.start()
    rows = [{"n": n, "text": "x" * 1000} for n in range(100)]
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        assert log.append(rows)
        deadline = time.monotonic() + 5
        while value(metrics, "poplift_decision_log_errors_total") < 5:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 50_000
        assert len(list(tmp_path.iterdir())) <= 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    log.close()
    assert lines(tmp_path) == list(range(100))
    assert value(metrics, "poplift_decisions_dropped_total") == 0


def test_two_processes_never_share_a_file(tmp_path: Path) -> None:
    for n in range(2):
        log = DecisionLog(tmp_path, metrics=Metrics())
        log.start()
        log.append([{"n": n}])
        log.close()
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


def test_a_day_has_files_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime

    days: Any = iter([datetime(2018, 1, 1, 23, tzinfo=UTC), datetime(2018, 1, 2, 1, tzinfo=UTC)])
    monkeypatch.setattr("poplift.clock.wall_now", lambda: next(days))
    log = DecisionLog(tmp_path, metrics=Metrics())
    log._write(b'{"n":1}\n')
    log._write(b'{"n":2}\n')
    log._forget_file()
    assert sorted(p.name[:10] for p in tmp_path.glob("*.jsonl")) == ["2018-01-01", "2018-01-02"]


def test_decision_ids_are_random_uuids_and_no_two_are_the_same():
    drawn = decision_ids(2000)
    parsed = [uuid.UUID(one) for one in drawn]
    assert [str(one) for one in parsed] == drawn
    assert {(one.version, one.variant) for one in parsed} == {(4, uuid.RFC_4122)}
    assert len(set(drawn)) == 2000
    assert decision_ids(0) == []
