"""What the exporter tests share: batches of every signal and small servers that misbehave."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from claude_monitoring._settings import OtlpSettings
from claude_monitoring.types import EventRecord, Signal

PROTOCOLS = ("grpc", "http/protobuf", "http/json")
SIGNALS: tuple[Signal, ...] = ("metrics", "logs", "traces")
RESOURCE = {"service.name": "claude-code", "team.id": "platform"}
SECRET = "Bearer s3cr3t-t0k3n"
CERTIFICATE = Path(__file__).with_name("tls") / "localhost.pem"
KEY = CERTIFICATE.with_suffix(".key")
NOW = 1_790_000_000_000_000_000


def number(value: float, **attributes: object) -> NumberDataPoint:
    return NumberDataPoint(attributes=attributes, start_time_unix_nano=NOW, time_unix_nano=NOW + 1, value=value)  # type: ignore[arg-type]


def histogram(buckets: list[int], total: float, **attributes: object) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=attributes,  # type: ignore[arg-type]
        start_time_unix_nano=NOW,
        time_unix_nano=NOW + 1,
        count=sum(buckets),
        sum=total,
        bucket_counts=buckets,
        explicit_bounds=[0.5, 1.0],
        min=0.0,
        max=2.0,
    )


def counter(name: str, *points: NumberDataPoint, unit: str = "", monotonic: bool = True, help_: str = "") -> Metric:
    data = Sum(list(points), AggregationTemporality.CUMULATIVE, is_monotonic=monotonic)
    return Metric(name, help_, unit, data)


def gauge(name: str, *points: NumberDataPoint, unit: str = "") -> Metric:
    return Metric(name, "", unit, Gauge(list(points)))


def histogram_metric(name: str, *points: HistogramDataPoint, unit: str = "s") -> Metric:
    return Metric(name, "", unit, Histogram(list(points), AggregationTemporality.CUMULATIVE))


def metrics_of(*metrics: Metric) -> MetricsData:
    scope = ScopeMetrics(InstrumentationScope("claude_monitoring", "0.1.0"), list(metrics), "")
    return MetricsData([ResourceMetrics(Resource(dict(RESOURCE)), [scope], "")])


def one_of_each() -> MetricsData:
    return metrics_of(
        counter("claude.tasks", number(3.0, agent="a", status="ok"), number(1.0, agent="a", status="error")),
        counter("claude.tasks.active", number(-1, agent="a"), monotonic=False),
        gauge("claude.agent.xp", number(0.5, agent="a")),
        histogram_metric("claude.task.duration", histogram([1, 0, 2], 4.5, agent="a", flag=True)),
    )


def events(count: int = 2, **attributes: Any) -> list[EventRecord]:
    return [
        EventRecord(
            f"claude_code.event_{index}",
            NOW + index,
            {"event.name": f"event_{index}", "event.sequence": index, "ratio": 0.5, "success": True, **attributes},
            "com.anthropic.claude_code.events",
            trace_id=0x0AF7651916CD43DD8448EB211C80319C,
            span_id=0x00F067AA0BA902B7,
            trace_flags=1,
        )
        for index in range(count)
    ]


def spans(*names: str) -> Sequence[Any]:
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource(dict(RESOURCE)), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("claude_monitoring", "0.1.0")
    with tracer.start_as_current_span("root", attributes={"depth": 0}):
        for name in names or ("leaf",):
            with tracer.start_as_current_span(name) as span:
                span.add_event("note", {"n": 1})
    return memory.get_finished_spans()


def batch_of(signal: Signal) -> Any:
    return {"metrics": one_of_each, "logs": events, "traces": spans}[signal]()  # type: ignore[operator]


def settings_for(protocol: str, endpoint: str, signal: Signal, **more: Any) -> OtlpSettings:
    path = "" if protocol == "grpc" else f"/v1/{signal}"
    values: dict[str, Any] = {
        "headers": (("authorization", SECRET),),
        "timeout_s": 10.0,
        "compression": "none",
        "certificate": None,
        "client_key": None,
        "client_certificate": None,
        "insecure": endpoint.startswith("http://"),
        **more,
    }
    return OtlpSettings(protocol=protocol, endpoint=endpoint + path, **values)


@contextlib.contextmanager
def exporter_for(protocol: str, endpoint: str, signal: Signal = "logs", **more: Any) -> Iterator[Any]:
    from claude_monitoring.exporters.otlp_grpc import OtlpGrpcExporter
    from claude_monitoring.exporters.otlp_http import OtlpHttpExporter

    kind = OtlpGrpcExporter if protocol == "grpc" else OtlpHttpExporter
    exporter = kind(signal, settings_for(protocol, endpoint, signal, **more))
    try:
        yield exporter
    finally:
        exporter.close()


@contextlib.contextmanager
def serving(handle: Callable[[socket.socket], None], *, tls: bool = False) -> Iterator[int]:
    """A port on which each connection is given to ``handle`` in a thread of its own and then closed."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_ones: list[socket.socket] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if tls:
        context.load_cert_chain(CERTIFICATE, KEY)

    def work(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(30)
            if tls:
                connection = context.wrap_socket(connection, server_side=True)
                open_ones.append(connection)
            with connection:
                handle(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                open_ones.append(connection)
                threading.Thread(target=work, args=(connection,), daemon=True).start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for one in open_ones:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        acceptor.join(5)


def read_request(connection: socket.socket) -> bytes:
    """One whole HTTP request with a content-length, or what came before the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return data
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0
    )
    while len(body) < length:
        chunk = connection.recv(65536)
        if not chunk:
            break
        body += chunk
    return head + b"\r\n\r\n" + body


def replying(reply: bytes) -> Callable[[socket.socket], None]:
    """Read a request, send ``reply``, close."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(reply)

    return handle


def http_reply(status: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}"]
    lines += [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)
