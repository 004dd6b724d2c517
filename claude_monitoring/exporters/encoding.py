"""From batches to OTLP requests, as protobuf messages and as OTLP/JSON. Loaded with the first OTLP exporter.

Metrics and spans go through OpenTelemetry's public encoders. Its encoder for logs is private, so events are put
into the message here (proto: ``opentelemetry/proto/logs/v1/logs.proto``).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics

from claude_monitoring._version import __version__
from claude_monitoring.types import AttributeValue, EventRecord, Signal

__all__ = ["RESPONSES", "Part", "encode_events", "parts", "rejected", "to_json"]

RESPONSES: dict[Signal, type[Message]] = {
    "metrics": ExportMetricsServiceResponse,
    "logs": ExportLogsServiceResponse,
    "traces": ExportTraceServiceResponse,
}
"""What a receiver answers to each kind of request."""

_REJECTED = {"metrics": "rejected_data_points", "logs": "rejected_log_records", "traces": "rejected_spans"}
_ID_KEYS = frozenset({"traceId", "spanId", "parentSpanId"})
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Part:
    """One request. ``items`` of the batch are in it; ``lost`` more could not be encoded, for the reason ``why``."""

    request: Message
    items: int
    lost: int = 0
    why: str = ""


def parts(signal: Signal, batch: Any, resource: Mapping[str, AttributeValue], max_bytes: int) -> list[Part]:
    """The requests that carry ``batch``, in its order, each within ``max_bytes`` where its items allow it.

    An item that can't be encoded is left out and counted, so that it never holds back the others.
    """
    if signal == "metrics":
        request, lost, why = _encode_metrics(batch)
        pieces = _halves(request, max_bytes)
        return [Part(piece, 0, 0 if index else lost, why) for index, piece in enumerate(pieces)]
    if signal == "traces":
        return _item_parts(encode_spans, batch, max_bytes)
    return _item_parts(lambda events: encode_events(events, resource), batch, max_bytes)


def _item_parts(encode: Callable[[Sequence[Any]], Any], items: Sequence[Any], max_bytes: int) -> list[Part]:
    try:
        request = encode(items)
    except Exception as exc:  # noqa: BLE001 - names and values come from the host, protobuf raises many types
        if len(items) == 1:
            return [Part(encode([]), 1, 1, f"{type(exc).__name__}: {exc}"[:200])]
    else:
        if len(items) <= 1 or request.ByteSize() <= max_bytes:
            return [Part(request, len(items))]
    middle = len(items) // 2
    return _item_parts(encode, items[:middle], max_bytes) + _item_parts(encode, items[middle:], max_bytes)


def _encode_metrics(data: MetricsData) -> tuple[Any, int, str]:
    """The request for ``data``, how many of its metrics had to be left out, and why."""
    try:
        return encode_metrics(data), 0, ""
    except Exception as exc:  # noqa: BLE001 - as above
        why = f"{type(exc).__name__}: {exc}"[:200]
    whole, lost = encode_metrics(MetricsData(resource_metrics=[])), 0
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                one = ScopeMetrics(scope=scope.scope, metrics=[metric], schema_url=scope.schema_url)
                try:
                    whole.MergeFrom(encode_metrics(MetricsData(resource_metrics=[_around(resource, one)])))
                except Exception:  # noqa: BLE001 - as above
                    lost += len(metric.data.data_points)
    return whole, lost, why


def _around(resource: ResourceMetrics, scope: ScopeMetrics) -> ResourceMetrics:
    return ResourceMetrics(resource=resource.resource, scope_metrics=[scope], schema_url=resource.schema_url)


def _halves(request: Any, max_bytes: int) -> list[Any]:
    count = sum(len(_points(metric)) for scope in _scopes(request) for metric in scope.metrics)
    if count <= 1 or request.ByteSize() <= max_bytes:
        return [request]
    pieces = []
    for first, last in ((0, count // 2), (count // 2, count)):
        piece = type(request)()
        piece.CopyFrom(request)
        _keep(piece, first, last)
        pieces += _halves(piece, max_bytes)
    return pieces


def _scopes(request: Any) -> list[Any]:
    return [scope for resource in request.resource_metrics for scope in resource.scope_metrics]


def _points(metric: Any) -> Any:
    return getattr(metric, metric.WhichOneof("data")).data_points


def _keep(request: Any, first: int, last: int) -> None:
    """Keep the data points ``first`` to ``last`` of the request, in its order, and no metric without any."""
    seen = 0
    for scope in _scopes(request):
        kept = []
        for metric in scope.metrics:
            points = _points(metric)
            size = len(points)
            del points[max(0, min(last - seen, size)) :]
            del points[: max(0, min(first - seen, size))]
            seen += size
            if points:
                kept.append(metric)
        scope_metrics = [type(metric).FromString(metric.SerializeToString()) for metric in kept]
        del scope.metrics[:]
        scope.metrics.extend(scope_metrics)


def encode_events(events: Sequence[EventRecord], resource: Mapping[str, AttributeValue]) -> ExportLogsServiceRequest:
    """The request for ``events``, one scope after the other, shaped as Claude Code's (reference section 5)."""
    request = ExportLogsServiceRequest()
    whole = request.resource_logs.add()
    whole.resource.attributes.extend(_key_values(resource))
    scopes: dict[str, Any] = {}
    for event in events:
        scope = scopes.get(event.scope)
        if scope is None:
            scope = scopes[event.scope] = whole.scope_logs.add()
            scope.scope.name, scope.scope.version = _text(event.scope), __version__
        record = scope.log_records.add(
            time_unix_nano=event.time_unix_nano, observed_time_unix_nano=event.time_unix_nano
        )
        record.body.string_value = _text(event.body)
        record.attributes.extend(_key_values(event.attributes))
        if event.trace_id and event.span_id:
            record.trace_id = event.trace_id.to_bytes(16, "big")
            record.span_id = event.span_id.to_bytes(8, "big")
            record.flags = event.trace_flags
    return request


