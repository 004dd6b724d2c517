"""What a lane does with the outcome of an attempt: what memory can hold is kept, every loss is counted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from claude_monitoring._bounds import Bounds
from claude_monitoring._catalog import MetricSpec
from claude_monitoring._health import Health, HealthCounters
from claude_monitoring._lanes import BufferLane, MetricsLane
from claude_monitoring._series import SumSeries
from claude_monitoring._store import Store
from claude_monitoring._worker import Worker
from claude_monitoring.types import AttributeValue, ExportResult, Temporality

OK = ExportResult(ok=True)
BUSY = ExportResult(ok=False, error="503: busy", retryable=True)
REFUSED = ExportResult(ok=False, error="400: malformed")


class Scripted:
    """An exporter with given answers; the last one stays."""

    name = "scripted"
    temporality: Temporality = "delta"

    def __init__(self, *answers: ExportResult | Exception) -> None:
        self.answers = list(answers)
        self.batches: list[Any] = []
        self.timeouts: list[float] = []
        self.closed = 0

    def export(self, batch: Any, resource: Mapping[str, AttributeValue], timeout_s: float) -> ExportResult:
        self.batches.append(list(batch) if isinstance(batch, Sequence) else batch)
        self.timeouts.append(timeout_s)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed += 1


def buffer_lane(exporter: Scripted) -> tuple[BufferLane, HealthCounters]:
    health = HealthCounters()
    return BufferLane("logs", "scripted", lambda: exporter, 60.0, {}, health), health


def report(health: HealthCounters) -> Health:
    return health.snapshot(enabled=True, exporters=(), series=0)


def soon(seconds: float = 10) -> float:
    return time.monotonic() + seconds


def test_a_busy_far_side_gets_the_same_batch_again_until_it_takes_it() -> None:
    exporter = Scripted(BUSY, BUSY, OK)
    lane, health = buffer_lane(exporter)
    for item in "abc":
        lane.put(item)
    assert lane.drain(soon())
    assert exporter.batches == [["a", "b", "c"]] * 3
    assert report(health).exports == {("logs scripted", "failed"): 2, ("logs scripted", "ok"): 1}
    assert report(health).ok


def test_what_is_refused_for_good_is_dropped_and_counted() -> None:
    exporter = Scripted(REFUSED)
    lane, health = buffer_lane(exporter)
    lane.put("a")
    lane.put("b")
    assert not lane.drain(soon())
    assert not lane.has_batch()
    assert report(health).dropped == {"export_failed": 2}
    assert report(health).last_error == {"logs scripted": "400: malformed"}


def test_items_that_arrive_during_a_failed_attempt_go_after_the_waiting_ones() -> None:
    exporter = Scripted(BUSY, OK)
    lane, _ = buffer_lane(exporter)
    lane.put("a")
    assert not lane.attempt(1).ok
    lane.put("b")
    assert lane.drain(soon())
    assert exporter.batches[-1] == ["a", "b"]


def test_a_full_buffer_drops_the_oldest_and_says_how_many() -> None:
    exporter = Scripted(OK)
    lane, health = buffer_lane(exporter)
    for item in range(10_005):
        lane.put(item)
    assert lane.drain(soon())
    sent = [item for batch in exporter.batches for item in batch]
    assert sent == list(range(5, 10_005))
    assert report(health).dropped == {"queue_full": 5}


def test_partial_success_is_counted_told_and_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Scripted(ExportResult(ok=True, rejected=2, error="2 records are too old"))
    lane, health = buffer_lane(exporter)
    for item in "abc":
        lane.put(item)
    assert not lane.drain(soon())
    assert len(exporter.batches) == 1
    assert report(health).dropped == {"rejected": 2}
    assert "too old" in caplog.text


def test_failing_and_recovering_are_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "claude_monitoring")
    exporter = Scripted(BUSY, BUSY, BUSY, OK)
    lane, _ = buffer_lane(exporter)
    lane.put("a")
    for _ in range(4):
        lane.attempt(1)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "503: busy" in caplog.records[0].message


def test_an_exporter_that_raises_is_a_failed_attempt() -> None:
    exporter = Scripted(RuntimeError("no disk"))
    lane, health = buffer_lane(exporter)
    lane.put("a")
    assert not lane.drain(soon())
    assert report(health).last_error == {"logs scripted": "RuntimeError: no disk"}


def test_an_exporter_that_cannot_be_made_is_told_once_and_the_lane_is_off(caplog: pytest.LogCaptureFixture) -> None:
    def make() -> Scripted:
        raise FileNotFoundError("ca.pem is missing")

    lane = BufferLane("traces", "otlp", make, 60.0, {}, HealthCounters())
    lane.put("a")
    assert not lane.drain(soon())
    assert not lane.drain(soon())
    assert len(caplog.records) == 1
    assert "ca.pem is missing" in caplog.text
    assert lane.exporter_name == "otlp"


def test_an_exporter_that_raises_while_it_closes_is_its_own_affair(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(Scripted):
        def close(self) -> None:
            raise OSError("already gone")

    lane, _ = buffer_lane(Stubborn(OK))
    lane.put("a")
    assert lane.drain(soon())
    lane.close()
    assert caplog.records == []


def test_a_closed_lane_delivers_nothing_more() -> None:
    exporter = Scripted(OK)
    lane, _ = buffer_lane(exporter)
    lane.close()
    lane.put("a")
    assert not lane.drain(soon())
    assert exporter.batches == []


def test_no_attempt_gets_more_time_than_the_flush_has_left() -> None:
    exporter = Scripted(OK)
    lane, _ = buffer_lane(exporter)
    lane.put("a")
    lane.drain(soon(3))
    assert 0 < exporter.timeouts[0] <= 3


def test_a_lane_whose_time_is_over_tells_whether_anything_waits() -> None:
    lane, _ = buffer_lane(Scripted(OK))
    assert lane.drain(time.monotonic() - 1)
    lane.put("a")
    assert not lane.drain(time.monotonic() - 1)


def test_exports_stay_on_the_beat_and_after_a_failure_come_sooner() -> None:
    exporter = Scripted(OK)
    lane, _ = buffer_lane(exporter)
    lane.put("a")
    lane.tick(lane.next_due - 0.001)
    assert exporter.batches == []
    first = lane.next_due = time.monotonic()
    lane.tick(first)
    assert lane.next_due == first + 60.0
    exporter.answers = [BUSY]
    lane.put("b")
    lane.next_due = time.monotonic()
    lane.tick(time.monotonic())
    assert lane.next_due < time.monotonic() + 10
    exporter.answers = [ExportResult(ok=False, retryable=True, retry_after_s=20)]
    lane.next_due = time.monotonic()
    lane.tick(time.monotonic())
    assert time.monotonic() + 10 < lane.next_due <= time.monotonic() + 20


def test_metrics_that_were_not_taken_are_in_the_next_interval() -> None:
    store = Store(Bounds(max_series=10))
    series = store.instrument(MetricSpec("claude.x", "counter", "", "")).series((), ())
    assert isinstance(series, SumSeries)
    exporter = Scripted(OK, REFUSED, OK)
    lane = MetricsLane(store, "scripted", lambda: exporter, 60.0, {}, HealthCounters())
    for amount in (1, 2, 4):
        series.add(amount)
        lane.attempt(1)
    metrics = [batch.resource_metrics[0].scope_metrics[0].metrics[0] for batch in exporter.batches]
    values = [metric.data.data_points[0].value for metric in metrics]
    assert values == [1, 2, 6]  # the second was refused, so its 2 came again with the third's 4


def test_a_flush_waits_for_the_worker_and_tells_whether_all_was_taken() -> None:
    exporter = Scripted(OK)
    lane, _ = buffer_lane(exporter)
    worker = Worker("test-worker", [lane])
    worker.start()
    lane.put("a")
    assert worker.wait_flushed(worker.ask_flush(soon()), soon())
    exporter.answers = [REFUSED]
    lane.put("b")
    assert not worker.wait_flushed(worker.ask_flush(soon()), soon())
    worker.stop(soon())
    assert exporter.closed == 1
    assert "test-worker" not in [thread.name for thread in threading.enumerate()]


def test_a_worker_without_a_thread_flushes_in_the_callers() -> None:
    exporter = Scripted(OK)
    lane, _ = buffer_lane(exporter)
    worker = Worker("test-worker", [lane])
    lane.put("a")
    assert worker.wait_flushed(worker.ask_flush(soon()), soon())
    worker.stop(soon())
    assert (exporter.batches, exporter.closed) == ([["a"]], 1)


def test_stopping_cuts_off_an_exporter_that_hangs() -> None:
    entered, released = threading.Event(), threading.Event()

    class Hanging(Scripted):
        def export(self, batch: Any, resource: Mapping[str, AttributeValue], timeout_s: float) -> ExportResult:
            entered.set()
            released.wait(30)
            return OK

        def close(self) -> None:
            released.set()

    lane, _ = buffer_lane(Hanging(OK))
    worker = Worker("test-worker", [lane])
    worker.start()
    lane.put("a")
    worker.ask_flush(soon())
    assert entered.wait(10)
    worker.stop(soon(0.05))
    assert released.is_set()
