"""What ended is let go: sessions, child monitors, task types, idle series; and what comes later begins anew."""

from __future__ import annotations

import http.client
import socket
import time
from typing import Any

import pytest

from claude_monitoring import AgentMonitor, Settings
from claude_monitoring._bounds import Bounds
from claude_monitoring._catalog import MetricSpec
from claude_monitoring._pauses import CHUNK
from claude_monitoring._pipeline import Pipeline
from claude_monitoring._snapshot import take
from claude_monitoring._store import Store
from claude_monitoring.receiver import OtlpReceiver


def series_of(monitor: AgentMonitor, metric: str) -> list[dict[str, Any]]:
    assert monitor._pipeline is not None
    return [
        series.attributes
        for instrument in monitor._pipeline.store.instruments()
        if instrument.spec.name == metric
        for series in instrument.all_series()
    ]


def exporting(receiver: OtlpReceiver, **options: Any) -> AgentMonitor:
    return AgentMonitor("shop", export_to_grafana=True, endpoint=receiver.http_endpoint, **options)


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_a_session_that_ended_is_let_go_once_it_was_delivered(temporality: str) -> None:
    with OtlpReceiver() as receiver, exporting(receiver, temporality=temporality) as monitor:
        for number in range(20):
            with monitor.session(f"s{number}"):
                monitor.record_usage("claude-sonnet-4-5", 10, 5)
            assert len(series_of(monitor, "claude_code.token.usage")) == 4
            assert monitor.flush()
            assert series_of(monitor, "claude_code.token.usage") == []
        assert receiver.total("claude_code.token.usage") == 20 * 15
        assert receiver.total("claude_code.token.usage", {"session.id": "s7"}) == 15
        assert receiver.total("claude.api.calls") == 20
        (retired,) = [
            one.retired for one in monitor.cardinality_report().metrics if one.name == "claude_code.token.usage"
        ]
        assert retired == 80


def test_a_session_is_kept_while_the_far_side_does_not_have_it() -> None:
    with OtlpReceiver() as receiver, exporting(receiver) as monitor:
        monitor.increment("started")
        receiver.answer(status=400, times=3, signal="metrics")
        with monitor.session("s"):
            monitor.record_commit()
        for _ in range(3):
            assert not monitor.flush()
            assert len(series_of(monitor, "claude_code.commit.count")) == 1
        assert monitor.flush()
        assert series_of(monitor, "claude_code.commit.count") == []
        assert receiver.total("claude_code.commit.count") == 1


def test_a_session_that_is_opened_again_goes_on_or_begins_anew_and_the_sum_is_right() -> None:
    with OtlpReceiver() as receiver, exporting(receiver) as monitor:
        for flushed in (False, True, False):
            with monitor.session("again"):
                monitor.record_commit()
            if flushed:
                assert monitor.flush()
        assert monitor.flush()
        assert receiver.total("claude_code.commit.count", {"session.id": "again"}) == 3


def test_two_sessions_of_one_name_end_with_the_second() -> None:
    with OtlpReceiver() as receiver, exporting(receiver) as monitor:
        one, two = monitor.session("same"), monitor.session("same")
        with one:
            with two:
                monitor.record_commit()
            assert monitor.flush()
            assert len(series_of(monitor, "claude_code.commit.count")) == 1
        assert monitor.flush()
        assert series_of(monitor, "claude_code.commit.count") == []


def test_what_is_recorded_in_a_session_after_its_end_is_delivered_and_let_go_too() -> None:
    with OtlpReceiver() as receiver, exporting(receiver) as monitor:
        session = monitor.session("late")
        with session:
            session_frame = session
        assert monitor.flush()
        session_frame.resume()
        monitor.record_commit()
        session_frame.suspend()
        assert monitor.flush()
        assert series_of(monitor, "claude_code.commit.count") == []
        assert receiver.total("claude_code.commit.count", {"session.id": "late"}) == 1


def test_a_child_that_is_closed_takes_its_series_with_it_and_leaves_the_others() -> None:
    with OtlpReceiver() as receiver, exporting(receiver) as monitor:
        monitor.increment("jobs")
        child, twin = monitor.child("Explore"), monitor.child("explore")
        for one in (child, twin):
            with one.track_task("look", task_type="research"):
                one.record_usage("claude-haiku-4-5", 10, 5)
            one.increment("jobs")
        child.close()
        assert {"agent": "explore"} in series_of(monitor, "claude.jobs")  # the other one is still at work
        twin.close()
        assert monitor.flush()
        assert series_of(monitor, "claude.jobs") == [{"agent": "shop"}]
        assert series_of(monitor, "claude.tasks") == []
        assert series_of(monitor, "claude_code.token.usage") == []
        assert receiver.total("claude.jobs", agent="explore") == 2
        assert receiver.total("claude.tasks", agent="explore", task_type="research") == 2
        again = monitor.child("explore")
        again.increment("jobs")
        assert monitor.flush()
        assert receiver.total("claude.jobs", agent="explore") == 3
        again.close()


