"""OTLP over gRPC, on a channel of its own that is opened with the first export."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from claude_monitoring._once import calls
from claude_monitoring._settings import OtlpSettings
from claude_monitoring.exporters import encoding
from claude_monitoring.exporters._otlp import OtlpExporter, TooLarge, user_agent
from claude_monitoring.types import ExportResult, Signal, Temporality

__all__ = ["OtlpGrpcExporter", "quiet_grpc"]

_METHODS: dict[Signal, str] = {
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
}
# OTLP specification, "OTLP/gRPC Response"; RESOURCE_EXHAUSTED only with a RetryInfo.
_RETRYABLE = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"})
# Of the others that may be repeated it is known that the far side itself said no. UNAVAILABLE comes from it as well as
# from a connection that broke after sending.
_UNCERTAIN = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE", "DATA_LOSS"})
_OF_A_BROKEN_CALL = frozenset({"UNKNOWN", "INTERNAL"})
_BROKEN = ("stream removed", "rst_stream", "socket closed", "connection reset")
_MIB = 2**20
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # this is how long one attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 2_000),  # the default of two minutes keeps a recovered collector out of reach
    ("grpc.use_local_subchannel_pool", 1),  # else a channel opened anew is given the old, dead connection
    ("grpc.max_receive_message_length", 4 * _MIB),
)
_HTTP_PORT = "use the gRPC port (4317) or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
# The C core says what went wrong in words alone, and other words in each release; these are of 1.48 to 1.85.
_HTTP_SIGNS = (
    "http1", "http/1", "content-type", "failed parsing http/2", "settings frame",
    "missing selected alpn", "cannot check peer",
)  # fmt: skip
_NO_HOST = ("dns resolution", "name resolution", "not known", "errors resolving", "domain name not found")
_OTHER_HOST = "use its name in OTEL_EXPORTER_OTLP_ENDPOINT"
_CLIENT_CERTIFICATE = (
    "if it asks for a client certificate, set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY"
)
_CLOSED = ("socket closed", "reset", "handshake", "broken pipe", "stream removed", "connection closed")


def quiet_grpc() -> Any:
    """Import grpc and keep its C core from writing to the host's stderr, unless the host asked it to write.

    The core reads ``GRPC_VERBOSITY`` when it is loaded and has no other switch. This is the one place that writes
    an environment variable; it is taken away again, so that programs started by the host do not inherit it.
    """
    given = "GRPC_VERBOSITY" in os.environ
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        import grpc

        # The core starts with the first object that it makes, so one is made while the variable is there.
        grpc.insecure_channel("127.0.0.1:1").close()
    finally:
        if not given:
            os.environ.pop("GRPC_VERBOSITY", None)
    return grpc


class OtlpGrpcExporter(OtlpExporter):
    """``grpc``."""

    max_request_bytes = 3_670_016  # 3.5 MiB: receivers take 4 MiB unless told otherwise

    def __init__(self, signal: Signal, settings: OtlpSettings, temporality: Temporality = "cumulative") -> None:
        super().__init__(signal, settings, temporality)
        self._grpc = quiet_grpc()
        self._metadata = tuple((key.lower(), value) for key, value in settings.headers)
        self._target = self._host_port or settings.endpoint
        self._channel: Any = None
        self._call: Any = None

    def close(self) -> None:
        """Close the channel."""
        channel, self._channel, self._call = self._channel, None, None
        if channel is not None:
            channel.close()

    def _connect(self) -> Any:
        if self._call is None:
            self._channel = self._open()
            self._call = self._channel.unary_unary(
                _METHODS[self._signal],
                request_serializer=lambda message: message.SerializeToString(),
                # Read by us: what grpcio can't read it writes to the host's log, with a traceback.
                response_deserializer=None,
            )
        return self._call

    def _open(self) -> Any:
        options = [*_OPTIONS, ("grpc.primary_user_agent", user_agent())]
        if self._settings.insecure:
            return self._grpc.insecure_channel(self._target, options)
        credentials = self._grpc.ssl_channel_credentials(
            _content(self._settings.certificate),
            _content(self._settings.client_key),
            _content(self._settings.client_certificate),
        )
        return self._grpc.secure_channel(self._target, credentials, options)

    def _send(self, request: Message, timeout_s: float) -> ExportResult:
        with calls:  # which a fork waits for
            return self._ask(request, timeout_s)

    def _ask(self, request: Message, timeout_s: float) -> ExportResult:
        grpc = self._grpc
        try:
            call = self._connect()
        except OSError as exc:
            error = f"a certificate file can't be read ({exc}); look at OTEL_EXPORTER_OTLP_CERTIFICATE and its kin"
            return ExportResult(ok=False, retryable=True, error=error)
        gzip = self._settings.compression == "gzip"
        try:
            response = _beside_gevent(
                call,
                request,
                timeout=None if math.isinf(timeout_s) else timeout_s,
                metadata=self._metadata,
                wait_for_ready=False,
                compression=grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression,
            )
        except grpc.RpcError as exc:
            return self._failed(exc)
        except ValueError as exc:
            if "metadata" in str(exc):  # older releases of grpcio raise, and print the value
                return ExportResult(ok=False, error=self._bad_header)
            self.close()  # another thread closed the channel, as at exit
            error = f"the connection to {self._host_port} was closed while sending"
            return ExportResult(ok=False, retryable=True, uncertain=True, error=error)
        try:
            return self._acknowledged(encoding.RESPONSES[self._signal].FromString(response))
        except DecodeError:
            return ExportResult(ok=False, error=f"{self._host_port} answered OK and something that is not OTLP")

    def _failed(self, exc: Any) -> ExportResult:
        code: str = exc.code().name
        details = exc.details() or ""
        after = _retry_info(exc.trailing_metadata() or ())
        if code == "DEADLINE_EXCEEDED":
            self.close()  # TCP may take minutes to find out that the far side is gone
        error = self._explain(code, details)
        if code == "RESOURCE_EXHAUSTED" and after is None and "larger than" in details:
            return TooLarge(ok=False, error=error)
        is_broken = code in _OF_A_BROKEN_CALL and any(sign in details.lower() for sign in _BROKEN)
        retryable = code in _RETRYABLE or (code == "RESOURCE_EXHAUSTED" and after is not None)
        return ExportResult(
            ok=False,
            retryable=retryable or is_broken or _speaks_http(details),
            retry_after_s=after,
            uncertain=is_broken or (code in _UNCERTAIN and not _never_connected(details)),
            error=error,
            unreached=is_broken or code in {"DEADLINE_EXCEEDED", "UNAVAILABLE"} or _speaks_http(details),
        )

    def _explain(self, code: str, details: str) -> str:
        where = self._host_port
        said = self._clean(details)
        if _speaks_http(details):
            return f"{where} looks like an HTTP port, not gRPC: {_HTTP_PORT}"
        if "Invalid metadata" in details:
            return self._bad_header
        if code == "UNAVAILABLE":
            return self._explain_unavailable(details)
        if code == "DEADLINE_EXCEEDED":
            return f"no answer from {where} in time; is it reachable? If it is slow, raise OTEL_EXPORTER_OTLP_TIMEOUT"
        mend = {
            "UNAUTHENTICATED": f"not allowed ({said}): set the key in OTEL_EXPORTER_OTLP_HEADERS",
            "PERMISSION_DENIED": f"not allowed ({said}): set the key in OTEL_EXPORTER_OTLP_HEADERS",
            "UNIMPLEMENTED": f"it does not receive {self._signal} over gRPC ({said}); is it the collector's port?",
            "RESOURCE_EXHAUSTED": f"it is overloaded, or the request is larger than it takes ({said})",
        }
        return f"{where} answered {code}: {mend.get(code, f'{said}; the log of the collector says why')}"

    def _explain_unavailable(self, details: str) -> str:
        where, lower = self._host_port, details.lower()
        tls = "write https:// if it wants TLS" if self._settings.insecure else "look at its TLS settings"
        untrusted = (
            f"the certificate of {where} is not trusted; set OTEL_EXPORTER_OTLP_CERTIFICATE to its authority's file"
        )
        for words, text in (
            (("refused",), f"nothing listens on {where}; start the collector or set OTEL_EXPORTER_OTLP_ENDPOINT"),
            (_NO_HOST, f"unknown host in {self._shown}; look at OTEL_EXPORTER_OTLP_ENDPOINT"),
            (("wrong_version_number",), f"{where} answers without TLS; write http:// in OTEL_EXPORTER_OTLP_ENDPOINT"),
            (("has expired",), f"the certificate of {where} has expired; renew it there"),
            (("hostname verification", "peer name"), f"the certificate of {where} is for another host; {_OTHER_HOST}"),
            (("unwrap failed",), f"TLS with {where} failed; {_CLIENT_CERTIFICATE}"),
            (("certificate_verify_failed", "verification"), untrusted),
            (("timed out", "timeout"), f"no connection to {where} in time; is it reachable?"),
            (_CLOSED, f"{where} closed the connection; {tls}; if it is an HTTP port, {_HTTP_PORT}"),
        ):
            if any(word in lower for word in words):
                return text
        return f"{where} is not available ({self._clean(details)}); the data are sent again later"


def _never_connected(details: str) -> bool:
    """Whether the request can't have left: what the C core says of a channel that has no connection."""
    lower = details.lower()
    signs = ("failed to connect", "connection refused", *_NO_HOST)
    return any(sign in lower for sign in signs) or _speaks_http(details)


