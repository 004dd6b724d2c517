"""What the benchmark runs in processes of its own; the last line printed is the result as JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import bulk
import growth_sides
import guards
import heartbeat

__all__ = ["main"]

_GIVE_UP_S = 10.0
_CHILDS_SHARE = 10
_AT_ONCE = 20


def main(arguments: list[str]) -> None:
    """Do what the first argument says."""
    job, *rest = arguments
    jobs: dict[str, Callable[..., Any]] = {
        "memory": _memory,
        "heartbeat": lambda which, size: heartbeat.lateness(which, int(size)),
        "explosion": lambda calls: guards.two_million_calls(int(calls)),
        "sessions": lambda sessions: guards.sessions_slope(int(sessions)),
        "growth": lambda name, sizes, memory: growth_sides.grow(
            name, tuple(map(int, sizes.split(","))), memory=bool(int(memory))
        ),
        "exit": _exit,
        "fork": _fork,
    }
    result = jobs[job](*rest)
    print(json.dumps(result), flush=True)


def _memory(which: str, size: str, exported: str) -> float:
    return bulk.bytes_per_series(which, int(size), exported=bool(int(exported)))


def _exit(which: str, protocol: str, port: str, in_flight: str) -> float:
    """Record something and return the moment at which the program is done."""
    interval_s = 0.2 if int(in_flight) else 60.0
    start = _record_ours if which == "ours" else _record_stock
    start(protocol, f"http://127.0.0.1:{port}", interval_s)
    if int(in_flight):
        time.sleep(1)
    return time.monotonic()


def _record_ours(protocol: str, endpoint: str, interval_s: float) -> None:
    from claude_monitoring import AgentMonitor

    monitor = AgentMonitor(
        "bench", export_to_grafana=True, endpoint=endpoint, protocol=protocol, interval_s=interval_s
    )  # fmt: skip
    with monitor.track_task("bench"):
        monitor.increment("bench_calls", 1, {"status": "ok"})
    monitor.event("bench", {"status": "ok"})


def _record_stock(protocol: str, endpoint: str, interval_s: float) -> None:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader

    exporter: MetricExporter
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter

        exporter = GrpcExporter(endpoint=endpoint, insecure=True)
    elif protocol == "http/json":
        from opentelemetry.exporter.otlp.json.http.metric_exporter import OTLPMetricExporter as JsonExporter

        exporter = JsonExporter(endpoint=f"{endpoint}/v1/metrics")
    else:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter

        exporter = HttpExporter(endpoint=f"{endpoint}/v1/metrics")
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=interval_s * 1000)
    MeterProvider(metric_readers=[reader]).get_meter("bench").create_counter("bench_calls").add(1, {"status": "ok"})


def _fork(which: str, children: str, moment: str) -> dict[str, Any]:
    """Fork while four threads record; see how the children end, and what the parent counted.

    ``moment`` is ``warm``, or ``first-use``: while the threads are busy with what the first use imports and starts.
    """
    record, check, total = _our_counter() if which == "ours" else _stock_counter()
    stop = threading.Event()
    done = [0] * 4

    def work(place: int) -> None:
        while not stop.is_set():
            record()
            done[place] += 1

    threads = [threading.Thread(target=work, args=(place,), daemon=True) for place in range(len(done))]
    for thread in threads:
        thread.start()
    if moment == "warm":
        while not all(done):
            time.sleep(0.01)
        total()
    hung = wrong = 0
    left = int(children)
    while left > 0:
        size = min(left, _AT_ONCE)
        left -= size
        batch_hung, batch_wrong = _await_children([_fork_one(record, check) for _ in range(size)])
        hung, wrong = hung + batch_hung, wrong + batch_wrong
    stop.set()
    for thread in threads:
        thread.join()
    return {"hung": hung, "wrong": wrong, "parent_exact": total() == sum(done)}


def _fork_one(record: Callable[[], None], check: Callable[[], bool]) -> int:
    time.sleep(0.005)  # let the threads run, so that each fork meets them somewhere else
    pid = os.fork()
    if pid:
        return pid
    try:
        for _ in range(_CHILDS_SHARE):
            record()
        os._exit(0 if check() else 3)
    finally:
        os._exit(4)


def _await_children(pids: list[int]) -> tuple[int, int]:
    """How many of the children hung and how many counted wrongly."""
    deadline = time.monotonic() + _GIVE_UP_S
    wrong = 0
    while pids and time.monotonic() < deadline:
        for pid in list(pids):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                pids.remove(pid)
                wrong += os.waitstatus_to_exitcode(status) != 0
        time.sleep(0.005)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(pids), wrong


def _our_counter() -> tuple[Callable[[], None], Callable[[], bool], Callable[[], float]]:
    from claude_monitoring import AgentMonitor
    from claude_monitoring.exporters import CustomExporter

    class Keep(CustomExporter):
        """Keeps the latest total of the one counter."""

        def __init__(self) -> None:
            self.value = 0.0

        def export_metric(self, metric: Any) -> None:
            if metric.name == "claude.bench_forked":
                self.value = metric.value

    keep = Keep()
    monitor = AgentMonitor("bench", enabled=True, exporters=[keep])

    def total() -> float:
        return keep.value if monitor.flush(_GIVE_UP_S / 2) else -1

    return lambda: monitor.increment("bench_forked", 1, {"status": "ok"}), lambda: total() == _CHILDS_SHARE, total


def _stock_counter() -> tuple[Callable[[], None], Callable[[], bool], Callable[[], float]]:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    counter = MeterProvider(metric_readers=[reader], shutdown_on_exit=False).get_meter("bench").create_counter("forked")

    def total() -> float:
        data = reader.get_metrics_data()
        assert data is not None
        point: Any = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]
        return float(point.value)

    # Its children count on from the parent's total by design, so only that they end is looked at.
    return lambda: counter.add(1, {"status": "ok"}), lambda: total() > 0, total


if __name__ == "__main__":
    main(sys.argv[1:])