def test_a_task_type_is_retired_by_name_and_may_come_back() -> None:
    with OtlpReceiver() as receiver, exporting(receiver) as monitor:

        @monitor.track_task(task_type="import")
        def task() -> None:
            """Nothing."""

        for _ in range(3):
            task()
        with monitor.track_task("x", task_type="feature"):
            pass
        monitor.retire({"task_type": "Import"})
        assert monitor.flush()
        assert {labels["task_type"] for labels in series_of(monitor, "claude.tasks")} == {"feature"}
        assert {labels["task_type"] for labels in series_of(monitor, "claude.tasks.active")} == {"feature"}
        task()
        assert monitor.flush()
        assert receiver.total("claude.tasks", task_type="import") == 4
        assert receiver.total("claude.task.duration", task_type="import") == 4
        assert receiver.total("claude.tasks.active", task_type="import") == 0


def test_a_task_under_way_when_its_type_is_retired_is_counted_to_its_end() -> None:
    with OtlpReceiver() as receiver, exporting(receiver) as monitor:
        with monitor.track_task("x", task_type="import"):
            monitor.retire({"task_type": "import"})
            assert monitor.flush()
            assert receiver.total("claude.tasks.active", task_type="import") == 1
        assert monitor.flush()
        assert receiver.total("claude.tasks.active", task_type="import") == 0
        assert receiver.total("claude.tasks", task_type="import") == 1


def test_a_label_that_is_sent_as_a_hash_is_retired_by_its_value() -> None:
    with OtlpReceiver() as receiver, exporting(receiver, private_labels="hash") as monitor:
        monitor.increment("jobs", 1, {"who": "bob@shop.example"})
        monitor.retire({"who": "bob@shop.example"})
        assert monitor.flush()
        assert series_of(monitor, "claude.jobs") == []


@pytest.mark.parametrize("labels", [{}, None, "task_type", 5])
def test_retiring_nothing_does_nothing(labels: Any) -> None:
    with OtlpReceiver() as receiver, exporting(receiver) as monitor:
        monitor.increment("jobs")
        monitor.retire(labels)
        assert monitor.flush()
        assert len(series_of(monitor, "claude.jobs")) == 1


def test_a_handle_and_a_known_call_find_the_new_series_by_themselves() -> None:
    with OtlpReceiver() as receiver, exporting(receiver) as monitor:
        labels = {"tenant": "t1"}
        handles = (
            monitor.counter("jobs", labels),
            monitor.gauge_handle("depth", labels),
            monitor.histogram_handle("wait", labels),
        )
        for _ in range(3):
            handles[0].add(1)
            handles[1].set(2)
            handles[2].record(3)
            monitor.increment("calls", 1, labels)
            monitor.gauge("level", 2, labels)
            monitor.histogram("size", 3, labels)
            monitor.retire(labels)
            assert monitor.flush()
            assert series_of(monitor, "claude.jobs") == series_of(monitor, "claude.size") == []
        assert receiver.total("claude.jobs") == receiver.total("claude.calls") == 3
        assert receiver.total("claude.wait") == receiver.total("claude.size") == 3


def prometheus_pipeline(monkeypatch: pytest.MonkeyPatch) -> AgentMonitor:
    environ = {
        "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
        "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
    }
    return AgentMonitor("shop", settings=Settings.load(environ=environ))


def address(monitor: AgentMonitor) -> tuple[str, int]:
    assert isinstance(monitor._pipeline, Pipeline)
    assert monitor._pipeline.prometheus_address is not None
    return monitor._pipeline.prometheus_address


def scrape(monitor: AgentMonitor, method: str = "GET") -> str:
    connection = http.client.HTTPConnection(*address(monitor), timeout=10)
    connection.request(method, "/metrics")
    body = connection.getresponse().read().decode()
    connection.close()
    return body


def wait_gone(monitor: AgentMonitor, metric: str, timeout_s: float = 10) -> None:
    """The server confirms a scrape a moment after its reader has it."""
    deadline = time.monotonic() + timeout_s
    while series_of(monitor, metric):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_prometheus_has_to_scrape_twice_what_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    with prometheus_pipeline(monkeypatch) as monitor:
        with monitor.session("s"):
            monitor.record_commit()
        assert 'session_id="s"' in scrape(monitor)
        assert 'session_id="s"' in scrape(monitor)
        wait_gone(monitor, "claude_code.commit.count")
        assert 'session_id="s"' not in scrape(monitor)


