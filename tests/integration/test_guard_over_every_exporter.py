"""The guard does the same whatever takes the metrics away: threads explode labels while exports happen."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

import pytest

from claude_monitoring import AgentMonitor, Settings
from claude_monitoring.exporters import CustomExporter
from claude_monitoring.receiver import OtlpReceiver

from .program import environment, run_program

THREADS, CALLS, SESSIONS = 4, 500, 20
MODELS = ("opus", "sonnet", "haiku")
BOUNDS = {"CLAUDE_MONITORING_MAX_LABEL_VALUES": "30", "CLAUDE_MONITORING_MAX_SERIES": "150"}


def explode(monitor: AgentMonitor, thread: int) -> None:
    for number in range(CALLS):
        labels = {"user": f"{thread}-{number}", "model": MODELS[number % 3], "who": "bob@books.example"}
        monitor.increment("calls", 1, labels)
        monitor.histogram("wait", 1, labels)
        if number % (CALLS // SESSIONS) == 0:
            with monitor.session():
                monitor.record_usage("claude-haiku-4-5", 10, 5)


def run(monitor: AgentMonitor) -> None:
    threads = [threading.Thread(target=explode, args=(monitor, thread)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert monitor.flush(20)
    for thread in threads:
        thread.join()
    for _ in range(2):  # the first lets go what ended, the second says so
        assert monitor.flush(20)
    assert monitor.close(20)


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
def test_over_otlp_sums_are_exact_and_series_bounded(protocol: str, temporality: str) -> None:
    with OtlpReceiver() as receiver:
        environ = {
            "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint(protocol),
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality,
            **BOUNDS,
        }
        run(AgentMonitor("shop", settings=Settings.load(environ=environ)))
        truth = Counter(MODELS[number % 3] for number in range(CALLS))
        for metric in ("claude.calls", "claude.wait"):
            assert {model: receiver.total(metric, model=model) for model in MODELS} == {
                model: THREADS * count for model, count in truth.items()
            }
            series = receiver.series(metric)
            assert len(series) <= 150
            assert {dict(labels)["who"] for labels in series} == {"__redacted__"}
        assert receiver.total("claude_code.token.usage") == THREADS * SESSIONS * 15
        assert receiver.total("claude_code.session.count") == THREADS * SESSIONS + 1
        assert receiver.total("claude.monitoring.series.retired") > 0


class Latest(CustomExporter):
    """The latest value of each series, by the time at which it began: a later series counts beside an earlier one."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, frozenset[tuple[str, Any]]], float] = {}

    def export_metric(self, metric: Any) -> None:
        self.values[metric.name, frozenset(metric.attributes.items())] = metric.value


def test_a_custom_exporter_gets_the_same() -> None:
    latest = Latest()
    run(AgentMonitor("shop", enabled=True, exporters=[latest], max_label_values=30, max_series=150))
    calls = {labels: value for (name, labels), value in latest.values.items() if name == "claude.calls"}
    assert sum(calls.values()) == THREADS * CALLS
    assert len(calls) <= 150
    assert {dict(labels)["who"] for labels in calls} == {"__redacted__"}


def test_console_output_is_bounded_too_and_shows_nothing_private() -> None:
    code = """
        from claude_monitoring import AgentMonitor
        monitor = AgentMonitor("shop")
        for number in range(500):
            monitor.increment("calls", 1, {"user": f"u{number}", "who": "bob@books.example"})
    """
    ended = run_program(code, environment(OTEL_METRICS_EXPORTER="console", **BOUNDS))
    assert ended.returncode == 0
    rows = [row for row in map(json.loads, ended.stdout.splitlines()) if row["name"] == "claude.calls"]
    assert sum(row["value"] for row in rows) == 500
    assert len(rows) == 31
    assert "bob" not in ended.stdout + ended.stderr