def _beside_gevent(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call ``call``; where gevent has patched threads, in a thread of the system's, for which our greenlet waits.

    gRPC waits in C, so in a greenlet it would stop all others until the far side answers. Where the host has called
    ``grpc.experimental.gevent.init_gevent()``, which is for the host alone to decide, it waits as gevent likes.
    """
    monkey: Any = sys.modules.get("gevent.monkey")
    if monkey is None or "grpc.experimental.gevent" in sys.modules or not monkey.is_module_patched("threading"):
        return call(*args, **options)

    def work() -> tuple[Any, Exception | None]:
        try:
            return call(*args, **options), None
        except Exception as exc:  # noqa: BLE001 - raised below; gevent would print its traceback here
            return None, exc

    response, failure = sys.modules["gevent"].get_hub().threadpool.apply(work)
    if failure is not None:
        raise failure
    return response


def _speaks_http(details: str) -> bool:
    lower = details.lower()
    return any(word in lower for word in _HTTP_SIGNS)


def _content(path: str | None) -> bytes | None:
    return Path(path).read_bytes() if path else None


def _retry_info(trailing: Sequence[Any]) -> float | None:
    """Seconds from the ``RetryInfo`` in the trailing metadata (OTLP specification, "OTLP/gRPC Throttling")."""
    for item in trailing:
        key, value = item
        if key != "grpc-status-details-bin":
            continue
        try:
            for detail in Status.FromString(value).details:
                info = RetryInfo()
                if detail.Unpack(info):
                    return float(max(0.0, info.retry_delay.seconds + info.retry_delay.nanos / 1e9))
        except DecodeError:
            return None
    return None
