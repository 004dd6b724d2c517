"""What is recorded arrives, exactly, over every protocol and in both temporalities."""

from __future__ import annotations

import asyncio
import threading

import pytest

from claude_monitoring import AgentMonitor, Settings
from claude_monitoring.receiver import OtlpReceiver

PROTOCOLS = ("grpc", "http/protobuf", "http/json")
THREADS, PER_THREAD = 8, 100_000
TASKS, PER_TASK = 100, 1_000


def settings_for(receiver: OtlpReceiver, protocol: str, temporality: str, interval_ms: int = 100) -> Settings:
    return Settings.load(
        environ={
            "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint(protocol),
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality,
            "OTEL_METRIC_EXPORT_INTERVAL": str(interval_ms),
        }
    )


def count_in_threads(monitor: AgentMonitor) -> None:
    labels = {"kind": "thread"}

    def work() -> None:
        for _ in range(PER_THREAD):
            monitor.increment("steps", labels=labels)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def count_in_tasks(monitor: AgentMonitor) -> None:
    async def work() -> None:
        for step in range(PER_TASK):
            monitor.increment("steps", labels={"kind": "task"})
            if step % 100 == 0:
                await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(TASKS)))


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_totals_of_threads_and_tasks_are_exact(protocol: str, temporality: str) -> None:
    with OtlpReceiver() as receiver:
        with AgentMonitor("counter", settings=settings_for(receiver, protocol, temporality)) as monitor:
            count_in_threads(monitor)
            asyncio.run(count_in_tasks(monitor))
            assert monitor.flush(20)
        assert receiver.total("claude.steps", kind="thread") == THREADS * PER_THREAD
        assert receiver.total("claude.steps", kind="task") == TASKS * PER_TASK
        assert {point.temporality for point in receiver.metrics if point.metric == "claude.steps"} == {temporality}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_deltas_survive_a_collector_that_fails_in_between(protocol: str) -> None:
    with OtlpReceiver() as receiver:
        monitor = AgentMonitor("counter", settings=settings_for(receiver, protocol, "delta", 60_000))
        monitor.increment("steps", 20)
        assert monitor.flush(10)
        receiver.answer(status=400, grpc_status="INVALID_ARGUMENT")
        monitor.increment("steps", 15)
        assert not monitor.flush(10)
        receiver.answer()
        monitor.increment("steps", 5)
        assert monitor.close(10)
        assert receiver.total("claude.steps") == 40


def test_a_full_workload_arrives_as_metrics_events_and_spans() -> None:
    with OtlpReceiver() as receiver:
        monitor = AgentMonitor("backend", project_name="books", export_to_grafana=True, endpoint=receiver.http_endpoint)
        with monitor.session("session-1"), monitor.track_task("write the parser", complexity=3) as task:
            monitor.record_usage("claude-sonnet-4-5", 1200, 77, 4500, 300)
            monitor.record_tool_call("Bash")
            monitor.event("tool_result", {"tool_name": "Bash", "success": "true"})
            with monitor.span("fetch"):
                pass
        assert monitor.close(10)
        assert task.cost_usd == pytest.approx(0.00723)
        where = {"session.id": "session-1", "agent.name": "backend", "project.name": "books"}
        assert receiver.total("claude_code.token.usage", where) == 1200 + 77 + 4500 + 300
        assert receiver.total("claude_code.cost.usage", where) == pytest.approx(0.00723)
        assert receiver.total("claude.story_points.delivered", agent="backend", project="books") == 3
        assert receiver.total("claude.sessions") == 1  # the explicit one; the monitor's own was not needed
        spans = {span.name: span for span in receiver.spans}
        assert spans["fetch"].parent_span_id == spans["write the parser"].span_id
        (event,) = receiver.logs
        assert event.body == "claude_code.tool_result"
        assert event.span_id == spans["write the parser"].span_id
        assert event.attributes["session.id"] == "session-1"
        assert {point.resource["service.name"] for point in receiver.metrics} == {"claude-code"}
