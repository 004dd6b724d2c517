"""The exporters that stay in the process: console, logging and the host's own."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
from typing import Any

import pytest

from claude_monitoring import Settings
from claude_monitoring.errors import ConfigurationError
from claude_monitoring.exporters import CustomExporter, Metric, make_exporter
from claude_monitoring.exporters.console import ConsoleExporter
from claude_monitoring.exporters.custom import CustomAdapter
from claude_monitoring.exporters.pylogging import LoggingExporter
from claude_monitoring.types import EventRecord, Signal
from tests.contract.exporter_parts import NOW, PROTOCOLS, RESOURCE, SIGNALS, batch_of, events, one_of_each, spans


def printed(signal: Signal, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    exporter = ConsoleExporter(signal)
    assert exporter.export(batch_of(signal), RESOURCE, 1.0).ok
    exporter.close()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_console_has_one_json_object_for_each_data_point(capsys: pytest.CaptureFixture[str]) -> None:
    rows = printed("metrics", capsys)
    assert rows[0] == {
        "signal": "metric",
        "name": "claude.tasks",
        "kind": "counter",
        "unit": "",
        "value": 3.0,
        "time": pytest.approx(NOW / 1e9),
        "attributes": {"agent": "a", "status": "ok"},
    }
    assert [row["kind"] for row in rows] == ["counter", "counter", "up_down_counter", "gauge", "histogram"]
    assert (rows[4]["value"], rows[4]["count"], rows[4]["bounds"]) == (4.5, 3, [0.5, 1.0])
    assert rows[4]["bucket_counts"] == [1, 0, 2]


def test_the_console_has_one_json_object_for_each_event(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = printed("logs", capsys)
    assert (first["signal"], first["name"], second["name"]) == ("event", "claude_code.event_0", "claude_code.event_1")
    assert first["attributes"]["success"] is True
    assert first["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


def test_the_console_has_one_json_object_for_each_span(capsys: pytest.CaptureFixture[str]) -> None:
    leaf, root = printed("traces", capsys)
    assert (leaf["name"], leaf["kind"], leaf["status"]) == ("leaf", "internal", "unset")
    assert (leaf["parent_span_id"], root["parent_span_id"]) == (root["span_id"], "")
    assert leaf["events"][0]["name"] == "note"
    assert leaf["duration_s"] >= 0


def test_text_that_no_encoding_takes_is_printed_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert ConsoleExporter("logs").export(events(1, text="\ud800é", raw=b"x"), RESOURCE, 1.0).ok
    assert r"\ud800\u00e9" in capsys.readouterr().out


def test_a_broken_pipe_is_a_failure_and_no_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    monkeypatch.setattr(sys, "stdout", stream)
    result = ConsoleExporter("metrics").export(one_of_each(), RESOURCE, 1.0)
    monkeypatch.undo()
    with contextlib.suppress(BrokenPipeError):
        stream.close()
    assert (result.ok, result.retryable) == (False, False)
    assert "standard output can't be written" in result.error


@pytest.mark.parametrize("stdout", [None, "closed"])
def test_a_missing_standard_output_is_a_failure_and_no_exception(
    monkeypatch: pytest.MonkeyPatch, stdout: str | None
) -> None:
    stream = None
    if stdout:
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    result = ConsoleExporter("metrics").export(one_of_each(), RESOURCE, 1.0)
    monkeypatch.undo()
    assert not result.ok
    assert "standard output" in result.error


@pytest.mark.parametrize(
    ("signal", "first"),
    [
        ("metrics", "claude.tasks 3 {agent=a, status=ok}"),
        ("logs", "event claude_code.event_0 {event.name=event_0, event.sequence=0, ratio=0.5, success=True}"),
        ("traces", "span leaf "),
    ],
)
def test_logging_has_a_short_line_and_the_whole_as_telemetry(
    caplog: pytest.LogCaptureFixture, signal: Signal, first: str
) -> None:
    exporter = LoggingExporter(signal)
    with caplog.at_level(logging.INFO, "claude_monitoring.export"):
        assert exporter.export(batch_of(signal), RESOURCE, 1.0).ok
    exporter.close()
    assert {(record.name, record.levelname) for record in caplog.records} == {("claude_monitoring.export", "INFO")}
    assert caplog.records[0].getMessage().startswith(first)
    assert json.dumps(vars(caplog.records[0])["telemetry"])
    if signal == "metrics":
        assert caplog.records[-1].getMessage() == "claude.task.duration 4.5 s in 3 {agent=a, flag=True}"


def test_logging_that_nobody_listens_to_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "claude_monitoring.export"):
        assert LoggingExporter("metrics").export(object(), RESOURCE, 1.0).ok
    assert caplog.records == []


class Keeping(CustomExporter):
    def __init__(self, fail_on: str = "") -> None:  # does not call super().__init__, as the seeds' example
        self.seen: list[Any] = []
        self.closed = 0
        self.fail_on = fail_on

    def export_metric(self, metric: Metric) -> None:
        if self.fail_on in {metric.name, "*"}:
            raise LookupError("no table " + metric.name)
        self.seen.append(metric)

    def close(self) -> None:
        self.closed += 1


def test_a_custom_exporter_is_given_every_data_point() -> None:
    custom = Keeping()
    adapter = CustomAdapter(custom, "metrics")
    assert adapter.export(one_of_each(), RESOURCE, 1.0).ok
    first, *_, last = custom.seen
    assert (adapter.name, adapter.temporality, len(custom.seen)) == ("Keeping", "cumulative", 5)
    assert first == Metric("claude.tasks", 3.0, first.timestamp, {"agent": "a", "status": "ok"}, "", "counter")
    assert first.timestamp == pytest.approx(NOW / 1e9)
    assert (last.kind, last.value, last.count, last.unit) == ("histogram", 4.5, 3, "s")
    assert (last.bucket_counts, last.bounds) == ((1, 0, 2), (0.5, 1.0))


def test_one_metric_that_fails_does_not_stop_the_others() -> None:
    custom = Keeping(fail_on="claude.tasks")
    result = CustomAdapter(custom, "metrics").export(one_of_each(), RESOURCE, 1.0)
    assert (result.ok, result.rejected, len(custom.seen)) == (True, 2, 3)
    assert result.error == "Keeping.export_metric failed for 2 of 5, first with LookupError: no table claude.tasks"


def test_an_exporter_that_fails_for_all_is_a_failure() -> None:
    result = CustomAdapter(Keeping(fail_on="*"), "metrics").export(one_of_each(), RESOURCE, 1.0)
    assert (result.ok, result.retryable, result.rejected) == (False, False, 0)
    assert "failed for 5 of 5" in result.error


def test_a_class_without_export_metric_is_told_what_it_lacks() -> None:
    class Empty(CustomExporter):
        pass

    result = CustomAdapter(Empty(), "metrics").export(one_of_each(), RESOURCE, 1.0)
    assert "Empty has to define export_metric(self, metric)" in result.error


def test_events_and_spans_are_ignored_unless_wanted() -> None:
    class Both(Keeping):
        def export_event(self, event: EventRecord) -> None:
            self.seen.append(event.body)

        def export_span(self, span: Any) -> None:
            self.seen.append(span.name)

    for custom, seen in ((Keeping(), []), (Both(), ["claude_code.event_0", "claude_code.event_1", "leaf", "root"])):
        assert CustomAdapter(custom, "logs").export(events(2), RESOURCE, 1.0).ok
        assert CustomAdapter(custom, "traces").export(spans("leaf"), RESOURCE, 1.0).ok
        assert custom.seen == seen


def test_a_custom_exporter_is_closed_once() -> None:
    custom = Keeping()
    for signal in SIGNALS:
        CustomAdapter(custom, signal).close()
    assert custom.closed == 1
    CustomExporter().close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("signal", SIGNALS)
def test_otlp_is_made_for_the_protocol_of_its_signal(protocol: str, signal: Signal) -> None:
    settings = Settings.load(
        environ={f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL": protocol}, temporality="delta", enabled=True
    )
    exporter = make_exporter("otlp", signal, settings)
    assert exporter.name.startswith(f"otlp {protocol} http://localhost:")
    assert exporter.temporality == "delta"
    exporter.close()


@pytest.mark.parametrize("kind", ["console", "logging"])
def test_readable_exporters_are_always_cumulative(kind: str) -> None:
    exporter = make_exporter(kind, "metrics", Settings.load(environ={}, temporality="delta"))
    assert (exporter.name, exporter.temporality) == (kind, "cumulative")


@pytest.mark.parametrize("kind", ["prometheus", "zipkin"])
def test_an_exporter_that_is_not_there_is_named(kind: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{kind}' for logs; it can be otlp, console or logging"):
        make_exporter(kind, "logs", Settings.load(environ={}))


def test_the_exporters_package_loads_nothing_heavy() -> None:
    script = (
        "import sys, claude_monitoring.exporters; "
        "print([m for m in ('grpc', 'google.protobuf', 'urllib3', 'requests', 'prometheus_client', 'pydantic', "
        "'opentelemetry.sdk') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=True)
    assert run.stdout == "[]\n"
