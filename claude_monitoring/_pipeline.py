"""One pipeline a process for equal settings: a store, an exporter thread, and what they need at fork and exit."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from claude_monitoring import _labels, _sealed, _series
from claude_monitoring._health import DropReason, Health, HealthCounters
from claude_monitoring._once import once
from claude_monitoring._sealed import Sealed, log, warn_once
from claude_monitoring._settings import Settings
from claude_monitoring._store import Store
from claude_monitoring._version import __version__
from claude_monitoring.types import AttributeValue, EventRecord, Signal

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

    from claude_monitoring._lanes import BufferLane, MetricsLane
    from claude_monitoring._lives import FarSide
    from claude_monitoring._worker import Worker
    from claude_monitoring.exporters.custom import CustomExporter
    from claude_monitoring.exporters.prometheus import PrometheusServer

__all__ = ["Pipeline", "acquire", "before_exit", "on_fork", "release"]

_ARCH = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}  # OpenTelemetry's names, as in the captures

_SCRAPES = 2
_SCRAPER_PATIENCE_S = 300.0
"""A series that ended goes after so many scrapes, or so long after its end (a Collector's ``metric_expiration``)."""

_lock = threading.RLock()
_pipelines: dict[object, Pipeline] = {}
_after_fork: list[Callable[[], None]] = []
_before_exit: list[Callable[[], None]] = []
_forked = False
_finalizer: object = None


def make_resource(settings: Settings) -> dict[str, AttributeValue]:
    """The resource as Claude Code sends it (reference section 2), and ``service.instance.id``.

    A forked child gets an instance id of its own; one that the user set is kept and the process id appended.
    """
    import platform
    from uuid import uuid4

    given = dict(settings.resource_attributes)
    instance = given.get("service.instance.id", "")
    if instance and _forked:
        instance = f"{instance}-{os.getpid()}"
    resource: dict[str, AttributeValue] = {
        "host.arch": _ARCH.get(platform.machine(), platform.machine()),
        "os.type": platform.system().lower(),
        "os.version": platform.release(),
        "service.version": __version__,
        **given,
        "service.name": settings.service_name,
        "service.instance.id": instance or str(uuid4()),
    }
    if settings.resource_include_host:
        resource.setdefault("host.name", platform.node())
    return resource


class Pipeline:
    """What all monitors with the same settings share."""

    def __init__(
        self,
        settings: Settings,
        custom: Sequence[CustomExporter] = (),
        meter_provider: MeterProvider | None = None,
    ) -> None:
        if meter_provider is not None:  # the host's pipeline delivers metrics, so ours does not
            settings = replace(settings, metrics_exporters=())
        self.settings = settings
        self.store = Store(settings.bounds, settings.series_ttl_s, self._series_elsewhere)
        self.health = HealthCounters()
        self.resource = make_resource(settings)
        self.users = 0
        if meter_provider is not None:
            from claude_monitoring._observe import observe

            observe(self.store, meter_provider)
        self._prometheus: PrometheusServer | None = None
        self._scraper: FarSide | None = None
        self._collected = threading.local()
        self._started = False
        self._event_lanes: list[BufferLane] = []
        self._span_lanes: list[BufferLane] = []
        self._workers = self._make_workers(custom)
        self.wants_spans = bool(self._span_lanes)
        self.wants_events = bool(self._event_lanes)

    def _series_elsewhere(self) -> int:
        return sum(other.store.count for other in list(_pipelines.values()) if other is not self)

    def _make_workers(self, custom: Sequence[CustomExporter]) -> list[Worker]:
        from claude_monitoring._worker import Worker  # with telemetry off none of this is needed

        lanes: list[MetricsLane | BufferLane] = []
        per_signal: tuple[tuple[Signal, tuple[str, ...]], ...] = (
            ("metrics", self.settings.metrics_exporters),
            ("logs", self.settings.logs_exporters),
            ("traces", self.settings.traces_exporters),
        )
        for signal, kinds in per_signal:
            pushed = [kind for kind in kinds if kind != "prometheus"]
            lanes.extend(self._lane(signal, kind, partial(self._official, kind, signal)) for kind in pushed)
        workers = [Worker("claude-monitoring-exporter", lanes)] if lanes else []
        # A host's own exporter may be slow, so it gets a thread of its own and delays nobody else.
        for exporter in custom:
            name = type(exporter).__name__
            own = [self._lane(signal, name, partial(self._custom, exporter, signal)) for signal, _ in per_signal]
            workers.append(Worker(f"claude-monitoring-{name}", own))
        return workers

    def _lane(self, signal: Signal, kind: str, make: Callable[[], Any]) -> MetricsLane | BufferLane:
        from claude_monitoring._lanes import BufferLane, MetricsLane

        interval_s = getattr(self.settings, f"{signal}_interval_s")
        rest = (kind, make, interval_s, self.resource, self.health)
        if signal == "metrics":
            return MetricsLane(self.store, *rest)
        lane = BufferLane(signal, *rest)
        (self._event_lanes if signal == "logs" else self._span_lanes).append(lane)
        return lane

    def _official(self, kind: str, signal: Signal) -> Any:
        from claude_monitoring.exporters import make_exporter

        return make_exporter(kind, signal, self.settings)

    def _custom(self, exporter: CustomExporter, signal: Signal) -> Any:
        from claude_monitoring.exporters.custom import CustomAdapter

        return CustomAdapter(exporter, signal)

    def start(self) -> None:
        """Start the threads and the Prometheus endpoint, once; called by whatever records first."""
        if self._started:
            return
        with _lock:
            if self._started:
                return
            self._started = True
            for worker in self._workers:
                worker.start()
            if "prometheus" in self.settings.metrics_exporters:
                self._start_prometheus()

    def _start_prometheus(self) -> None:
        with once:
            from claude_monitoring.exporters.prometheus import PrometheusServer, describe_bind_error
        host, port = self.settings.prometheus_host, self.settings.prometheus_port
        self._scraper = self.store.lives.add_far_side(_SCRAPES, _SCRAPER_PATIENCE_S)
        try:
            self._prometheus = PrometheusServer(host, port, self.collect, self.resource, self._scraped)
        except OSError as exc:
            line = describe_bind_error(host, port, exc)
            self.health.exported("metrics prometheus", line)
            warn_once(("bind", host, port), f"claude_monitoring: {line}")

    @property
    def prometheus_address(self) -> tuple[str, int] | None:
        """Host and port of ``/metrics``; ``None`` without one."""
        return self._prometheus.address if self._prometheus is not None else None

    def collect(self) -> Any:
        """Everything in the store as cumulative ``MetricsData``; ``None`` for nothing."""
        from claude_monitoring._snapshot import take_for_export, to_metrics_data

        snapshot = take_for_export(self.store)
        self._collected.values = snapshot.values
        return to_metrics_data(snapshot, self.resource)

    def _scraped(self) -> None:
        """What this thread collected was taken by a scraper."""
        if self._scraper is not None:
            self._scraper.delivered(self._collected.values)

    def add_event(self, event: EventRecord) -> None:
        """Hand an event to every exporter of logs."""
        for lane in self._event_lanes:
            lane.put(event)
        self.start()

    def add_span(self, span: Any) -> None:
        """Hand an ended span to every exporter of traces."""
        for lane in self._span_lanes:
            lane.put(span)
        self.start()

    def ask_flush(self, deadline: float) -> list[tuple[Worker, int]]:
        """Ask every worker to send what it has; used with ``wait_flushed`` so that all work at the same time."""
        return [(worker, worker.ask_flush(deadline)) for worker in self._workers] if self._started else []

    def flush(self, timeout_s: float) -> bool:
        """Send everything now; whether all of it was acknowledged within ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        tickets = self.ask_flush(deadline)
        results = [worker.wait_flushed(ticket, deadline) for worker, ticket in tickets]
        return all(results)

    def close(self, timeout_s: float) -> bool:
        """Flush, end the threads, close connections and the Prometheus endpoint, all within ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        return self.finish_close(self.ask_flush(deadline), deadline)

    def finish_close(self, tickets: Sequence[tuple[Worker, int]], deadline: float) -> bool:
        """The second half of ``close``, after ``ask_flush``."""
        results = [worker.wait_flushed(ticket, deadline) for worker, ticket in tickets]
        lost = sum(lane.abandon() for lane in (*self._event_lanes, *self._span_lanes))
        if lost:
            self.health.drop(DropReason.NOT_DELIVERED_AT_EXIT, lost)
        for worker in self._workers:
            worker.stop(deadline)
        if self._prometheus is not None:
            self._prometheus.close()
        self.store.close()
        return all(results)

    def leave_to_parent(self) -> None:
        """In a forked child: keep nothing of the parent's, touch none of its locks."""
        if self._prometheus is not None:
            self._prometheus.close_in_child()
        self.store.abandon()

    def report(self, *, enabled: bool) -> Health:
        """The health of this pipeline."""
        names = [f"{lane.signal} {lane.exporter_name}" for worker in self._workers for lane in worker.lanes]
        if "prometheus" in self.settings.metrics_exporters:
            names.append("metrics prometheus")
        return self.health.snapshot(enabled=enabled, exporters=tuple(names), series=self.store.series_count())


def acquire(
    settings: Settings, custom: Sequence[CustomExporter] = (), meter_provider: MeterProvider | None = None
) -> Pipeline:
    """The pipeline for these settings, made on first use; each ``acquire`` wants one ``release``."""
    with _lock:
        key = settings, tuple(id(exporter) for exporter in custom), id(meter_provider)
        pipeline = _pipelines.get(key)
        if pipeline is None:
            pipeline = _pipelines[key] = Pipeline(settings, custom, meter_provider)
            _flush_at_the_end_of_a_worker()
        pipeline.users += 1
        return pipeline


def _flush_at_the_end_of_a_worker() -> None:
    """A forked worker of ``multiprocessing`` ends without ``atexit``; it runs finalizers instead."""
    global _finalizer  # noqa: PLW0603 - one a process, and forgotten in a forked child
    multiprocessing = sys.modules.get("multiprocessing")
    if _finalizer is None and multiprocessing is not None and multiprocessing.parent_process() is not None:
        from multiprocessing.util import Finalize

        _finalizer = Finalize(None, _at_exit, exitpriority=100)


def release(pipeline: Pipeline, timeout_s: float) -> bool:
    """Give a pipeline back: its last user closes it, others flush it. Whether all was acknowledged in time."""
    with _lock:
        pipeline.users -= 1
        last = pipeline.users <= 0
        if last:
            for key, value in list(_pipelines.items()):
                if value is pipeline:
                    del _pipelines[key]
    return pipeline.close(timeout_s) if last else pipeline.flush(timeout_s)


def on_fork(callback: Callable[[], None]) -> None:
    """Call ``callback`` in every forked child, after the pipelines of the parent were left behind."""
    _after_fork.append(callback)


def before_exit(callback: Callable[[], None]) -> None:
    """Call ``callback`` when the interpreter ends, before the last flush."""
    _before_exit.append(callback)


def _in_child() -> None:
    global _lock, _forked, _finalizer  # noqa: PLW0603 - the parent's lock may be held by a thread that does not exist here
    _lock = threading.RLock()
    _forked = True
    _finalizer = None
    _sealed.renew_lock()
    _series.renew_lock()
    _labels.renew_salt()
    for pipeline in list(_pipelines.values()):
        with Sealed():
            pipeline.leave_to_parent()
    _pipelines.clear()
    for callback in _after_fork:
        with Sealed():
            callback()


def _at_exit() -> None:
    """Flush all pipelines at the same time, within one bound for all of them."""
    for callback in _before_exit:
        with Sealed():
            callback()
    with Sealed():
        pipelines = list(_pipelines.values())
        if not pipelines:
            return
        bound_s = max(pipeline.settings.shutdown_timeout_s for pipeline in pipelines)
        deadline = time.monotonic() + bound_s
        asked = [(pipeline, pipeline.ask_flush(deadline)) for pipeline in pipelines]
        for pipeline, tickets in asked:
            if not pipeline.finish_close(tickets, deadline):
                log.debug("not everything was acknowledged before the exit")


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_in_child)
atexit.register(_at_exit)  # at import, so that it runs after the hooks that a host registers later
