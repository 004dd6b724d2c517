"""Batches as plain values: what our readable exporters print and what a custom exporter is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from claude_monitoring.types import EventRecord, Kind, Signal

__all__ = ["Metric", "kind_of", "to_dicts", "walk_metrics"]


@dataclass(frozen=True)
class Metric:
    """One data point.

    ``value`` is the running total of a counter or an up-down counter, the last value of a gauge, the sum of a
    histogram. ``timestamp`` is in seconds since the epoch. ``count``, ``bucket_counts`` and ``bounds`` (upper
    bounds; one bucket more than bounds) are a histogram's, ``None`` otherwise.
    """

    name: str
    value: float
    timestamp: float
    attributes: dict[str, Any]
    unit: str
    kind: Kind
    description: str = ""
    count: int | None = None
    bucket_counts: tuple[int, ...] | None = None
    bounds: tuple[float, ...] | None = None


def kind_of(data: Any) -> Kind:
    """The kind of instrument behind OpenTelemetry's ``Sum``, ``Gauge`` or ``Histogram``."""
    from opentelemetry.sdk.metrics.export import Gauge, Histogram

    if isinstance(data, Histogram):
        return "histogram"
    if isinstance(data, Gauge):
        return "gauge"
    return "counter" if data.is_monotonic else "up_down_counter"


def walk_metrics(data: Any) -> Iterator[Metric]:
    """Every data point of a ``MetricsData``."""
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = kind_of(metric.data)
                for point in metric.data.data_points:
                    yield _metric(metric, kind, point)


def _metric(metric: Any, kind: Kind, point: Any) -> Metric:
    is_histogram = kind == "histogram"
    return Metric(
        name=metric.name,
        value=float(point.sum if is_histogram else point.value),
        timestamp=point.time_unix_nano / 1e9,
        attributes=dict(point.attributes or {}),
        unit=metric.unit or "",
        kind=kind,
        description=metric.description or "",
        count=point.count if is_histogram else None,
        bucket_counts=tuple(point.bucket_counts) if is_histogram else None,
        bounds=tuple(point.explicit_bounds) if is_histogram else None,
    )


def to_dicts(signal: Signal, batch: Any) -> Iterator[dict[str, Any]]:
    """One dictionary for each data point, event or span, with a ``signal`` and values that JSON has.

    Metrics: name, kind, unit, value, time, attributes; for histograms also count, bounds, bucket_counts. Events:
    name, time, attributes, scope, trace_id, span_id. Spans: name, kind, time, duration_s, status, attributes,
    events, scope, trace_id, span_id, parent_span_id. Times are seconds since the epoch.
    """
    if signal == "metrics":
        yield from map(_metric_dict, walk_metrics(batch))
    elif signal == "logs":
        yield from map(_event_dict, _sequence(batch))
    else:
        yield from map(_span_dict, _sequence(batch))


def _sequence(batch: Any) -> Sequence[Any]:
    return batch  # type: ignore[no-any-return]  # what SignalExporter.export promises


def _metric_dict(metric: Metric) -> dict[str, Any]:
    row: dict[str, Any] = {
        "signal": "metric",
        "name": metric.name,
        "kind": metric.kind,
        "unit": metric.unit,
        "value": metric.value,
        "time": metric.timestamp,
        "attributes": metric.attributes,
    }
    if metric.kind == "histogram":
        row |= {"count": metric.count, "bounds": metric.bounds, "bucket_counts": metric.bucket_counts}
    return row


def _event_dict(event: EventRecord) -> dict[str, Any]:
    return {
        "signal": "event",
        "name": event.body,
        "time": event.time_unix_nano / 1e9,
        "attributes": dict(event.attributes),
        "scope": event.scope,
        "trace_id": _hex(event.trace_id, 32),
        "span_id": _hex(event.span_id, 16),
    }


def _span_dict(span: Any) -> dict[str, Any]:
    start, end = span.start_time or 0, span.end_time or 0
    scope = span.instrumentation_scope
    return {
        "signal": "span",
        "name": span.name,
        "kind": span.kind.name.lower(),
        "time": start / 1e9,
        "duration_s": (end - start) / 1e9,
        "status": span.status.status_code.name.lower(),
        "status_message": span.status.description or "",
        "attributes": _plain(span.attributes),
        "events": [
            {"name": event.name, "time": event.timestamp / 1e9, "attributes": _plain(event.attributes)}
            for event in span.events
        ],
        "scope": scope.name if scope is not None else "",
        "trace_id": _hex(span.context.trace_id, 32),
        "span_id": _hex(span.context.span_id, 16),
        "parent_span_id": _hex(span.parent.span_id, 16) if span.parent is not None else "",
    }


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(attributes or {})


def _hex(number: int, digits: int) -> str:
    return f"{number:0{digits}x}" if number else ""