def test_a_scrape_that_nobody_reads_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with prometheus_pipeline(monkeypatch) as monitor:
        with monitor.session("s"):
            monitor.record_commit()
            for number in range(2_000):  # more than a socket takes in
                monitor.increment("jobs", 1, {"queue": f"queue-{number % 150}", "step": f"step-{number % 7}"})
        for _ in range(3):
            scrape(monitor, "HEAD")
            with socket.create_connection(address(monitor)) as hangs_up:
                hangs_up.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert 'session_id="s"' in scrape(monitor)
        assert 'session_id="s"' in scrape(monitor)
        wait_gone(monitor, "claude_code.commit.count")


def test_prometheus_is_waited_for_five_minutes_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    with prometheus_pipeline(monkeypatch) as monitor:
        with monitor.session("s"):
            monitor.record_commit()
        assert monitor._pipeline is not None
        lives = monitor._pipeline.store.lives
        began = lives._clock()
        lives.sweep()
        lives._clock = lambda: began + 299
        lives.sweep()
        assert len(series_of(monitor, "claude_code.commit.count")) == 1
        lives._clock = lambda: began + 301
        lives.sweep()
        assert series_of(monitor, "claude_code.commit.count") == []


def test_sessions_of_a_program_that_nobody_scrapes_stay_within_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    with prometheus_pipeline(monkeypatch) as monitor:
        for _ in range(5_000):
            with monitor.session():
                monitor.record_commit()
        assert len(series_of(monitor, "claude_code.commit.count")) <= 201
        assert monitor._pipeline is not None
        assert len(monitor._pipeline.store.lives._ended) <= 1_000


@pytest.mark.parametrize("pauses", [True, False])
def test_who_wants_a_new_series_waits_for_a_small_part_of_a_sweep(pauses: bool) -> None:
    store = Store(Bounds(max_series=100_000, max_label_values=100_000, max_total_series=200_000), 60)
    instrument = store.instrument(MetricSpec("claude.jobs", "counter", "", ""))
    for number in range(10 * CHUNK):
        instrument.series((), (("job", f"j{number}"),))
    lives = store.lives
    clock = [0.0]
    lives._clock = lambda: clock[0]
    found: list[int] = []
    lock = store.lock

    class Counting:
        """Counts the series that change while it is held."""

        def __enter__(self) -> None:
            lock.acquire()
            self.before = sent_back(), store.count, len(lives._ending)

        def __exit__(self, *_: object) -> None:
            found.append(max(abs(a - b) for a, b in zip(self.before, now(), strict=True)))
            lock.release()

    def sent_back() -> int:
        return sum(not series.owner for series in store.all_series())

    def now() -> tuple[int, int, int]:
        return sent_back(), store.count, len(lives._ending)

    store.lock = Counting()  # type: ignore[assignment]
    clock[0] = 100.0
    lives.sweep(pauses=pauses)  # everybody's writers are sent back
    assert sent_back() == 10 * CHUNK
    far_side = lives.add_far_side()
    clock[0] = 200.0
    lives.sweep(pauses=pauses)  # and all of them are idle
    assert len(lives._ending) == 10 * CHUNK
    far_side.delivered(take(store).values)
    assert store.count == 0
    assert max(found) == CHUNK


def test_who_needs_room_at_a_bound_lets_a_part_of_what_ended_go_and_not_all() -> None:
    full = 10 * CHUNK
    store = Store(Bounds(max_series=full + 1, max_label_values=100_000, max_total_series=200_000))
    instrument = store.instrument(MetricSpec("claude.jobs", "counter", "", ""))
    for number in range(full):
        instrument.series((), (("job", f"j{number}"),))
    lives = store.lives
    lives.add_far_side(patience_s=300)
    lives.ask({})  # all of them end
    lives.sweep()
    now = lives._clock() + 400
    lives._clock = lambda: now
    added = instrument.series((), (("job", "new"),))
    assert added.attributes == {"job": "new"}
    assert store.count >= full // 2  # until the label opens again


def test_idle_series_go_after_the_ttl() -> None:
    with OtlpReceiver() as receiver, exporting(receiver, series_ttl_s=60) as monitor:
        monitor.increment("jobs", 1, {"tenant": "gone"})
        assert monitor._pipeline is not None
        lives = monitor._pipeline.store.lives
        began = lives._clock()
        for seconds in range(0, 200, 20):
            lives._clock = lambda seconds=seconds: began + seconds  # type: ignore[misc]
            monitor.increment("jobs", 1, {"tenant": "here"})
            assert monitor.flush()
        assert series_of(monitor, "claude.jobs") == [{"agent": "shop", "tenant": "here"}]
        assert receiver.total("claude.jobs", tenant="gone") == 1
        assert receiver.total("claude.jobs", tenant="here") == 10
