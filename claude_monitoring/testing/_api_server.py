"""The fake API over HTTP/1.1: keep-alive, JSON or a chunked stream of events."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

from claude_monitoring.testing._answers import Answer, ApiError, Drop, Raw, Reply, error_json, message_json
from claude_monitoring.testing._routes import MESSAGE_NEEDS, Routes, missing
from claude_monitoring.testing._script import MESSAGES, Headers, Request, Script
from claude_monitoring.testing._stream import encoded, events

__all__ = ["ApiServer"]

_JSON = "application/json"
_IDLE_S = 60.0


class ApiServer(ThreadingTCPServer):
    """Listens on loopback from construction on; one daemon thread a connection."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, script: Script, routes: Routes) -> None:
        self.script = script
        self.routes = routes
        self.closing = threading.Event()
        self.faults: list[BaseException] = []
        self._open: set[Any] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)
        self.port = int(self.server_address[1])
        # the poll interval is what close() may have to wait
        self._loop = threading.Thread(target=self.serve_forever, args=(0.02,), name="fake-anthropic", daemon=True)
        self._loop.start()

    def close(self) -> None:
        """Stop listening, and cut every connection, so that none is answered any more."""
        self.closing.set()
        self.shutdown()
        self._loop.join()
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
        """Keep a fault for the test; a client that went away is none."""
        fault = sys.exc_info()[1]
        if fault is not None and not isinstance(fault, OSError):
            self.faults.append(fault)


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer
    protocol_version = "HTTP/1.1"
    server_version = "claude-monitoring-fake-anthropic"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = _IDLE_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        """Keep quiet."""

    def do_POST(self) -> None:
        """Answer one request of any method."""
        size = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers or not (size.isascii() and size.isdigit()):
            self.close_connection = True
            self._error(ApiError(411), "req_fake_none")
            return
        content = self.rfile.read(int(size))
        if len(content) < int(size):
            raise ConnectionError("the client closed the connection within a request")
        path, _, query = self.path.partition("?")
        headers = Headers({name.lower(): value for name, value in self.headers.items()})
        request = Request(self.command, path, query, headers, _parsed(content), time.time())
        self.server.script.came(request)
        self._answer(request, self._reply(request))

    do_GET = do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST  # noqa: N815 - names in the base class

    def _reply(self, request: Request) -> Reply:
        makes_message = request.method == "POST" and request.path == MESSAGES
        refusal = missing(request, MESSAGE_NEEDS) if makes_message else None
        if refusal is not None:
            return refusal
        try:
            reply = self.server.script.next(request) if makes_message or request.path != MESSAGES else None
            return self.server.routes.reply(request) if reply is None else reply
        except BaseException as fault:  # noqa: BLE001 - of the user's function, pytest.fail too; raised again at the end
            self.server.faults.append(fault)
            said = f"the script of the fake API raised {type(fault).__name__}: {fault}"
            return ApiError(500, message=said, headers={"x-should-retry": "false"})

    def _answer(self, request: Request, reply: Reply) -> None:
        number = self.server.script.number()
        request_id = f"req_fake_{number:04}"
        if self._waited(reply.delay_s) or isinstance(reply, Drop):
            self._drop()
        elif isinstance(reply, Raw):
            self._send(reply.status, reply.content, {"request-id": request_id, **reply.headers}, reply.content_type)
        elif isinstance(reply, ApiError):
            self._error(reply, request_id)
        elif request.stream:
            self._stream(reply, message_json(reply, request.model, number), reply.request_id or request_id)
        else:
            self._whole(reply, message_json(reply, request.model, number), reply.request_id or request_id)

    def _whole(self, answer: Answer, message: dict[str, Any], request_id: str) -> None:
        content = json.dumps(message).encode()
        headers = {"request-id": request_id, **answer.headers}
        if answer.fault is None:
            self._send(200, content, headers)
        elif answer.fault.error is not None:
            self._error(answer.fault.error, request_id)
        else:
            self._head(200, {**headers, "Content-Length": str(len(content))}, _JSON)
            self.wfile.write(content[: len(content) // 2])
            self._drop()

    def _stream(self, answer: Answer, message: dict[str, Any], request_id: str) -> None:
        headers = {"request-id": request_id, "Cache-Control": "no-cache", "Transfer-Encoding": "chunked"}
        self._head(200, {**headers, **answer.headers}, "text/event-stream; charset=utf-8")
        for sent, event in enumerate(events(message)):
            if answer.fault is not None and sent >= answer.fault.after_events:
                break
            if event["type"] == "content_block_delta" and self._waited(answer.delta_delay_s):
                self._drop()
                return
            self._chunk(encoded(event))
        if answer.fault is not None and answer.fault.error is None:
            self._drop()
            return
        if answer.fault is not None and answer.fault.error is not None:
            self._chunk(encoded(error_json(answer.fault.error, request_id)))
        self.wfile.write(b"0\r\n\r\n")

    def _error(self, error: ApiError, request_id: str) -> None:
        headers = {"request-id": request_id, **error.headers}
        if error.retry_after_s is not None:
            headers["retry-after"] = f"{error.retry_after_s:g}"
        self._send(error.status, json.dumps(error_json(error, request_id)).encode(), headers)

    def _send(self, status: int, content: bytes, headers: Mapping[str, str], content_type: str = _JSON) -> None:
        self._head(status, {**headers, "Content-Length": str(len(content))}, content_type)
        if self.command != "HEAD":
            self.wfile.write(content)

    def _head(self, status: int, headers: Mapping[str, str], content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _waited(self, delay_s: float) -> bool:
        """Wait; true if the server was closed meanwhile."""
        return self.server.closing.wait(delay_s)

    def _drop(self) -> None:
        self.close_connection = True
        _cut(self.connection)


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return None


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
