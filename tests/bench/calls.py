"""Rows that call something in a loop: what is in reach of the statement on each side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import prometheus_client
import wrapt
from loops import Names, calibrate, statement
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from claude_monitoring import AgentMonitor, track_task

__all__ = ["LABELS", "calibrate", "opentelemetry", "ours", "ours_off", "prometheus", "spans", "statement", "wrapped"]

LABELS = {"model": "claude-sonnet-4-5", "tool": "Bash", "status": "ok", "tier": "standard"}


def _nothing() -> None:
    pass


async def _nothing_async() -> None:
    pass


@contextmanager
def _names_of(monitor: AgentMonitor) -> Iterator[Names]:
    track = track_task(monitor=monitor, task_type="bench")
    try:
        yield {
            "monitor": monitor,
            "labels": LABELS,
            "handle": monitor.counter("bench_calls", LABELS),
            "task": track(_nothing),
            "async_task": track(_nothing_async),
        }
    finally:
        monitor.close(1)


def ours() -> AbstractContextManager[Names]:
    """A monitor that records metrics alone."""
    return _names_of(AgentMonitor("bench", project_name="bench", enabled=True))


def ours_off() -> AbstractContextManager[Names]:
    """A monitor with telemetry off."""
    return _names_of(AgentMonitor("bench", project_name="bench", enabled=False))


@contextmanager
def prometheus() -> Iterator[Names]:
    """What prometheus_client offers for the same."""
    registry = prometheus_client.CollectorRegistry()
    counter = prometheus_client.Counter("bench_calls", "Calls", list(LABELS), registry=registry)
    histogram = prometheus_client.Histogram("bench_duration", "Durations", list(LABELS), registry=registry)
    timer = prometheus_client.Histogram("bench_task_duration", "Durations", registry=registry)
    yield {
        "labels": LABELS,
        "counter": counter,
        "child": counter.labels(**LABELS),
        "histogram": histogram,
        "task": timer.time()(_nothing),
        "async_task": timer.time()(_nothing_async),
    }


@contextmanager
def opentelemetry() -> Iterator[Names]:
    """The SDK's counter."""
    provider = MeterProvider(metric_readers=[InMemoryMetricReader()], shutdown_on_exit=False)
    try:
        yield {"labels": LABELS, "counter": provider.get_meter("bench").create_counter("bench_calls")}
    finally:
        provider.shutdown()


class _NoExporter(SpanExporter):
    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


@contextmanager
def spans() -> Iterator[Names]:
    """A monitor and a bare tracer over one provider, which exports to nowhere."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(_NoExporter()))
    monitor = AgentMonitor("bench", project_name="bench", enabled=True, tracer_provider=provider)
    with _names_of(monitor) as names:
        yield {**names, "tracer": provider.get_tracer("bench"), "nothing": _nothing}
    provider.shutdown()


@contextmanager
def wrapped() -> Iterator[Names]:
    """What any decorator made with wrapt costs."""

    @wrapt.decorator
    def empty(function: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return function(*args, **kwargs)

    yield {"task": empty(_nothing)}
