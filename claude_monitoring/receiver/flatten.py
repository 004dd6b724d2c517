"""From a decoded request to plain values: its points, events or spans, in the order in which they stand there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1 import trace_pb2

from claude_monitoring.receiver.model import Log, Point, Scope, Span, SpanEvent
from claude_monitoring.types import Signal

__all__ = ["flatten"]

_NO_RECORDED_VALUE = 1
_TEMPORALITY = "AGGREGATION_TEMPORALITY_"
_KIND = "SPAN_KIND_"
_STATUS = "STATUS_CODE_"


def flatten(signal: Signal, message: Any, request: int) -> list[Point | Log | Span]:
    """Everything in ``message``, the decoded request number ``request``."""
    return list(_ROWS[signal](message, request))


def _items(groups: Any, scopes: str, items: str, request: int) -> Iterator[tuple[Any, Scope]]:
    """Each item of a request with where it came from; the three signals nest alike."""
    for group in groups:
        resource = _attributes(group.resource.attributes)
        for part in getattr(group, scopes):
            scope = Scope(resource, part.scope.name, part.scope.version, request)
            for item in getattr(part, items):
                yield item, scope


def _metrics(message: Any, request: int) -> Iterator[Point]:
    for metric, scope in _items(message.resource_metrics, "scope_metrics", "metrics", request):
        yield from _points(metric, scope)


def _logs(message: Any, request: int) -> Iterator[Log]:
    for record, scope in _items(message.resource_logs, "scope_logs", "log_records", request):
        yield _log(record, scope)


def _spans(message: Any, request: int) -> Iterator[Span]:
    for span, scope in _items(message.resource_spans, "scope_spans", "spans", request):
        yield _span(span, scope)


_ROWS: dict[Signal, Any] = {"metrics": _metrics, "logs": _logs, "traces": _spans}


def _points(metric: Any, scope: Scope) -> Iterator[Point]:
    kind = metric.WhichOneof("data")
    if kind is None:
        return
    data = getattr(metric, kind)
    temporality = ""
    if hasattr(data, "aggregation_temporality"):
        temporality = _name(AggregationTemporality, data.aggregation_temporality, _TEMPORALITY)
    for point in data.data_points:
        yield Point(
            metric=metric.name,
            unit=metric.unit,
            description=metric.description,
            kind=kind,
            temporality=temporality,
            monotonic=getattr(data, "is_monotonic", False),
            attributes=_attributes(point.attributes),
            start_unix_nano=point.start_time_unix_nano,
            time_unix_nano=point.time_unix_nano,
            scope=scope,
            recorded=not point.flags & _NO_RECORDED_VALUE,
            **(_number(point) if kind in ("sum", "gauge") else _distribution(point)),
        )


def _number(point: Any) -> dict[str, Any]:
    which = point.WhichOneof("value")
    return {"value": getattr(point, which) if which else None}


def _distribution(point: Any) -> dict[str, Any]:
    optional = point.DESCRIPTOR.oneofs_by_name  # proto3 "optional" is a oneof of one field
    return {
        "count": point.count,
        "sum": point.sum if "_sum" not in optional or point.HasField("sum") else None,
        "min": point.min if "_min" in optional and point.HasField("min") else None,
        "max": point.max if "_max" in optional and point.HasField("max") else None,
        "bounds": tuple(getattr(point, "explicit_bounds", ())),
        "bucket_counts": tuple(getattr(point, "bucket_counts", ())),
    }


def _log(record: Any, scope: Scope) -> Log:
    attributes = _attributes(record.attributes)
    return Log(
        body=_any(record.body),
        # the field came with version 1.5 of the protocol, after the oldest classes that we run on
        event_name=getattr(record, "event_name", "") or str(attributes.get("event.name", "")),
        attributes=attributes,
        time_unix_nano=record.time_unix_nano,
        observed_unix_nano=record.observed_time_unix_nano,
        severity_number=record.severity_number,
        severity_text=record.severity_text,
        trace_id=record.trace_id.hex(),
        span_id=record.span_id.hex(),
        scope=scope,
    )


def _span(span: Any, scope: Scope) -> Span:
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex(),
        kind=_name(trace_pb2.Span.SpanKind, span.kind, _KIND),
        status=_name(trace_pb2.Status.StatusCode, span.status.code, _STATUS),
        status_message=span.status.message,
        attributes=_attributes(span.attributes),
        events=tuple(SpanEvent(e.name, e.time_unix_nano, _attributes(e.attributes)) for e in span.events),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        start_unix_nano=span.start_time_unix_nano,
        end_unix_nano=span.end_time_unix_nano,
        scope=scope,
    )


def _name(enum: Any, number: int, prefix: str) -> str:
    try:
        return str(enum.Name(number)).removeprefix(prefix).lower()
    except ValueError:  # a newer protocol than our classes
        return str(number)


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _any(pair.value) for pair in pairs}


def _any(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which == "array_value":
        return [_any(item) for item in value.array_value.values]
    if which == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, which)
