"""What the receiver's tests share: requests made with the official classes, and plain clients to send them."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from claude_monitoring.receiver import OtlpReceiver
from claude_monitoring.types import Signal

PROTOBUF, JSON = "application/x-protobuf", "application/json"
SIGNALS: tuple[Signal, ...] = ("metrics", "logs", "traces")
PROTOCOLS = ("grpc", "http/protobuf", "http/json")
METHODS = {
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
}
DELTA, CUMULATIVE = 1, 2


def set_attributes(target: Any, attributes: Mapping[str, Any]) -> None:
    """Fill a list of ``KeyValue``."""
    for key, value in attributes.items():
        set_value(target.add(key=key).value, value)


def set_value(target: Any, value: Any) -> None:
    """Fill an ``AnyValue``."""
    if isinstance(value, list):
        target.array_value.SetInParent()
        for item in value:
            set_value(target.array_value.values.add(), item)
    elif isinstance(value, dict):
        target.kvlist_value.SetInParent()
        set_attributes(target.kvlist_value.values, value)
    elif value is not None:
        name = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value", bytes: "bytes_value"}
        setattr(target, name[type(value)], value)


def counter(
    name: str = "claude.tasks",
    value: float = 1,
    *,
    start: int = 1,
    end: int = 2,
    temporality: int = CUMULATIVE,
    resource: Mapping[str, Any] | None = None,
    **attributes: Any,
) -> ExportMetricsServiceRequest:
    """A request with one data point of a counter."""
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    set_attributes(group.resource.attributes, resource or {})
    metric = group.scope_metrics.add().metrics.add(name=name)
    metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
    metric.sum.is_monotonic = True
    point = metric.sum.data_points.add(start_time_unix_nano=start, time_unix_nano=end)
    setattr(point, "as_int" if isinstance(value, int) else "as_double", value)
    set_attributes(point.attributes, attributes)
    return request


def log(body: str = "hello") -> ExportLogsServiceRequest:
    """A request with one log record inside a span."""
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.body.string_value = body
    record.trace_id, record.span_id = bytes(range(16)), bytes(range(8))
    return request


def span(name: str = "work") -> ExportTraceServiceRequest:
    """A request with one span."""
    request = ExportTraceServiceRequest()
    one = request.resource_spans.add().scope_spans.add().spans.add(name=name)
    one.trace_id, one.span_id, one.parent_span_id = b"t" * 16, b"s" * 8, b"p" * 8
    one.links.add(trace_id=b"l" * 16, span_id=b"k" * 8)
    return request


def one_of(signal: Signal) -> Any:
    """A good request of any signal."""
    return {"metrics": counter, "logs": log, "traces": span}[signal]()  # type: ignore[operator]


def otlp_json(message: Any) -> dict[str, Any]:
    """The message by the rules of OTLP/JSON, made from ProtoJSON: enums as integers, ids as hex."""
    tree: dict[str, Any] = json_format.MessageToDict(message, use_integers_for_enums=True)
    result: dict[str, Any] = _hex_ids(tree)
    return result


def _hex_ids(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_hex_ids(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    return {
        key: base64.b64decode(value).hex() if key in ("traceId", "spanId", "parentSpanId") else _hex_ids(value)
        for key, value in tree.items()
    }


class Reply:
    """A whole HTTP answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {key.lower(): value for key, value in response.getheaders()}
        self.body = response.read()


@contextmanager
def connection(receiver: OtlpReceiver) -> Iterator[http.client.HTTPConnection]:
    """A plain HTTP client."""
    url = urlsplit(receiver.http_endpoint)
    client = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
    try:
        yield client
    finally:
        client.close()


def post(
    receiver: OtlpReceiver,
    body: Any,
    path: str = "/v1/metrics",
    kind: str = PROTOBUF,
    method: str = "POST",
    **headers: str,
) -> Reply:
    """One HTTP request on a connection of its own; underscores in header names stand for hyphens."""
    sent = {"content-type": kind} if kind else {}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    with connection(receiver) as client:
        client.request(method, path, body, sent, encode_chunked="transfer-encoding" in sent)
        return Reply(client.getresponse())


@contextmanager
def channel(receiver: OtlpReceiver) -> Iterator[grpc.Channel]:
    """A plain gRPC client."""
    with grpc.insecure_channel(receiver.grpc_endpoint.removeprefix("http://")) as one:
        yield one


def call(receiver: OtlpReceiver, body: bytes, method: str = METHODS["metrics"], **options: Any) -> bytes:
    """One gRPC call on a channel of its own; raises ``grpc.RpcError``."""
    with channel(receiver) as one:
        send_bytes: Any = one.unary_unary(method)
        answer: bytes = send_bytes(body, timeout=10, wait_for_ready=True, **options)
        return answer


def send(receiver: OtlpReceiver, protocol: str, signal: Signal, message: Any, *, compress: bool = False) -> None:
    """Send a message over any protocol; the answer is of no interest."""
    if protocol == "grpc":
        compression = grpc.Compression.Gzip if compress else grpc.Compression.NoCompression
        call(receiver, message.SerializeToString(), METHODS[signal], compression=compression)
        return
    as_json = protocol == "http/json"
    body = json_body(message) if as_json else message.SerializeToString()
    headers = {"content_encoding": "gzip"} if compress else {}
    post(receiver, gzip.compress(body) if compress else body, f"/v1/{signal}", JSON if as_json else PROTOBUF, **headers)


def json_body(message: Any) -> bytes:
    """The message as OTLP/JSON text."""
    return json.dumps(otlp_json(message)).encode()
