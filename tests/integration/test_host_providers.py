"""A host that has pipelines of its own gets our metrics and events there."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from claude_monitoring import AgentMonitor
from claude_monitoring.receiver import OtlpReceiver

from .program import environment, run_program

EMIT_TAKES_KEYWORDS = tuple(int(part) for part in version("opentelemetry-api").split(".")[:2]) >= (1, 37)


def observed(reader: InMemoryMetricReader) -> dict[str, list[tuple[dict[str, object], float]]]:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: [(dict(point.attributes or {}), point.value) for point in metric.data.data_points]  # type: ignore[union-attr]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_metrics_of_every_kind_are_seen_by_the_hosts_meter_provider() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    with AgentMonitor("backend", meter_provider=provider) as monitor:
        monitor.increment("steps", 3, labels={"kind": "a"})
        monitor.increment("steps", 4, labels={"kind": "b"})
        monitor.gauge("context_usage_percent", 45.3)
        with monitor.track_task("t"):
            first = observed(reader)
        monitor.increment("steps", 1, labels={"kind": "a"})
        second = observed(reader)
    assert first["claude.steps"] == [({"agent": "backend", "kind": "a"}, 3), ({"agent": "backend", "kind": "b"}, 4)]
    assert second["claude.steps"][0] == ({"agent": "backend", "kind": "a"}, 4)
    assert first["claude.context.usage"] == [({"agent": "backend"}, 45.3)]
    assert [value for _, value in first["claude.tasks.active"]] == [1]
    assert [value for _, value in second["claude.tasks.active"]] == [0]
    assert [value for _, value in second["claude.task.duration.count"]] == [1]
    (seconds,) = (value for _, value in second["claude.task.duration.sum"])
    assert seconds > 0
    provider.shutdown()


def test_with_a_meter_provider_our_own_exporters_send_no_metrics_but_everything_else() -> None:
    program = """
        from opentelemetry.sdk.metrics import MeterProvider
        from claude_monitoring import AgentMonitor
        monitor = AgentMonitor("worker", meter_provider=MeterProvider(shutdown_on_exit=False))
        monitor.increment("steps")
        monitor.event("done")
    """
    with OtlpReceiver() as receiver:
        ended = run_program(program, environment(receiver.http_endpoint))
        assert (ended.returncode, ended.stderr) == (0, "")
        assert receiver.metrics == ()
        assert [event.body for event in receiver.logs] == ["claude.done"]


@pytest.mark.skipif(not EMIT_TAKES_KEYWORDS, reason="a logger provider needs OpenTelemetry 1.37 or later")
def test_events_go_to_the_hosts_logger_provider_with_the_ids_of_the_span() -> None:
    program = """
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
        from claude_monitoring import AgentMonitor
        provider, kept = LoggerProvider(shutdown_on_exit=False), InMemoryLogRecordExporter()
        provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
        monitor = AgentMonitor("worker", logger_provider=provider)
        with monitor.span("around") as around:
            monitor.event("tool_result", {"tool_name": "Bash"})
        (data,) = kept.get_finished_logs()
        record = data.log_record
        print(record.body, record.attributes["tool_name"], data.instrumentation_scope.name)
        print(record.span_id == around.span.get_span_context().span_id)
    """
    with OtlpReceiver() as receiver:
        ended = run_program(program, environment(receiver.http_endpoint))
        assert ended.stderr == ""
        assert ended.stdout == "claude_code.tool_result Bash com.anthropic.claude_code.events\nTrue\n"
        assert receiver.logs == ()