def _key_values(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=_text(key), value=_any_value(value)) for key, value in attributes.items()]


def _any_value(value: object) -> AnyValue:
    if isinstance(value, bool):  # before int: True is one
        return AnyValue(bool_value=value)
    if isinstance(value, int) and value in _INT64:
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, (list, tuple)):
        array = AnyValue()
        array.array_value.values.extend(_any_value(item) for item in value)
        return array
    return AnyValue(string_value=_text(str(value)))


def _text(text: str) -> str:
    """``text`` as protobuf takes it: lone surrogates become ``?``."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def to_json(message: Message) -> bytes:
    """``message`` as OTLP/JSON (OTLP specification, "JSON Protobuf Encoding").

    That is ProtoJSON with lowerCamelCase keys and 64-bit integers as text, but enums as integers and trace and
    span ids in hexadecimal.
    """
    tree = json_format.MessageToDict(message, use_integers_for_enums=True)
    _ids_to_hex(tree)
    return json.dumps(tree, separators=(",", ":")).encode("ascii")


def _ids_to_hex(node: Any) -> None:
    # User-given names are values of "key", never keys themselves, so a key that matches is the message's field.
    for item in node if isinstance(node, list) else [node]:
        if not isinstance(item, dict):
            continue
        for key, value in item.items():
            if key in _ID_KEYS and isinstance(value, str):
                item[key] = base64.b64decode(value).hex()
            elif isinstance(value, (dict, list)):
                _ids_to_hex(value)


def rejected(signal: Signal, response: Any) -> tuple[int, str]:
    """How many items an acknowledged request had refused, and the receiver's words about it."""
    partial = response.partial_success
    return max(0, getattr(partial, _REJECTED[signal])), partial.error_message
