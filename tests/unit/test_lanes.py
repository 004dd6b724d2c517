"""What a lane does with the outcome of an attempt: what memory can hold is kept, every loss is counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from claude_monitoring._bounds import Bounds
from claude_monitoring._catalog import MetricSpec
from claude_monitoring._health import HealthCounters
from claude_monitoring._lanes import BufferLane, Lane
from claude_monitoring._metrics_lane import MetricsLane
from claude_monitoring._series import SumSeries
from claude_monitoring._store import Store
from claude_monitoring._targets import Target
from claude_monitoring._worker import Worker
from claude_monitoring.types import AttributeValue, ExportResult, Temporality

OK = ExportResult(ok=True)
BUSY = ExportResult(ok=False, error="503: busy", retryable=True)
LATE = ExportResult(ok=False, error="no answer in time", retryable=True, uncertain=True)
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


def buffer_lane(exporter: Scripted) -> BufferLane:
    return BufferLane("logs", "scripted", lambda: exporter, 60.0, {}, HealthCounters(), Target("scripted"))


def metrics_lane(exporter: Scripted) -> tuple[MetricsLane, SumSeries]:
    store = Store(Bounds(max_series=10))
    series = store.instrument(MetricSpec("claude.x", "counter", "", "")).series((), ())
    assert isinstance(series, SumSeries)
    return MetricsLane(store, "scripted", lambda: exporter, 60.0, {}, HealthCounters(), Target("scripted")), series


def soon(seconds: float = 10) -> float:
    return time.monotonic() + seconds


def flush(lane: Lane, seconds: float = 10) -> bool:
    """As a worker does it."""
    worker = Worker("test-worker", [lane])
    return worker.wait_flushed(worker.ask_flush(soon(seconds)), soon(seconds))


def points(exporter: Scripted) -> list[tuple[float, int, int]]:
    """Value, start and end of the one point of each batch."""
    metrics = [batch.resource_metrics[0].scope_metrics[0].metrics[0] for batch in exporter.batches]
    found = [metric.data.data_points[0] for metric in metrics]
    return [(point.value, point.start_time_unix_nano, point.time_unix_nano) for point in found]


def test_a_busy_far_side_gets_the_same_batch_again_until_it_takes_it() -> None:
    exporter = Scripted(BUSY, BUSY, OK)
    lane = buffer_lane(exporter)
    for item in "abc":
        lane.put(item)
    assert flush(lane)
    assert exporter.batches == [["a", "b", "c"]] * 3
    assert lane.exports == {"failed": 2, "ok": 1}
    state = lane.health()
    assert (state.sent, state.consecutive_failures, state.last_error, state.waiting) == (3, 0, "", 0)


def test_what_is_refused_for_good_is_dropped_and_counted() -> None:
    exporter = Scripted(REFUSED)
    lane = buffer_lane(exporter)
    lane.put("a")
    lane.put("b")
    assert not flush(lane)
    state = lane.health()
    assert (state.sent, state.refused, state.waiting) == (0, 2, 0)
    assert state.dropped == {"export_failed": 2}
    assert state.last_error == "400: malformed"


@pytest.mark.parametrize("fault", [BUSY, LATE])
def test_after_a_failed_attempt_the_same_batch_comes_again_and_then_what_is_new(fault: ExportResult) -> None:
    exporter = Scripted(fault, OK)
    lane = buffer_lane(exporter)
    lane.put("a")
    assert not lane.attempt(1).ok
    lane.put("b")
    assert flush(lane)
    assert exporter.batches == [["a"], ["a"], ["b"]]


def test_a_full_buffer_drops_the_oldest_and_says_how_many() -> None:
    exporter = Scripted(OK)
    lane = buffer_lane(exporter)
    for item in range(10_005):
        lane.put(item)
    assert not flush(lane)  # five that were recorded before it were lost
    assert flush(lane)
    sent = [item for batch in exporter.batches for item in batch]
    assert sent == list(range(5, 10_005))
    assert lane.health().dropped == {"queue_full": 5}


def test_partial_success_is_counted_told_and_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Scripted(ExportResult(ok=True, rejected=2, error="2 records are too old"))
    lane = buffer_lane(exporter)
    for item in "abc":
        lane.put(item)
    assert not flush(lane)
    assert len(exporter.batches) == 1
    assert lane.health().dropped == {"rejected": 2}
    assert (lane.health().sent, lane.health().refused) == (1, 2)
    assert "too old" in caplog.text


def test_failing_and_recovering_are_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Scripted(BUSY, BUSY, BUSY, OK)
    lane = buffer_lane(exporter)
    lane.put("a")
    for _ in range(4):
        lane.attempt(1)
    failed, works = (record.message for record in caplog.records)
    assert "503: busy" in failed
    assert "works again" in works


def test_an_exporter_that_raises_is_a_failed_attempt() -> None:
    exporter = Scripted(RuntimeError("no disk"))
    lane = buffer_lane(exporter)
    lane.put("a")
    assert not flush(lane)
    assert lane.health().last_error == "RuntimeError: no disk"


def test_an_exporter_that_cannot_be_made_is_told_once_and_the_lane_is_off(caplog: pytest.LogCaptureFixture) -> None:
    def make() -> Scripted:
        raise FileNotFoundError("ca.pem is missing")

    lane = BufferLane("traces", "otlp", make, 60.0, {}, HealthCounters(), Target("otlp"))
    lane.put("a")
    assert not flush(lane)
    assert not flush(lane)
    assert len(caplog.records) == 1
    assert "ca.pem is missing" in caplog.text
    assert lane.health().name == "otlp"
    assert "ca.pem is missing" in lane.health().last_error


def test_an_exporter_that_raises_while_it_closes_is_its_own_affair(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(Scripted):
        def close(self) -> None:
            raise OSError("already gone")

    lane = buffer_lane(Stubborn(OK))
    lane.put("a")
    assert flush(lane)
    lane.close()
    assert caplog.records == []


def test_a_closed_lane_delivers_nothing_more() -> None:
    exporter = Scripted(OK)
    lane = buffer_lane(exporter)
    lane.close()
    lane.put("a")
    assert not flush(lane)
    assert exporter.batches == []


def test_no_attempt_gets_more_time_than_the_flush_has_left() -> None:
    exporter = Scripted(OK)
    lane = buffer_lane(exporter)
    lane.put("a")
    flush(lane, 3)
    assert 0 < exporter.timeouts[0] <= 3


def test_a_lane_whose_time_is_over_tells_whether_anything_waits() -> None:
    lane = buffer_lane(Scripted(OK))
    assert flush(lane, -1)
    lane.put("a")
    assert not flush(lane, -1)


def test_exports_stay_on_the_beat_and_after_a_failure_come_sooner() -> None:
    exporter = Scripted(OK)
    lane = buffer_lane(exporter)
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


def test_a_far_side_that_asks_for_a_long_pause_gets_it_also_from_a_flush_but_not_from_the_last_one() -> None:
    exporter = Scripted(ExportResult(ok=False, retryable=True, retry_after_s=500), OK)
    lane = buffer_lane(exporter)
    lane.put("a")
    lane.next_due = 0
    lane.tick(time.monotonic())
    assert lane.next_due > soon(400)
    assert not flush(lane)
    assert len(exporter.batches) == 1
    worker = Worker("test-worker", [lane])
    assert worker.wait_flushed(worker.ask_flush(soon(), closing=True), soon())


def test_metrics_that_were_refused_are_in_the_next_interval() -> None:
    exporter = Scripted(OK, REFUSED, BUSY, OK)
    lane, series = metrics_lane(exporter)
    for amount in (1, 2, 4, 8):
        series.add(amount)
        lane.attempt(1)
    (_, _, first_end), *_, (value, start, _) = points(exporter)
    assert [value for value, _, _ in points(exporter)] == [1, 2, 6, 14]
    assert (value, start) == (14, first_end)


def test_a_delta_begins_where_the_last_one_of_its_series_ended_whatever_lies_between() -> None:
    exporter = Scripted(OK)
    lane, busy = metrics_lane(exporter)
    idle = lane._store.instrument(MetricSpec("claude.y", "counter", "", "")).series((), ())
    assert isinstance(idle, SumSeries)
    for amount in (1, 0, 4):
        busy.add(1)
        idle.add(amount)
        lane.attempt(1)
    of_idle = [
        point
        for batch in exporter.batches
        for metric in batch.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "claude.y"
        for point in metric.data.data_points
    ]
    assert [point.value for point in of_idle] == [1, 4]
    assert of_idle[1].start_time_unix_nano == of_idle[0].time_unix_nano


def test_a_delta_of_unknown_outcome_comes_again_as_it_was_and_the_rest_after_it() -> None:
    exporter = Scripted(OK, LATE, BUSY, LATE, OK)
    lane, series = metrics_lane(exporter)
    for amount in (1, 2, 4, 8, 16, 32):
        series.add(amount)
        lane.attempt(1)
    first, second, *repeats, last = points(exporter)
    assert repeats == [second] * 3
    assert [second[0], last[0]] == [2, 60]
    assert (second[1], last[1]) == (first[2], second[2])


def test_a_delta_that_may_have_arrived_and_is_refused_then_joins_no_other_and_holds_nothing_up_for_ever() -> None:
    exporter = Scripted(LATE, *[REFUSED] * 10, OK)
    lane, series = metrics_lane(exporter)
    series.add(1)
    for _ in range(11):
        lane.attempt(1)
    assert points(exporter) == [points(exporter)[0]] * 11
    assert set(lane.health().dropped) == {"export_failed"}
    series.add(2)
    lane.attempt(1)
    assert (points(exporter)[-1][0], points(exporter)[-1][1]) == (2, points(exporter)[0][2])
    assert lane.health().waiting == 0


def test_a_flush_sends_what_was_recorded_after_the_delta_of_unknown_outcome_too() -> None:
    exporter = Scripted(LATE, OK)
    lane, series = metrics_lane(exporter)
    series.add(1)
    lane.attempt(1)
    series.add(2)
    assert flush(lane)
    assert [value for value, _, _ in points(exporter)] == [1, 1, 2]


def test_what_is_refused_of_a_delta_in_several_requests_joins_the_next_interval_alone() -> None:
    exporter = Scripted(OK, ExportResult(ok=False, refused=(range(1, 2),)), OK)
    lane, series = metrics_lane(exporter)
    other = series.home.series((), (("k", "v"),))
    assert isinstance(other, SumSeries)
    for amount in (1, 2, 4):
        series.add(amount)
        other.add(amount * 10)
        lane.attempt(1)
    found = [
        {bool(point.attributes): (point.value, point.start_time_unix_nano) for point in metric.data.data_points}
        for batch in exporter.batches
        for metric in batch.resource_metrics[0].scope_metrics[0].metrics[:1]
    ]
    ends = [end for _, _, end in points(exporter)]
    assert found[2] == {False: (4, ends[1]), True: (60, ends[0])}


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_a_flush_after_a_refused_interval_delivers_all_of_it(temporality: Temporality) -> None:
    exporter = Scripted(REFUSED, OK)
    exporter.temporality = temporality
    lane, series = metrics_lane(exporter)
    series.add(1)
    lane.attempt(1)
    assert lane.health().waiting == 0
    assert flush(lane)
    assert [value for value, _, _ in points(exporter)] == [1, 1]


def test_a_burst_does_not_wait_for_the_interval() -> None:
    exporter = Scripted(OK)
    lane = buffer_lane(exporter)
    worker = Worker("test-worker", [lane])
    worker.start()
    deadline = soon()
    for item in range(100_000):  # ten buffers full, one after another
        lane.put(item)
        while item % 2_000 == 1_999 and lane.waiting() and time.monotonic() < deadline:
            time.sleep(0)
    state = lane.health()
    worker.stop(soon())
    assert (state.sent, state.dropped) == (100_000, {})


def test_two_signals_that_fail_alike_at_one_endpoint_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    target = Target("otlp http://h:4318")
    target.failed("metrics", "nothing listens on h:4318")
    target.failed("logs", "nothing listens on h:4318")
    target.works("logs")
    target.failed("logs", "http://h:4318/v1/logs answered 404")
    target.works("metrics")
    target.works("logs")
    told = [record.message for record in caplog.records]
    assert [("metrics" in line, "logs" in line, "works again" in line) for line in told] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]


def test_a_broken_connection_that_looks_different_to_two_signals_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    target = Target("otlp http://h:4317")
    target.failed("metrics", "h:4317 does not speak HTTP/1.1", unreached=True)
    target.failed("logs", "h:4317 closed the connection", unreached=True)
    target.works("metrics")
    target.works("logs")
    assert ["works again" in record.message for record in caplog.records] == [False, True]


def test_a_flush_waits_for_the_worker_and_tells_whether_all_was_taken() -> None:
    exporter = Scripted(OK)
    lane = buffer_lane(exporter)
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
    lane = buffer_lane(exporter)
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

    lane = buffer_lane(Hanging(OK))
    worker = Worker("test-worker", [lane])
    worker.start()
    lane.put("a")
    worker.ask_flush(soon())
    assert entered.wait(10)
    worker.stop(soon(0.05))
    assert released.is_set()
