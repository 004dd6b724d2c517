"""The pipeline of all monitors with equal settings: a store, and a thread for each far side."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from claude_monitoring._health import ExporterHealth, Health, HealthCounters
from claude_monitoring._once import once
from claude_monitoring._sealed import warn_once
from claude_monitoring._settings import Settings
from claude_monitoring._store import Places, Store
from claude_monitoring._version import __version__
from claude_monitoring.types import AttributeValue, EventRecord, Signal

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

    from claude_monitoring._lanes import BufferLane, Lane
    from claude_monitoring._lives import FarSide
    from claude_monitoring._metrics_lane import MetricsLane
    from claude_monitoring._targets import Target
    from claude_monitoring._worker import Worker
    from claude_monitoring.exporters.custom import CustomExporter
    from claude_monitoring.exporters.prometheus import PrometheusServer

__all__ = ["Pipeline", "import_what_recording_begins_with"]

_ARCH = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}  # OpenTelemetry's names, as in the captures

_SCRAPES = 2
_SCRAPER_PATIENCE_S = 300.0
"""A series that ended goes after so many scrapes, or so long after its end (a Collector's ``metric_expiration``)."""

_MEANWHILE = ". Until it works totals add up, and the latest 10,000 events and spans are kept"


def make_resource(settings: Settings, *, forked: bool) -> dict[str, AttributeValue]:
    """The resource as Claude Code sends it (reference section 2), and ``service.instance.id``.

    A forked child gets an instance id of its own; one that the user set is kept and the process id appended.
    """
    import platform
    from uuid import uuid4

    given = dict(settings.resource_attributes)
    instance = given.get("service.instance.id", "")
    if instance and forked:
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


def import_what_recording_begins_with(settings: Settings, *, custom: bool, spans: bool) -> None:
    """To be called when a monitor is made; a coroutine may be the first to record, and an import would stop its loop.

    Args:
        settings: Of the monitor.
        custom: Whether the host has exporters of its own.
        spans: Whether spans would be ours.
    """
    from claude_monitoring import _looks, _metrics_lane, _worker  # noqa: F401
    from claude_monitoring._snapshot import preload

    if custom or settings.metrics_exporters or settings.logs_exporters or settings.traces_exporters:
        preload()
    if spans and settings.traces_exporters:
        from claude_monitoring import _spans  # noqa: F401
    if "prometheus" in settings.metrics_exporters:
        from claude_monitoring.exporters import prometheus  # noqa: F401


class Pipeline:
    """What all monitors with the same settings share.

    Args:
        settings: How to deliver.
        custom: The host's own exporters.
        meter_provider: The host's, instead of our exporters of metrics.
        places: For the series of all pipelines of this process.
        forked: Whether this process is a forked child.
    """

    def __init__(
        self,
        settings: Settings,
        custom: Sequence[CustomExporter] = (),
        meter_provider: MeterProvider | None = None,
        *,
        places: Places | None = None,
        forked: bool = False,
    ) -> None:
        if meter_provider is not None:  # the host's pipeline delivers metrics, so ours does not
            settings = settings._replace(metrics_exporters=())
        self.settings = settings
        self.store = Store(settings.bounds, settings.series_ttl_s, places)
        self.store.report_more = self._report_delivery
        self.health = HealthCounters()
        self.resource = make_resource(settings, forked=forked)
        self._lock = threading.RLock()
        self.users = 0
        self.key: object = None
        """By which those who want one like this find it."""
        if meter_provider is not None:
            from claude_monitoring._observe import observe

            observe(self.store, meter_provider)
        self._prometheus: PrometheusServer | None = None
        self._scraper: FarSide | None = None
        self._scrapes = ExporterHealth("prometheus", "metrics")
        self._collected = threading.local()
        self._started = False
        self._event_lanes: list[BufferLane] = []
        self._span_lanes: list[BufferLane] = []
        self._workers = self._make_workers(custom)
        self.wants_spans = bool(self._span_lanes)
        self.wants_events = bool(self._event_lanes)

    def _make_workers(self, custom: Sequence[CustomExporter]) -> list[Worker]:
        from claude_monitoring._targets import Target
        from claude_monitoring._worker import Worker  # with telemetry off none of this is needed

        spool = self.settings.spool
        meanwhile = f"{_MEANWHILE}; what is left at the end goes to {spool}" if spool else _MEANWHILE
        lanes: dict[str, list[MetricsLane | BufferLane]] = {}
        targets: dict[str, Target] = {}
        per_signal: tuple[tuple[Signal, tuple[str, ...]], ...] = (
            ("metrics", self.settings.metrics_exporters),
            ("logs", self.settings.logs_exporters),
            ("traces", self.settings.traces_exporters),
        )
        for signal, kinds in per_signal:
            for kind in kinds:
                if kind == "prometheus":
                    continue
                name = self._target_name(kind, signal)
                target = targets.setdefault(name, Target(name, meanwhile))
                lane = self._lane(signal, kind, partial(self._official, kind, signal), target)
                lanes.setdefault(name, []).append(lane)
        workers = [self._worker("claude-monitoring-exporter", of_target) for of_target in lanes.values()]
        for exporter in custom:
            from claude_monitoring.exporters.custom import signals_of

            name = type(exporter).__name__
            target = Target(name)
            own = [
                self._lane(signal, name, partial(self._custom, exporter, signal), target)
                for signal in signals_of(exporter)
            ]
            workers.append(Worker(f"claude-monitoring-{name}", own))
        return workers

    def _worker(self, name: str, lanes: Sequence[Lane]) -> Worker:
        from claude_monitoring._worker import Worker

        of_otlp: dict[Signal, Lane] = {lane.signal: lane for lane in lanes if lane.kind == "otlp"}
        if not of_otlp or not self.settings.spool:
            return Worker(name, lanes)
        from claude_monitoring._spool import Spool
        from claude_monitoring._spooling import Sender, Shelf

        shelf = Shelf(Spool(self.settings.spool, self.settings.spool_max_bytes), self.resource)
        for lane in lanes:
            lane.shelf = shelf
        return Worker(name, lanes, Sender(shelf, of_otlp))

    def _target_name(self, kind: str, signal: Signal) -> str:
        if kind != "otlp":
            return kind
        otlp = getattr(self.settings, f"{signal}_otlp")
        from urllib.parse import urlsplit

        url = urlsplit(otlp.endpoint)
        return f"otlp {otlp.protocol} {url.scheme}://{url.netloc.rpartition('@')[2]}"

    def _lane(self, signal: Signal, kind: str, make: Callable[[], Any], target: Target) -> MetricsLane | BufferLane:
        from claude_monitoring._lanes import BufferLane
        from claude_monitoring._metrics_lane import MetricsLane

        interval_s = getattr(self.settings, f"{signal}_interval_s")
        rest = (kind, make, interval_s, self.resource, self.health, target)
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
        with self._lock:
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
            self._scrapes = replace(self._scrapes, consecutive_failures=1, last_error=line)
            warn_once(("bind", host, port), f"claude_monitoring: {line}")

    @property
    def prometheus_address(self) -> tuple[str, int] | None:
        """Host and port of ``/metrics``; ``None`` without one."""
        return self._prometheus.address if self._prometheus is not None else None

    def collect(self) -> Any:
        """Everything in the store as cumulative ``MetricsData``; ``None`` for nothing."""
        from claude_monitoring._snapshot import make_batch, take_for_export

        batch = make_batch(take_for_export(self.store), self.resource)
        self._collected.batch = batch
        return batch.data

    def _scraped(self) -> None:
        """What this thread collected was taken by a scraper."""
        if self._scraper is not None:
            batch = self._collected.batch
            if self._scraper.is_waited_for:
                self._scraper.delivered(batch.snapshot.values)
            with self._lock:  # each scrape has a thread of its own
                sent = self._scrapes.sent + batch.size
                self._scrapes = replace(self._scrapes, last_success_unix_s=time.time(), sent=sent)

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

    def ask_flush(self, deadline: float, *, closing: bool = False) -> list[tuple[Worker, int]]:
        """Ask every worker to send what it has; used with ``wait_flushed`` so that all work at the same time."""
        workers = self._workers if self._started else []
        return [(worker, worker.ask_flush(deadline, closing=closing)) for worker in workers]

    def flush(self, timeout_s: float) -> bool:
        """Send everything now; whether all of it was acknowledged within ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        tickets = self.ask_flush(deadline)
        results = [worker.wait_flushed(ticket, deadline) for worker, ticket in tickets]
        return all(results)

    def close(self, timeout_s: float) -> bool:
        """Flush, end the threads, close connections and the Prometheus endpoint, all within ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        return self.finish_close(self.ask_flush(deadline, closing=True), deadline)

    def finish_close(self, tickets: Sequence[tuple[Worker, int]], deadline: float) -> bool:
        """The second half of ``close``, after ``ask_flush``."""
        results = [worker.wait_flushed(ticket, deadline) for worker, ticket in tickets]
        for worker in self._workers:
            worker.stop(deadline)
            for lane in worker.lanes:
                lane.give_up(in_time=not worker.gave_up(lane))
        if self._prometheus is not None:
            self._prometheus.close()
        self.store.close()
        return all(results)

    def leave_to_parent(self) -> None:
        """In a forked child: keep nothing of the parent's, touch none of its locks."""
        if self._prometheus is not None:
            self._prometheus.close_in_child()
        self.store.abandon()

    def _report_delivery(self) -> None:
        exports: Counter[tuple[str, Signal, str]] = Counter()
        for lane in self._lanes():
            for result, count in list(lane.exports.items()):  # its worker may add one
                exports[lane.kind, lane.signal, result] += count
        for (kind, signal, result), count in exports.items():
            self.store.report("exports", count, exporter=kind, signal=signal, result=result)
        for reason, count in self.health.dropped().items():
            self.store.report("dropped", count, reason=reason)

    def _lanes(self) -> list[Lane]:
        return [lane for worker in self._workers for lane in worker.lanes]

    def report(self, *, enabled: bool) -> Health:
        """The health of this pipeline."""
        exporters = [lane.health() for lane in self._lanes()]
        if "prometheus" in self.settings.metrics_exporters:
            exporters.append(self._scrapes)
        return Health(
            enabled=enabled,
            exporters=tuple(exporters),
            dropped=self.health.dropped(),
            series=self.store.series_count(),
            overflowed=self.health.overflowed,
        )
