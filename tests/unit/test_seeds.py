"""The customer's examples ("Python SDK Usage", "Best Practices"), run as they stand; only what they call is ours."""

from __future__ import annotations

from typing import Any

import pytest

from claude_monitoring import AgentMonitor
from claude_monitoring.exporters import CustomExporter
from claude_monitoring.receiver import OtlpReceiver
from claude_monitoring.testing import Captured, capture

BASIC_USAGE = """
from claude_monitoring import AgentMonitor, track_task

# Initialize monitor
monitor = AgentMonitor(
    agent_id="backend",
    project_name="book-cataloger"
)

# Track a task
with monitor.track_task("Add API rate limiting", complexity=5):
    # Your implementation
    result = implement_rate_limiting()

# Manual tracking
monitor.record_metric("api_calls", 1)
monitor.record_metric("tokens_used", 45230)
monitor.record_cost(0.87)
"""

ADVANCED_USAGE = """
from claude_monitoring import (
    AgentMonitor,
    track_task,
    track_performance,
    track_quality
)

# Initialize with full configuration
monitor = AgentMonitor(
    agent_id="backend",
    agent_level=2,
    project_name="book-cataloger",
    sprint="6B",
    export_to_grafana=True
)

# Track task with context
@track_task(
    monitor=monitor,
    task_type="feature",
    complexity=5
)
def add_api_feature():
    # Implementation
    pass

# Track performance metrics
@track_performance(monitor=monitor)
def process_items(items):
    # Tracks time, throughput, efficiency
    for item in items:
        process(item)

# Track quality metrics
@track_quality(
    monitor=monitor,
    test_coverage_required=0.90
)
def implement_with_tests():
    # Implementation + tests
    # Auto-checks test coverage
    pass
"""

LABEL_CONSISTENTLY = """
# Good - consistent labels
monitor.record_metric("api_calls", 1,
    labels={
        "agent": "backend",
        "project": "book-cataloger",
        "sprint": "6B"
    })

# Bad - inconsistent labels
monitor.record_metric("api_calls", 1,
    labels={"agent": "Backend"})  # Inconsistent capitalization
"""

METRIC_TYPES = """
# Counter (always increases)
monitor.increment("features_completed")

# Gauge (can go up or down)
monitor.gauge("context_usage_percent", 45.3)

# Histogram (distribution)
monitor.histogram("task_duration_seconds", 3600)
"""

ADD_CONTEXT = """
# Better - with context
with monitor.span("api_integration"):
    with monitor.span("fetch_data"):
        data = fetch()
    with monitor.span("transform_data"):
        result = transform(data)
"""

HANDLE_ERRORS = """
try:
    with monitor.track_task("risky_operation"):
        result = do_something()
except Exception as e:
    monitor.record_error(e)
    raise
"""

CUSTOM_EXPORTER = """
# Export to custom database
from claude_monitoring.exporters import CustomExporter

class PostgreSQLExporter(CustomExporter):
    def export_metric(self, metric):
        # Write to PostgreSQL
        self.db.execute(
            "INSERT INTO metrics VALUES (%s, %s, %s)",
            (metric.name, metric.value, metric.timestamp)
        )
"""


def run(snippet: str, **names: Any) -> dict[str, Any]:
    """Execute a snippet; what it defines comes back."""
    namespace = {"__name__": "seed", "implement_rate_limiting": lambda: "done", "process": lambda item: None, **names}
    exec(compile(snippet, "seed", "exec"), namespace)
    return namespace


def full_monitor() -> AgentMonitor:
    return AgentMonitor(agent_id="backend", project_name="book-cataloger", sprint="6B")


def test_basic_usage() -> None:
    with capture("x") as seen:
        assert run(BASIC_USAGE)["result"] == "done"
    here = {"agent": "backend", "project": "book-cataloger"}
    assert seen.series("claude.tasks") == {frozenset({*here.items(), ("task_type", "general"), ("status", "ok")}): 1}
    assert seen.value("claude.task.duration", here, status="ok") == 1
    assert seen.value("claude.story_points.delivered", here) == 5
    assert seen.series("claude.api.calls") == {frozenset(here.items()): 1}
    assert seen.value("claude.tokens_used", here) == 45230
    assert seen.value("claude.api.cost_usd", here) == 0.87
    assert seen.value("claude_code.cost.usage", {"project.name": "book-cataloger", "agent.name": "backend"}) == 0.87
    assert seen.value("claude.sessions", here) == 1
    assert [span.name for span in seen.spans] == ["Add API rate limiting"]


