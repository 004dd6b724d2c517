"""OTLP over gRPC, by grpcio with generic handlers."""

from __future__ import annotations

import base64
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from claude_monitoring.receiver.answers import CODES, Answer
from claude_monitoring.receiver.decode import encode_success
from claude_monitoring.receiver.intake import Intake
from claude_monitoring.receiver.model import Arrival
from claude_monitoring.types import Signal

__all__ = ["GrpcServer"]

_SIGNALS: dict[str, Signal] = {
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "metrics",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": "logs",
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": "traces",
}
_GRACE_S = 0.5
_STOP_S = 2.0
_WORKERS = 32
_NANOS = 1_000_000_000


class GrpcServer:
    """Listens from construction on.

    Raises:
        OSError: The port can't be had.
    """

    def __init__(self, host: str, port: int, intake: Intake) -> None:
        self._intake = intake
        self._closing = threading.Event()
        _probe(host, port)
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="otlp-receiver-grpc")
        methods: Any = _Methods(self._call, intake)
        self._server = grpc.server(
            self._workers,
            handlers=[methods],
            options=(
                ("grpc.max_receive_message_length", intake.max_body_bytes),
                ("grpc.so_reuseport", 0),  # else a taken port would be shared in silence
            ),
        )
        address = f"[{host}]" if ":" in host else host
        self.port = int(self._server.add_insecure_port(f"{address}:{port}"))
        self._server.start()

    def close(self) -> None:
        """Cut every call and stop listening."""
        self._closing.set()
        # not None: an abrupt stop makes grpc clients in this process write to stderr
        self._server.stop(_GRACE_S).wait(_STOP_S)
        self._workers.shutdown(wait=False)

    def _call(self, arrival: Arrival, body: bytes, context: Any) -> bytes:
        answer = self._intake.take(arrival, body)
        if self._closing.wait(answer.delay_s) or answer.drop:
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection dropped")
        if answer.grpc_name != "OK":
            _set_details(answer, context)
            context.abort(grpc.StatusCode[answer.grpc_name], answer.message)
        if answer.body is not None:
            return answer.body
        return encode_success(arrival.known_signal, answer.partial_success, answer.message, as_json=False)


class _Methods:
    """Finds the handler of a method; what no signal has gets UNIMPLEMENTED from grpcio."""

    def __init__(self, call: Any, intake: Intake) -> None:
        self._call = call
        self._intake = intake

    def service(self, details: Any) -> Any:
        path = details.method
        arrival = Arrival(_SIGNALS.get(path), "grpc", path, _headers(details.invocation_metadata))
        if arrival.signal is None:
            self._intake.refuse(arrival, 0, Answer(status=404, accepted=False))
            return None
        return grpc.unary_unary_rpc_method_handler(partial(self._call, arrival))


def _headers(metadata: Any) -> dict[str, str]:
    headers: dict[str, str] = {}
    for key, value in metadata or ():
        text = base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _set_details(answer: Answer, context: Any) -> None:
    if answer.retry_after_s is None:
        return
    details = Status(code=CODES[answer.grpc_name], message=answer.message)
    retry = RetryInfo()
    retry.retry_delay.FromNanoseconds(round(answer.retry_after_s * _NANOS))
    details.details.add().Pack(retry)
    context.set_trailing_metadata((("grpc-status-details-bin", details.SerializeToString()),))


def _probe(host: str, port: int) -> None:
    """Fail on a taken port or a foreign address before grpc does: it would also write to stderr."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
