"""Rows about many series: collecting and encoding them, and the memory that they take."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from harness import Effort, Reading, Sample, Side

__all__ = [
    "encode_ours",
    "encode_sdk",
    "known_labels",
    "memory",
    "new_labels",
    "our_export",
    "our_recording",
    "prometheus_recording",
    "run_child",
    "scrape",
    "scrape_ours",
    "sdk_export",
    "sdk_recording",
]  # fmt: skip

PER_METRIC = 1_000
"""Within the default bounds of both sides, labels well bounded, so that neither overflows or collapses."""

_CHILD = Path(__file__).with_name("child.py")
_users = count()


def run_child(*arguments: object, timeout_s: float = 300) -> Any:
    """What ``child.py`` prints, in a process of its own."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", str(_CHILD), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        raise RuntimeError(f"child.py {' '.join(command[4:])} ended with {done.returncode}: {done.stderr[-400:]}")
    return json.loads(done.stdout.splitlines()[-1])


def new_labels(size: int) -> list[dict[str, str]]:
    """Labels that were never seen before."""
    return [{"user": f"user-{number}"} for number, _ in zip(_users, range(size), strict=False)]


def known_labels(size: int) -> list[dict[str, str]]:
    """The same hundred labels over and over."""
    return [{"user": f"known-{number % 100}"} for number in range(size)]


def label_sets(size: int) -> Iterator[tuple[str, dict[str, str]]]:
    """``size`` metric names and sets of four labels, all different."""
    for number in range(size):
        name = f"bench_calls_{number // PER_METRIC}"
        model, rest = number % 5, number // 5
        labels = {"model": f"model-{model}", "tool": f"tool-{rest % 20}", "status": "ok", "shard": f"{rest // 20 % 10}"}
        yield name, labels


def our_recording(size: int) -> tuple[Any, Callable[[], None]]:
    """A monitor, and a function that adds one to each of ``size`` series."""
    from claude_monitoring import AgentMonitor

    monitor = AgentMonitor("bench", project_name="bench", enabled=True, max_total_series=2 * size + 50_000)

    def record() -> None:
        for name, labels in label_sets(size):
            monitor.increment(name, 1, labels)

    return monitor, record


def sdk_recording(size: int) -> tuple[Any, Callable[[], None]]:
    """The SDK's reader, and a function that adds one to each of ``size`` series."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    meter = MeterProvider(metric_readers=[reader], shutdown_on_exit=False).get_meter("bench")
    counters = {name: meter.create_counter(name) for name in {name for name, _ in label_sets(size)}}

    def record() -> None:
        for name, labels in label_sets(size):
            counters[name].add(1, labels)

    return reader, record


def prometheus_recording(size: int) -> tuple[Any, Callable[[], None]]:
    """A registry, and a function that adds one to each of ``size`` series."""
    from prometheus_client import CollectorRegistry, Counter

    registry = CollectorRegistry()
    keys = ("model", "tool", "status", "shard")
    counters = {
        name: Counter(name, "Calls", keys, registry=registry) for name in {name for name, _ in label_sets(size)}
    }

    def record() -> None:
        for name, labels in label_sets(size):
            counters[name].labels(**labels).inc()

    return registry, record


def scrape(registry: Any) -> int:
    """Write the page for Prometheus; how many bytes it has."""
    from prometheus_client import generate_latest

    return len(generate_latest(registry))


def scrape_ours(monitor: Any) -> int:
    """The same with what the monitor has."""
    from prometheus_client import CollectorRegistry

    from claude_monitoring.exporters.prometheus import StoreCollector

    registry = CollectorRegistry(auto_describe=False)
    registry.register(StoreCollector(monitor._pipeline.collect, monitor._pipeline.resource))
    return scrape(registry)


def encode_ours(monitor: Any) -> int:
    """Collect, encode and serialise what the monitor has; how many bytes that is."""
    from claude_monitoring.exporters.encoding import parts
    from claude_monitoring.exporters.otlp_http import OtlpHttpExporter

    pipeline = monitor._pipeline
    pieces = parts("metrics", pipeline.collect(), pipeline.resource, OtlpHttpExporter.max_request_bytes)
    return sum(len(piece.request.SerializeToString()) for piece in pieces)


def encode_sdk(reader: Any) -> int:
    """The same with the SDK."""
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

    return len(encode_metrics(reader.get_metrics_data()).SerializeToString())


def _export(recording: Callable[[int], tuple[Any, Callable[[], None]]], encode: Callable[[Any], int]) -> Side:
    @contextmanager
    def side(effort: Effort) -> Iterator[Sample]:
        source, record = recording(effort.series)

        def sample() -> Reading:
            record()  # every series changed since the last time, as between two exports
            gc.collect()
            start = time.perf_counter()
            size = encode(source)
            elapsed = time.perf_counter() - start
            if size < effort.series * 60:
                raise RuntimeError(f"{size} bytes can't be {effort.series} series")
            return Reading(elapsed)

        sample()
        yield sample
        if hasattr(source, "close"):
            source.close()

    return side


our_export = _export(our_recording, encode_ours)
"""Collect, encode and serialise all series with ours."""
sdk_export = _export(sdk_recording, encode_sdk)
"""The same with the SDK."""


def memory(which: str, *, exported: bool = False) -> Side:
    """Bytes a series, in a fresh process for each sample; ``which`` is ``ours`` or ``sdk``.

    With ``exported`` after one export, so with what is kept for the next one.
    """

    @contextmanager
    def side(effort: Effort) -> Iterator[Sample]:
        yield lambda: Reading(run_child("memory", which, effort.series, int(exported)))

    return side


def bytes_per_series(which: str, size: int, *, exported: bool = False) -> float:
    """What ``size`` series of a counter with four labels keep, by tracemalloc; for ``child.py``."""
    recording, encode = {"ours": (our_recording, encode_ours), "sdk": (sdk_recording, encode_sdk)}[which]
    keep, record_one = recording(1)
    record_one()
    encode(keep)
    source, record = recording(size)
    gc.collect()
    tracemalloc.start()
    record()
    if exported:
        encode(source)
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    del keep, source
    return used / size
