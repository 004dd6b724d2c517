"""From batches to OTLP requests, as protobuf messages and as OTLP/JSON. Loaded with the first OTLP exporter.

Metrics and spans go through OpenTelemetry's public encoders. Its encoder for logs is private, so events are put
into the message here (proto: ``opentelemetry/proto/logs/v1/logs.proto``).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics

from claude_monitoring._version import __version__
from claude_monitoring.exporters.attributes import key_values, text
from claude_monitoring.exporters.collected import Collected
from claude_monitoring.exporters.metric_requests import MetricsRequest
from claude_monitoring.types import AttributeValue, EventRecord, Signal

__all__ = ["RESPONSES", "Part", "cut", "encode_events", "from_json", "parts", "rejected", "to_json"]

RESPONSES: dict[Signal, type[Message]] = {
    "metrics": ExportMetricsServiceResponse,
    "logs": ExportLogsServiceResponse,
    "traces": ExportTraceServiceResponse,
}
"""What a receiver answers to each kind of request."""

_REQUESTS: dict[Signal, type[Message]] = {
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
    "traces": ExportTraceServiceRequest,
}
_REJECTED = {"metrics": "rejected_data_points", "logs": "rejected_log_records", "traces": "rejected_spans"}
_TREE: dict[Signal, tuple[str, str, str]] = {
    "metrics": ("resource_metrics", "scope_metrics", "metrics"),
    "logs": ("resource_logs", "scope_logs", "log_records"),
    "traces": ("resource_spans", "scope_spans", "spans"),
}
_ID_KEYS = frozenset({"traceId", "spanId", "parentSpanId"})


def _standard_dumps(tree: Any) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode("ascii")


_dumps: Callable[[Any], bytes] = _standard_dumps
with suppress(ImportError):
    from orjson import dumps

    _dumps = dumps  # several times as fast


@dataclass(frozen=True, slots=True)
class Part:
    """A request with the items at ``places`` of the batch; ``None`` if they can't be encoded, and ``why``."""

    places: range
    request: Any
    why: str = ""


def parts(signal: Signal, batch: Any, resource: Mapping[str, AttributeValue], max_bytes: int) -> list[Part]:
    """The requests that carry ``batch``, in its order, each within ``max_bytes`` where its items allow it.

    What can't be encoded has a part of its own, so that it never holds back the rest.
    """
    if signal == "metrics":
        whole = _encode_collected(batch) if isinstance(batch, Collected) else _encode_metrics(batch)
    elif signal == "traces":
        whole = _encode_items(_encode_spans, batch, 0)
    else:
        whole = _encode_items(lambda events: encode_events(events, resource), batch, 0)
    return [piece for part in whole for piece in cut(signal, part, max_bytes)]


def _encode_spans(spans: Sequence[Any]) -> ExportTraceServiceRequest:
    """As OpenTelemetry encodes them, with the flag that says that they are sampled, as only such ones come here."""
    request = encode_spans(spans)
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.flags |= 1
    return request


def _encode_items(encode: Callable[[Sequence[Any]], Any], items: Sequence[Any], first: int) -> list[Part]:
    try:
        return [Part(range(first, first + len(items)), encode(items))]
    except Exception as exc:  # noqa: BLE001 - names and values come from the host, protobuf raises many types
        if len(items) == 1:
            return [Part(range(first, first + 1), None, f"{type(exc).__name__}: {exc}"[:200])]
    middle = len(items) // 2
    return _encode_items(encode, items[:middle], first) + _encode_items(encode, items[middle:], first + middle)


def _encode_collected(data: Collected) -> list[Part]:
    """One part; where that fails, one a metric."""
    try:
        return [Part(range(sum(map(len, data.metrics))), MetricsRequest.of(data, data.metrics))]
    except Exception:  # noqa: BLE001, S110 - as above; which of them it is turns out below
        pass
    found, first = [], 0
    for metric in data.metrics:
        places = range(first, first + len(metric))
        first += len(metric)
        try:
            found.append(Part(places, MetricsRequest.of(data, [metric])))
        except Exception as exc:  # noqa: BLE001 - as above
            found.append(Part(places, None, f"{type(exc).__name__}: {exc}"[:200]))
    return found


def _encode_metrics(data: MetricsData) -> list[Part]:
    """One part; where that fails, one a metric."""
    metrics = [
        (resource, scope, metric)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]
    sizes = [len(metric.data.data_points) for _, _, metric in metrics]
    try:
        return [Part(range(sum(sizes)), encode_metrics(data))]
    except Exception:  # noqa: BLE001, S110 - as above; which of them it is turns out below
        pass
    found, first = [], 0
    for (resource, scope, metric), size in zip(metrics, sizes, strict=True):
        places = range(first, first + size)
        first += size
        one = ScopeMetrics(scope=scope.scope, metrics=[metric], schema_url=scope.schema_url)
        around = ResourceMetrics(resource=resource.resource, scope_metrics=[one], schema_url=resource.schema_url)
        try:
            found.append(Part(places, encode_metrics(MetricsData(resource_metrics=[around]))))
        except Exception as exc:  # noqa: BLE001 - as above
            found.append(Part(places, None, f"{type(exc).__name__}: {exc}"[:200]))
    return found


