"""Rows that call something in a loop: what is in reach of the statement on each side, and the loop around it."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import repeat
from typing import Any

import prometheus_client
import wrapt
from harness import Effort, Reading, Sample, Side
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from claude_monitoring import AgentMonitor, track_task

__all__ = ["LABELS", "calibrate", "opentelemetry", "ours", "ours_off", "prometheus", "spans", "statement", "wrapped"]

LABELS = {"model": "claude-sonnet-4-5", "tool": "Bash", "status": "ok", "tier": "standard"}

Names = dict[str, Any]
Surroundings = Callable[[], AbstractContextManager[Names]]
"""The global names that a statement uses."""

_HEADER = "def loop(items, clock):\n    start = clock()\n    for item in items:\n        "
_FOOTER = "\n    return clock() - start\n"


def _nothings(count: int) -> Iterable[Any]:
    return repeat(None, count)


def statement(
    text: str, surroundings: Surroundings, items: Callable[[int], Iterable[Any]] = _nothings, *, is_async: bool = False
) -> Side:
    """A side whose sample is the mean time of ``text`` over a calibrated number of turns.

    Args:
        text: One statement; ``item`` is what the turn gets from ``items``.
        surroundings: Where its names come from.
        items: Makes what the turns get, before the clock starts.
        is_async: Whether it awaits.
    """

    @contextmanager
    def side(effort: Effort) -> Iterator[Sample]:
        event_loop = asyncio.new_event_loop() if is_async else None
        try:
            with surroundings() as names:
                compiled = _compile(text, names, is_async=is_async)

                def run(count: int) -> float:
                    prepared = items(count)
                    gc.collect()  # else one side pays for the other's garbage
                    elapsed: Any = compiled(prepared, time.perf_counter)
                    return float(event_loop.run_until_complete(elapsed) if event_loop is not None else elapsed)

                count = calibrate(run, effort.sample_s)
                yield lambda: Reading(run(count) / count)
        finally:
            if event_loop is not None:
                event_loop.close()

    return side


def _compile(text: str, names: Mapping[str, Any], *, is_async: bool) -> Callable[..., Any]:
    # A loop around the bare statement: a lambda's call would cost as much as the fastest rows do.
    namespace = dict(names)
    exec(("async " if is_async else "") + _HEADER + text + _FOOTER, namespace)  # the text is ours
    loop: Callable[..., Any] = namespace["loop"]
    return loop


def calibrate(run: Callable[[int], float], sample_s: float) -> int:
    """How many turns take about ``sample_s``; warms up as well."""
    run(1)  # the first use may import half a library
    count = 1
    while True:
        elapsed = min(run(count), run(count))  # one of the two may have been interrupted
        if elapsed >= sample_s / 2:
            return max(1, round(count * sample_s / elapsed))
        count *= 2


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
