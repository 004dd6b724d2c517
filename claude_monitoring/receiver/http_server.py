"""OTLP over HTTP/1.1: keep-alive, chunked bodies, gzip; bounded in size and patience."""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

from claude_monitoring.receiver.answers import Answer
from claude_monitoring.receiver.decode import MalformedError, TooLargeError, encode_status, encode_success, gunzip
from claude_monitoring.receiver.intake import Intake
from claude_monitoring.receiver.model import Arrival
from claude_monitoring.types import Signal

__all__ = ["HttpServer"]

_SIGNALS: dict[str, Signal] = {"/v1/metrics": "metrics", "/v1/logs": "logs", "/v1/traces": "traces"}
_JSON, _PROTOBUF, _TEXT = "application/json", "application/x-protobuf", "text/plain"
_PROTOCOLS = {_JSON: "http/json", _PROTOBUF: "http/protobuf"}
_NO_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_IDLE_S = 60.0
_LINGER_S = 2.0
_MAX_LINE = 4096
_MAX_TRAILERS = 100


class _RefusedError(Exception):
    """A request that gets an error without being looked into."""

    def __init__(self, status: int, reason: str, *, body_bytes: int = 0, close: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.body_bytes = body_bytes
        self.close = close  # the rest of the body was not read, so the connection can't be used again


class HttpServer(ThreadingTCPServer):
    """Listens from construction on; one daemon thread a connection."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, intake: Intake) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.intake = intake
        self.closing = threading.Event()
        self._open: set[Any] = set()
        self._lock = threading.Lock()
        super().__init__((host, port), _Handler)
        self.port = int(self.server_address[1])
        # the poll interval is what close() may have to wait
        threading.Thread(target=self.serve_forever, args=(0.05,), name="otlp-receiver-http", daemon=True).start()

    def close(self) -> None:
        """Stop listening and cut every connection, so that none is answered any more."""
        self.closing.set()
        self.shutdown()
        self.server_close()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _cut(connection)

    def get_request(self) -> tuple[Any, Any]:
        """Accept one connection, and remember it for ``close``."""
        connection, address = super().get_request()
        with self._lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Forget and close one connection."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class calls it so
        """Keep a fault of ours for ``OtlpReceiver.faults``; a client that went away is none."""
        fault = sys.exc_info()[1]
        if not isinstance(fault, OSError):
            self.intake.fault(fault)


class _Handler(BaseHTTPRequestHandler):
    server: HttpServer
    protocol_version = "HTTP/1.1"
    server_version = "claude-monitoring-receiver"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = _IDLE_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        """Keep quiet."""

    def do_POST(self) -> None:
        """Answer one request of any method."""
        content_type = self.headers.get_content_type() if "content-type" in self.headers else ""
        protocol = _PROTOCOLS.get(content_type, "http")
        arrival = Arrival(_SIGNALS.get(self.path.partition("?")[0]), protocol, self.path, self._headers())
        try:
            body = self._body()
            self._check(arrival, content_type, len(body))
            plain = self._decompressed(body)
        except _RefusedError as refused:
            self._refuse(arrival, refused)
            return
        answer = self.server.intake.take(arrival, plain)
        if self.server.closing.wait(answer.delay_s) or answer.drop:
            self.close_connection = True
            _cut(self.connection)
        else:
            self._send(answer, arrival)

    do_GET = do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST  # noqa: N815 - names in the base class

    def _refuse(self, arrival: Arrival, refused: _RefusedError) -> None:
        answer = Answer(status=refused.status, message=str(refused), accepted=False)
        self.server.intake.refuse(arrival, refused.body_bytes, answer)
        self.close_connection = self.close_connection or refused.close
        self._send(answer, arrival)
        if refused.close:
            self._linger()

    def _check(self, arrival: Arrival, content_type: str, body_bytes: int) -> None:
        if arrival.signal is None:
            paths = ", ".join(_SIGNALS)
            raise _RefusedError(404, f"no OTLP signal at {self.path[:200]!r}; there are {paths}", body_bytes=body_bytes)
        if self.command != "POST":
            raise _RefusedError(405, f"{self.command} is not allowed; use POST", body_bytes=body_bytes)
        if arrival.protocol == "http":
            kinds = " or ".join(_PROTOCOLS)
            raise _RefusedError(415, f"content type {content_type[:200]!r} is not {kinds}", body_bytes=body_bytes)

    def _decompressed(self, body: bytes) -> bytes:
        encoding = self.headers.get("content-encoding", "").strip().lower()
        if encoding in ("", "identity"):
            return body
        if encoding != "gzip":
            reason = f"content encoding {encoding[:200]!r} is not gzip or identity"
            raise _RefusedError(415, reason, body_bytes=len(body))
        try:
            return gunzip(body, self.server.intake.max_body_bytes)
        except TooLargeError as exc:
            raise _RefusedError(413, str(exc), body_bytes=len(body)) from exc
        except MalformedError as exc:
            raise _RefusedError(400, str(exc), body_bytes=len(body)) from exc

    def _body(self) -> bytes:
        coding = self.headers.get("transfer-encoding", "").strip().lower()
        if coding == "chunked":
            return self._chunked()
        if coding:
            raise _RefusedError(501, f"transfer encoding {coding[:200]!r} is not chunked", close=True)
        text = self.headers.get("content-length", "0").strip()
        if not (text.isascii() and text.isdigit()):
            raise _RefusedError(400, f"content length {text[:200]!r} is not a number", close=True)
        size = int(text[:20])
        self._check_size(size)
        return self._exactly(size)

    def _chunked(self) -> bytes:
        body = bytearray()
        while True:
            text = self._line().partition(b";")[0].strip()
            try:
                size = int(text, 16) if text.isalnum() else -1
            except ValueError:
                size = -1
            if size < 0:
                raise _RefusedError(400, f"chunk size {text[:50]!r} is not hex", body_bytes=len(body), close=True)
            if size == 0:
                break
            self._check_size(len(body) + size)
            body += self._exactly(size)
            if self._line().strip():
                raise _RefusedError(400, "a chunk is longer than its size", body_bytes=len(body), close=True)
        for _ in range(_MAX_TRAILERS):
            if not self._line().strip():
                return bytes(body)
        raise _RefusedError(400, "too many trailers", body_bytes=len(body), close=True)

    def _check_size(self, size: int) -> None:
        limit = self.server.intake.max_body_bytes
        if size > limit:
            raise _RefusedError(413, f"the body is larger than {limit} bytes", body_bytes=size, close=True)

    def _exactly(self, size: int) -> bytes:
        body = self.rfile.read(size)
        if len(body) < size:
            raise ConnectionError("the client closed the connection within a request")
        return body

    def _line(self) -> bytes:
        line = self.rfile.readline(_MAX_LINE)
        if not line:
            raise ConnectionError("the client closed the connection within a request")
        return line

    def _headers(self) -> dict[str, str]:
        return {
            name.lower(): ", ".join(str(value) for value in self.headers.get_all(name, ())) for name in self.headers
        }

    def _send(self, answer: Answer, arrival: Arrival) -> None:
        content_type, body = _content(answer, arrival)
        self.send_response(answer.status)
        if answer.retry_after_s is not None:
            self.send_header("Retry-After", f"{answer.retry_after_s:g}")
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "POST")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Type", content_type)
        if answer.status not in _NO_BODY:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and answer.status not in _NO_BODY:
            self.wfile.write(body)

    def _linger(self) -> None:
        """Read on for a moment: closing with unread bytes resets the connection, and the answer would be lost."""
        deadline = time.monotonic() + _LINGER_S
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER_S)
            while not self.server.closing.is_set() and time.monotonic() < deadline and self.connection.recv(1 << 16):
                pass


def _content(answer: Answer, arrival: Arrival) -> tuple[str, bytes]:
    as_json = arrival.protocol == "http/json"
    content_type = _JSON if as_json else _PROTOBUF
    if answer.body is not None:
        body = answer.body
    elif answer.status in _NO_BODY:
        body = b""
    elif arrival.protocol == "http":  # no encoding that we know was asked for
        content_type, body = _TEXT, answer.message.encode()
    elif HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        body = encode_success(arrival.known_signal, answer.partial_success, answer.message, as_json=as_json)
    else:
        body = encode_status(answer.grpc_name, answer.message, as_json=as_json)
    return answer.content_type or content_type, body


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