def test_advanced_usage() -> None:
    processed: list[int] = []
    with capture("x") as seen:
        made = run(ADVANCED_USAGE, process=processed.append)
        made["add_api_feature"]()
        made["process_items"]([1, 2, 3])
        made["implement_with_tests"]()
    here = {"agent": "backend", "project": "book-cataloger", "sprint": "6B"}
    assert processed == [1, 2, 3]
    assert seen.series("claude.agent.level") == {frozenset({("agent", "backend")}): 2}
    assert seen.value("claude.tasks", here, task_type="feature", status="ok") == 1
    assert seen.value("claude.features.delivered", here) == 1
    assert seen.value("claude.story_points.delivered", here) == 5
    assert seen.value("claude.task.duration", here, task_type="performance", status="ok") == 1
    assert seen.value("claude.task.throughput", here, task_type="performance") > 0
    assert seen.value("claude.quality_gate", here, gate="test_coverage", result="unknown") == 1  # no report was written
    assert [span.name for span in seen.spans] == ["add_api_feature", "process_items"]


def test_label_consistently() -> None:
    with capture("x") as seen:
        monitor = full_monitor()
        monitor.record_metric("api_calls", 1)
        run(LABEL_CONSISTENTLY, monitor=monitor)
    here = {("agent", "backend"), ("project", "book-cataloger"), ("sprint", "6B")}
    assert seen.series("claude.api.calls") == {frozenset(here): 3}  # Backend is backend


def test_use_appropriate_metric_types() -> None:
    with capture("x") as seen:
        run(METRIC_TYPES, monitor=full_monitor())
    assert seen.value("claude.features_completed", agent="backend", sprint="6B") == 1
    assert seen.series("claude.context.usage") == {frozenset({("agent", "backend")}): 45.3}
    assert seen.value("claude.task.duration", agent="backend") == 1


def test_add_context(seen: Captured) -> None:
    made = run(ADD_CONTEXT, monitor=seen.monitor, fetch=lambda: [1, 2], transform=sum)
    assert made["result"] == 3
    inner_one, inner_two, outer = seen.spans
    assert [span.name for span in (inner_one, inner_two, outer)] == ["fetch_data", "transform_data", "api_integration"]
    assert inner_one.parent.span_id == inner_two.parent.span_id == outer.get_span_context().span_id
    assert outer.parent is None


def test_handle_errors(seen: Captured) -> None:
    error = ConnectionError("database is away")

    def do_something() -> None:
        raise error

    with pytest.raises(ConnectionError) as caught:
        run(HANDLE_ERRORS, monitor=seen.monitor, do_something=do_something)
    assert caught.value is error
    assert seen.value("claude.tasks", status="error") == 1
    assert seen.value("claude.errors", error_type="ConnectionError") == 1  # once, though both of them saw it


def test_handle_errors_without_an_error(seen: Captured) -> None:
    assert run(HANDLE_ERRORS, monitor=seen.monitor, do_something=lambda: 7)["result"] == 7
    assert seen.value("claude.tasks", status="ok") == 1
    assert seen.series("claude.errors") == {}


def test_a_custom_exporter() -> None:
    rows: list[tuple[Any, ...]] = []

    class Database:
        def execute(self, statement: str, row: tuple[Any, ...]) -> None:
            assert statement.count("%s") == len(row)
            rows.append(row)

    exporter = run(CUSTOM_EXPORTER)["PostgreSQLExporter"]()
    assert isinstance(exporter, CustomExporter)
    exporter.db = Database()  # type: ignore[attr-defined]
    monitor = AgentMonitor("backend", exporters=[exporter])
    monitor.increment("features_completed", 3)
    assert monitor.close()
    found = {name: (value, timestamp) for name, value, timestamp in rows}
    assert found["claude.features_completed"][0] == 3
    assert found["claude.features_completed"][1] > 1_700_000_000


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json", "grpc"])
def test_everything_arrives_at_a_collector(monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("CLAUDE_CODE_ENABLE_TELEMETRY", "1")
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp")
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint(protocol))
        basic = run(BASIC_USAGE)["monitor"]
        made = run(ADVANCED_USAGE)
        advanced = made["monitor"]
        made["add_api_feature"]()
        made["process_items"]([1, 2, 3])
        made["implement_with_tests"]()
        run(METRIC_TYPES, monitor=advanced)
        run(ADD_CONTEXT, monitor=advanced, fetch=list, transform=len)
        with pytest.raises(ZeroDivisionError):
            run(HANDLE_ERRORS, monitor=advanced, do_something=lambda: 1 / 0)
        assert basic.close(10)
        assert advanced.close(10)
        assert receiver.total("claude.tasks", agent="backend", project="book-cataloger", status="ok") == 2
        assert receiver.total("claude.tasks", status="error") == 1
        assert receiver.total("claude.errors", error_type="ZeroDivisionError") == 1
        assert receiver.total("claude.tokens_used") == 45230
        assert receiver.total("claude.api.calls") == 1
        assert receiver.total("claude.api.cost_usd") == 0.87
        assert receiver.total("claude.features_completed", sprint="6B") == 1
        assert receiver.total("claude.story_points.delivered") == 10
        assert receiver.total("claude.quality_gate", result="unknown") == 1
        names = {span.name for span in receiver.spans}
    assert {"Add API rate limiting", "add_api_feature", "process_items", "api_integration", "risky_operation"} <= names