def cut(signal: Signal, part: Part, max_bytes: int) -> list[Part]:
    """``part`` in as many pieces as it takes to keep each within ``max_bytes``; one item is never cut."""
    count = len(part.places)
    if part.request is None or count <= 1 or part.request.ByteSize() <= max_bytes:
        return [part]
    pieces = []
    for first, last in ((0, count // 2), (count // 2, count)):
        if isinstance(part.request, MetricsRequest):
            piece: Any = part.request.part(first, last)
        else:
            piece = type(part.request)()
            piece.CopyFrom(part.request)
            _keep(signal, piece, first, last)
        pieces += cut(signal, Part(part.places[first:last], piece), max_bytes)
    return pieces


def _keep(signal: Signal, request: Any, first: int, last: int) -> None:
    """Keep the items ``first`` to ``last`` of the request, in its order, and nothing that has none."""
    seen = 0
    outer, inner, leaf = _TREE[signal]
    for resource in getattr(request, outer):
        for scope in getattr(resource, inner):
            found = getattr(scope, leaf)
            for items in [_points(metric) for metric in found] if signal == "metrics" else [found]:
                size = len(items)
                del items[max(0, min(last - seen, size)) :]
                del items[: max(0, min(first - seen, size))]
                seen += size
            if signal == "metrics":
                _remove(found, lambda metric: not _points(metric))
        _remove(getattr(resource, inner), lambda scope: not getattr(scope, leaf))


def _points(metric: Any) -> Any:
    return getattr(metric, metric.WhichOneof("data")).data_points


def _remove(container: Any, is_empty: Callable[[Any], bool]) -> None:
    for place in reversed(range(len(container))):
        if is_empty(container[place]):
            del container[place]


def encode_events(events: Sequence[EventRecord], resource: Mapping[str, AttributeValue]) -> ExportLogsServiceRequest:
    """The request for ``events``, one scope after the other, shaped as Claude Code's (reference section 5)."""
    request = ExportLogsServiceRequest()
    whole = request.resource_logs.add()
    whole.resource.attributes.extend(key_values(resource))
    scopes: dict[str, Any] = {}
    for event in events:
        scope = scopes.get(event.scope)
        if scope is None:
            scope = scopes[event.scope] = whole.scope_logs.add()
            scope.scope.name, scope.scope.version = text(event.scope), __version__
        record = scope.log_records.add(
            time_unix_nano=event.time_unix_nano, observed_time_unix_nano=event.time_unix_nano
        )
        record.body.string_value = text(event.body)
        record.attributes.extend(key_values(event.attributes))
        if event.trace_id and event.span_id:
            record.trace_id = event.trace_id.to_bytes(16, "big")
            record.span_id = event.span_id.to_bytes(8, "big")
            record.flags = event.trace_flags
    return request


def to_json(message: Message | MetricsRequest) -> bytes:
    """``message`` as OTLP/JSON (OTLP specification, "JSON Protobuf Encoding").

    That is ProtoJSON with lowerCamelCase keys and 64-bit integers as text, but enums as integers and trace and
    span ids in hexadecimal.
    """
    if isinstance(message, MetricsRequest):
        return message.to_json()
    tree = json_format.MessageToDict(message, use_integers_for_enums=True)
    _ids_to_hex(tree)
    return _dumps(tree)


def from_json(signal: Signal, line: bytes) -> Message:
    """The request that ``to_json`` wrote.

    Raises:
        ValueError: It is something else.
    """
    message = _REQUESTS[signal]()
    try:
        tree = json.loads(line)
        if not isinstance(tree, dict):
            raise TypeError(type(tree).__name__)
        _ids_to_base64(tree)
        return json_format.ParseDict(tree, message, ignore_unknown_fields=True)
    except (json_format.ParseError, RecursionError, AttributeError, TypeError) as exc:
        raise ValueError(f"no request of {signal}: {exc}") from exc


def _ids_to_base64(node: Any) -> None:
    for key, value, holder in _ids(node):
        holder[key] = base64.b64encode(bytes.fromhex(value)).decode("ascii")


def _ids_to_hex(node: Any) -> None:
    for key, value, holder in _ids(node):
        holder[key] = base64.b64decode(value).hex()


def _ids(node: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Every id below ``node``, with its key and the message that it is in."""
    # User-given names are values of "key", never keys themselves, so a key that matches is the message's field.
    found = []
    for item in node if isinstance(node, list) else [node]:
        if not isinstance(item, dict):
            continue
        for key, value in item.items():
            if key in _ID_KEYS and isinstance(value, str):
                found.append((key, value, item))
            elif isinstance(value, (dict, list)):
                found += _ids(value)
    return found


def rejected(signal: Signal, response: Any) -> tuple[int, str]:
    """How many items an acknowledged request had refused, and the receiver's words about it."""
    partial = response.partial_success
    return max(0, getattr(partial, _REJECTED[signal])), partial.error_message
