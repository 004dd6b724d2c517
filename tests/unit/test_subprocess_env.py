"""What a child is handed reads back as ours: where to send, how, with which attributes, under which span."""

from __future__ import annotations

from typing import Any

import pytest

from claude_monitoring import AgentMonitor
from claude_monitoring._settings import Settings

OTLP = {f"OTEL_{signal}_EXPORTER": "otlp" for signal in ("METRICS", "LOGS", "TRACES")}


def made(**env: str) -> tuple[AgentMonitor, Settings]:
    settings = Settings.load(environ={"CLAUDE_CODE_ENABLE_TELEMETRY": "1", **env})
    return AgentMonitor("backend", project_name="books", sprint="6b", settings=settings), settings


@pytest.mark.parametrize(
    "env",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/in"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector:4317"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20x,tenant=a", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20x"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://traces:1/v1/traces", "OTEL_TRACES_EXPORT_INTERVAL": "700"},
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "1500", "OTEL_METRIC_EXPORT_INTERVAL": "2500"},
        {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta", "OTEL_LOG_TOOL_DETAILS": "1"},
    ],
)
def test_what_a_child_is_handed_reads_back_as_ours(env: dict[str, str]) -> None:
    monitor, settings = made(**OTLP, **env)
    child = Settings.load(environ=monitor.subprocess_env({}))
    fields = ["temporality", "log_user_prompts", "log_tool_details", "include_session_id", "metrics_interval_s"]
    for signal in ("metrics", "logs", "traces"):
        fields += [f"{signal}_otlp", f"{signal}_exporters", f"{signal}_interval_s"]
    assert {name: getattr(child, name) for name in fields} == {name: getattr(settings, name) for name in fields}
    assert child.problems == ()
    monitor.close(0)


def test_a_child_carries_the_agent_the_project_and_the_team() -> None:
    monitor, _ = made(OTEL_RESOURCE_ATTRIBUTES="team.id=a%2Cb,service.name=mine")
    child = Settings.load(environ=monitor.subprocess_env({}))
    assert dict(child.resource_attributes) == {
        "team.id": "a,b",
        "agent": "backend",
        "project": "books",
        "sprint": "6b",
    }
    assert child.service_name == "claude-code"
    monitor.close(0)


def test_a_child_is_a_child_of_the_current_span() -> None:
    monitor, _ = made(**OTLP, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    with monitor.span("work") as scope:
        span: Any = scope.span
        context = span.get_span_context()
        expected = f"00-{context.trace_id:032x}-{context.span_id:016x}-"
        assert monitor.subprocess_env({"TRACEPARENT": "00-old"})["TRACEPARENT"].startswith(expected)
    assert "TRACEPARENT" not in monitor.subprocess_env({"TRACEPARENT": "00-old"})
    monitor.close(0)


def test_only_telemetry_is_replaced() -> None:
    monitor, _ = made(OTEL_METRICS_EXPORTER="prometheus,console", OTEL_EXPORTER_PROMETHEUS_PORT="0")
    env = monitor.subprocess_env({"PATH": "/bin", "OTEL_METRICS_EXPORTER": "prometheus", "HOME": "/root"})
    assert (env["PATH"], env["HOME"], env["OTEL_METRICS_EXPORTER"]) == ("/bin", "/root", "none")
    monitor.close(0)


def test_a_monitor_that_is_off_turns_the_child_off() -> None:
    monitor = AgentMonitor("backend", enabled=False)
    assert monitor.subprocess_env({})["CLAUDE_CODE_ENABLE_TELEMETRY"] == "0"


def test_the_processes_own_environment_is_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKS_HOME", "/srv")
    monitor = AgentMonitor("backend", enabled=False)
    assert monitor.subprocess_env()["BOOKS_HOME"] == "/srv"
