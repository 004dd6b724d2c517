"""Your own exporter: subclass ``CustomExporter`` and hand an instance to ``AgentMonitor(exporters=[...])``.

::

    class PrintExporter(CustomExporter):
        def export_metric(self, metric):
            print(metric.name, metric.value, metric.timestamp)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from claude_monitoring.exporters.records import Metric, walk_metrics
from claude_monitoring.types import AttributeValue, EventRecord, ExportResult, Signal, Temporality

__all__ = ["CustomAdapter", "CustomExporter", "Metric", "signals_of"]

_METHODS: dict[Signal, str] = {"metrics": "export_metric", "logs": "export_event", "traces": "export_span"}


class CustomExporter:
    """Base class. The methods are called from one thread of this exporter's own, one call at a time.

    What a method raises is counted in ``monitor.health()`` and told once; it harms neither the host nor other
    exporters. A subclass may have an ``__init__`` of its own and need not call this class's.
    """

    def export_metric(self, metric: Metric) -> None:
        """Take one data point; called for every series on each export interval."""
        raise NotImplementedError(f"{type(self).__name__} has to define export_metric(self, metric)")

    def export_event(self, event: EventRecord) -> None:
        """Take one event; by default events are ignored."""

    def export_span(self, span: Any) -> None:
        """Take one ended span (``opentelemetry.sdk.trace.ReadableSpan``); by default spans are ignored."""

    def close(self) -> None:
        """Free what the exporter holds; called once, at the end."""


def signals_of(exporter: CustomExporter) -> list[Signal]:
    """What an exporter takes: metrics, and events and spans if it has a method of its own for them.

    Spans are not made for an exporter that ignores them, which would cost each task ten times as much.
    """
    own = (
        (signal, getattr(getattr(exporter, method, None), "__func__", method) is not vars(CustomExporter)[method])
        for signal, method in _METHODS.items()
    )
    return [signal for signal, is_own in own if is_own or signal == "metrics"]


class CustomAdapter:
    """A ``CustomExporter`` as the pipeline sees it, for one signal."""

    temporality: Temporality = "cumulative"

    def __init__(self, custom: CustomExporter, signal: Signal) -> None:
        self._custom = custom
        self._signal = signal

    @property
    def name(self) -> str:
        """The name of the subclass."""
        return type(self._custom).__name__

    def export(self, batch: Any, resource: Mapping[str, AttributeValue], timeout_s: float) -> ExportResult:  # noqa: ARG002
        """Give each item to the exporter; one that fails does not stop the others, and is not given again."""
        items: Iterable[Any] = walk_metrics(batch) if self._signal == "metrics" else batch
        method = _METHODS[self._signal]
        take: Callable[[Any], None] = getattr(self._custom, method)
        total = failed = 0
        first = ""
        for item in items:
            total += 1
            try:
                take(item)
            except Exception as exc:  # noqa: BLE001 - the host's code
                failed += 1
                first = first or f"{type(exc).__name__}: {exc}"
        if not failed:
            return ExportResult(ok=True)
        error = f"{self.name}.{method} failed for {failed} of {total}, first with {first}"
        return ExportResult(ok=failed < total, rejected=failed if failed < total else 0, error=error)

    def close(self) -> None:
        """Close the exporter, with the metrics: it is one object for the three signals."""
        if self._signal == "metrics":
            self._custom.close()
