"""testing.capture: a program's telemetry, seen by its tests, whatever the environment says."""

from __future__ import annotations

import threading

import pytest

from claude_monitoring import AgentMonitor, track_performance, track_quality, track_task
from claude_monitoring.exporters import CustomExporter
from claude_monitoring.exporters.custom import Metric
from claude_monitoring.testing import capture


@track_task
def module_level_task() -> None: ...


@track_performance
def module_level_performance(items: list[int]) -> None: ...


@track_quality(coverage=lambda: 1.0)
def module_level_quality() -> None: ...


class Kept(CustomExporter):
    """An exporter of the program's own."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}

    def export_metric(self, metric: Metric) -> None:
        self.metrics[metric.name] = metric.value


def exporter_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("claude-monitoring")]


def test_functions_decorated_at_import_are_captured_without_a_monitor() -> None:
    with capture() as seen:
        module_level_task()
        module_level_performance([1, 2])
        module_level_quality()
    assert seen.value("claude.tasks", status="ok") == 1
    assert seen.value("claude.task.duration", task_type="performance") == 1
    assert seen.value("claude.quality_gate", result="passed") == 1


def test_each_capture_begins_empty_and_is_over_when_it_ends() -> None:
    for _ in range(3):
        with capture() as seen:
            module_level_task()
        module_level_task()
        assert seen.value("claude.tasks") == 1


def test_a_monitor_made_before_is_captured_though_telemetry_is_off() -> None:
    monitor = AgentMonitor("backend")
    assert not monitor.health().enabled
    monitor.increment("jobs")
    with capture() as seen:
        assert monitor.health().enabled
        monitor.increment("jobs", 2)
        with monitor.track_task("x"), monitor.span("y"):
            monitor.event("tool_result")
    assert seen.value("claude.jobs", agent="backend") == 2
    assert seen.value("claude.tasks", agent="backend") == 1
    assert sorted(span.name for span in seen.spans) == ["x", "y"]
    assert [event.body for event in seen.events] == ["claude_code.tool_result"]
    assert not monitor.health().enabled
    monitor.increment("jobs", 4)
    assert seen.value("claude.jobs") == 2


def test_a_monitor_at_work_goes_on_where_it_was() -> None:
    exporter = Kept()
    monitor = AgentMonitor("backend", exporters=[exporter])
    counter = monitor.counter("by_handle")
    monitor.increment("jobs", 1)
    counter.add(1)
    session = monitor.session_id
    with capture() as seen:
        monitor.increment("jobs", 10)
        counter.add(10)
        assert monitor.session_id != session
    monitor.increment("jobs", 100)
    counter.add(100)
    assert monitor.session_id == session
    assert monitor.close()
    assert (exporter.metrics["claude.jobs"], exporter.metrics["claude.by_handle"]) == (101, 101)
    assert (seen.value("claude.jobs"), seen.value("claude.by_handle")) == (10, 10)
    assert exporter.metrics["claude.sessions"] == 1


def test_monitors_made_inside_are_captured_and_their_own_exporters_see_nothing() -> None:
    exporter = Kept()
    with capture() as seen:
        monitor = AgentMonitor("inside", exporters=[exporter], enabled=False)
        monitor.increment("jobs")
        monitor.child("helper").increment("jobs")
        assert monitor.flush()
    assert seen.value("claude.jobs", agent="inside") == 1
    assert seen.value("claude.jobs", agent="helper") == 1
    assert exporter.metrics == {}


def test_a_monitor_closed_inside_works_again_afterwards() -> None:
    exporter = Kept()
    monitor = AgentMonitor("backend", exporters=[exporter])
    with capture() as seen:
        monitor.increment("jobs", 10)
        monitor.close()
        monitor.increment("jobs", 20)
    monitor.increment("jobs", 100)
    assert monitor.close()
    assert seen.value("claude.jobs") == 10
    assert exporter.metrics["claude.jobs"] == 100


def test_a_monitor_closed_before_stays_closed() -> None:
    monitor = AgentMonitor("backend", enabled=True)
    monitor.close()
    with capture() as seen:
        monitor.increment("jobs")
    assert seen.value("claude.jobs") == 0


def test_the_default_monitor_is_as_before_afterwards() -> None:
    from claude_monitoring import _monitor

    before = _monitor._default
    with capture() as seen:
        module_level_task()
    assert seen.value("claude.tasks") == 1
    assert _monitor._default is before


def test_captures_nest_and_the_inner_one_takes_what_happens_in_it() -> None:
    monitor = AgentMonitor("backend")
    with capture() as outer:
        monitor.increment("jobs", 1)
        with capture() as inner:
            monitor.increment("jobs", 10)
        monitor.increment("jobs", 100)
    assert inner.value("claude.jobs") == 10
    assert outer.value("claude.jobs") == 101


def test_what_the_program_raises_comes_through_and_everything_is_put_back() -> None:
    monitor = AgentMonitor("backend")
    with pytest.raises(KeyError), capture() as seen:  # noqa: PT012 - the block is the program
        monitor.increment("jobs")
        raise KeyError("x")
    assert seen.value("claude.jobs") == 1
    assert not monitor.health().enabled


def test_the_environment_has_no_say_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_CODE_ENABLE_TELEMETRY", "0")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "nonsense")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=core")
    with capture() as seen:
        seen.monitor.record_commit()
    [labels] = seen.series("claude_code.commit.count")
    assert "team" not in dict(labels)


def test_values_select_by_any_of_the_labels_and_are_zero_for_what_never_came() -> None:
    with capture("a") as seen:
        seen.monitor.increment("jobs", 1, {"team": "x", "tier": 1})
        seen.monitor.increment("jobs", 2, {"team": "x", "tier": 2})
        seen.monitor.increment("jobs", 4, {"team": "y", "tier": 1})
        assert seen.value("claude.jobs") == 7  # read live
    assert seen.value("claude.jobs", team="x") == 3
    assert seen.value("claude.jobs", team="x", tier=2) == 2
    assert seen.value("claude.jobs", {"tier": 1}) == 5
    assert seen.value("claude.jobs", team="z") == 0
    assert seen.value("claude.never") == 0
    assert seen.series("claude.never") == {}


def test_no_thread_is_left_behind() -> None:
    before = exporter_threads()
    monitor = AgentMonitor("backend")
    with capture():
        monitor.increment("jobs")
        module_level_task()
    assert exporter_threads() == before


def test_no_thread_is_left_behind_by_a_monitor_made_inside() -> None:
    before = exporter_threads()
    with capture():
        kept = AgentMonitor("inside")
        kept.increment("jobs")
    assert exporter_threads() == before
    assert not kept.health().enabled
