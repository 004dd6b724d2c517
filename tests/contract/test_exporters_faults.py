"""Far sides that are no OTLP receiver: each fault is one line with its cause and its mend, and nothing is raised."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as Any_
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from claude_monitoring.exporters.encoding import RESPONSES
from claude_monitoring.receiver import OtlpReceiver
from tests.contract.exporter_parts import (
    CERTIFICATE,
    KEY,
    PROTOCOLS,
    RESOURCE,
    events,
    exporter_for,
    http_reply,
    read_request,
    replying,
    serving,
)

EACH_PROTOCOL = pytest.mark.parametrize("protocol", PROTOCOLS)
EACH_HTTP = pytest.mark.parametrize("protocol", PROTOCOLS[1:])


def outcome(protocol: str, endpoint: str, timeout_s: float = 5.0, **more: Any) -> tuple[bool, bool, str]:
    with exporter_for(protocol, endpoint, **more) as exporter:
        result = exporter.export(events(), RESOURCE, timeout_s)
    return result.ok, result.retryable, result.error


@EACH_HTTP
def test_an_http_exporter_on_a_grpc_port_says_so(protocol: str) -> None:
    with OtlpReceiver(http=False) as receiver:
        ok, retryable, error = outcome(protocol, receiver.grpc_endpoint)
    assert (ok, retryable) == (False, True)
    assert "looks like a gRPC port: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc or use the HTTP port (4318)" in error


def test_a_grpc_exporter_on_an_http_port_says_so() -> None:
    with OtlpReceiver(grpc=False) as receiver:
        ok, retryable, error = outcome("grpc", receiver.http_endpoint)
    assert (ok, retryable) == (False, True)
    assert "looks like an HTTP port" in error
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in error


@EACH_HTTP
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_no_success_and_names_the_other_host(protocol: str, status: str) -> None:
    location = "https://user:pw@sso.example:8443/login?token=abc"
    with serving(replying(http_reply(status, location=location))) as port:
        ok, retryable, error = outcome(protocol, f"http://127.0.0.1:{port}")
    assert (ok, retryable) == (False, False)
    assert "redirects to sso.example:8443:" in error
    assert "pw" not in error
    assert "abc" not in error


@EACH_HTTP
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<html>sign in</html>", {"content_type": "text/html; charset=utf-8"}),
        (b"welcome", {}),
        (b"\xff\xfe", {"content_type": "application/x-protobuf"}),
        (b"{nonsense", {"content_type": "application/json"}),
        (b"[]", {"content_type": "application/json"}),
    ],
    ids=["html", "no type", "broken protobuf", "broken json", "a list"],
)
def test_a_page_instead_of_an_answer_is_no_success(protocol: str, body: bytes, headers: dict[str, str]) -> None:
    with serving(replying(http_reply("200 OK", body, **headers))) as port:
        ok, _, error = outcome(protocol, f"http://127.0.0.1:{port}")
    assert not ok
    assert "not OTLP" in error


@EACH_HTTP
@pytest.mark.parametrize("reply", [http_reply("200 OK"), http_reply("202 Accepted"), http_reply("204 No Content")])
def test_an_empty_answer_is_a_success(protocol: str, reply: bytes) -> None:
    with serving(replying(reply)) as port:
        assert outcome(protocol, f"http://127.0.0.1:{port}") == (True, False, "")


def test_an_answer_in_json_to_a_request_in_protobuf_is_understood() -> None:
    body = b'{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"old"},"newField":1}'
    with serving(replying(http_reply("200 OK", body, content_type="application/json"))) as port:
        ok, _, error = outcome("http/protobuf", f"http://127.0.0.1:{port}")
    assert ok
    assert "1 refused" in error


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b'{"message": "quota\\nis used up"}', "application/json", "(quota is used up)"),
        (b"quota " * 200, "text/plain", "(quota quota"),
        (b"<html>", "text/html", "answered 400;"),
        (b"\xff\xff", "application/x-protobuf", "answered 400;"),
        (b"[1]", "application/json", "answered 400;"),
        (b"Client sent an HTTP request to an HTTPS server.", "text/plain", "https://"),
    ],
)
def test_what_a_refusal_says_is_repeated_in_one_short_line(body: bytes, kind: str, said: str) -> None:
    with serving(replying(http_reply("400 Bad Request", body, content_type=kind))) as port:
        _, _, error = outcome("http/protobuf", f"http://127.0.0.1:{port}")
    assert said in error
    assert "\n" not in error
    assert len(error) < 500


def endless(first: bytes) -> Callable[[socket.socket], None]:
    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(first)
        while True:
            connection.sendall(b"x" * 65536)

    return handle


@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error"])
def test_an_endless_answer_is_cut_off(status: str) -> None:
    head = f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\n\r\n".encode()
    with serving(endless(head)) as port:
        ok, _, error = outcome("http/protobuf", f"http://127.0.0.1:{port}")
    assert not ok
    assert len(error) < 500


def test_an_answer_that_drips_in_does_not_stretch_the_timeout() -> None:
    gone = threading.Event()

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n")
        try:
            for _ in range(4000):
                connection.sendall(b"x")
                gone.wait(0.05)
        except OSError:
            gone.set()

    with serving(handle) as port:
        ok, retryable, error = outcome("http/protobuf", f"http://127.0.0.1:{port}", 0.5)
        assert (ok, retryable) == (False, True)
        assert "in time" in error
        assert gone.wait(10), "the exporter is still reading"


@EACH_HTTP
def test_half_an_answer_is_no_success(protocol: str) -> None:
    reply = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{}"
    with serving(replying(reply)) as port:
        ok, retryable, error = outcome(protocol, f"http://127.0.0.1:{port}")
    assert (ok, retryable) == (False, True)
    assert "broke off" in error


@EACH_PROTOCOL
def test_another_kind_of_server_is_diagnosed(protocol: str) -> None:
    with serving(replying(b"220 mail.example ESMTP\r\n")) as port:
        ok, retryable, error = outcome(protocol, f"http://127.0.0.1:{port}")
    assert (ok, retryable) == (False, True)
    assert "looks like" in error


@EACH_PROTOCOL
def test_a_server_that_accepts_and_says_nothing_is_given_up(protocol: str) -> None:
    held = threading.Event()
    with serving(lambda _: (held.wait(30), None)[1]) as port:
        ok, retryable, error = outcome(protocol, f"http://127.0.0.1:{port}", 0.4)
        held.set()
    assert (ok, retryable) == (False, True)
    assert "in time" in error


def https_handler(connection: socket.socket) -> None:
    while read_request(connection):
        connection.sendall(http_reply("200 OK"))


@pytest.fixture
def https_port() -> Iterator[int]:
    with serving(https_handler, tls=True) as port:
        yield port


@EACH_PROTOCOL
def test_an_unknown_certificate_is_named_with_the_variable_for_it(protocol: str, https_port: int) -> None:
    ok, retryable, error = outcome(protocol, f"https://127.0.0.1:{https_port}")
    assert (ok, retryable) == (False, True)
    assert "not trusted" in error
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in error


@EACH_HTTP
def test_a_known_certificate_is_accepted(protocol: str, https_port: int) -> None:
    assert outcome(protocol, f"https://127.0.0.1:{https_port}", certificate=str(CERTIFICATE))[0]


@contextlib.contextmanager
def grpc_answering(receive: Callable[[Any], None], credentials: Any = None) -> Iterator[int]:
    """A port where ``receive`` is called with the context of each export of logs before it is acknowledged."""

    def export(request: bytes, context: Any) -> Any:
        receive(context)
        return RESPONSES["logs"]()

    handler = grpc.unary_unary_rpc_method_handler(  # type: ignore[var-annotated]
        export, response_serializer=lambda message: message.SerializeToString()
    )
    service = "opentelemetry.proto.collector.logs.v1.LogsService"
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
    address = "127.0.0.1:0"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait(5)


def test_grpc_over_tls_delivers_with_a_client_certificate() -> None:
    seen: list[Any] = []
    pair = (KEY.read_bytes(), CERTIFICATE.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], CERTIFICATE.read_bytes(), require_client_auth=True)
    files: dict[str, Any] = {
        "certificate": str(CERTIFICATE),
        "client_certificate": str(CERTIFICATE),
        "client_key": str(KEY),
    }
    with grpc_answering(lambda context: seen.append(context.auth_context()), credentials) as port:
        ok, _, error = outcome("grpc", f"https://127.0.0.1:{port}", **files)
        assert ok, error
        assert not outcome("grpc", f"https://127.0.0.1:{port}", certificate=str(CERTIFICATE))[0]
    assert len(seen) == 1


@pytest.mark.parametrize(
    "details",
    [
        b"\xff\xff",
        Status(code=8).SerializeToString(),
        Status(code=8, details=[Any_(type_url="type.googleapis.com/google.rpc.DebugInfo")]).SerializeToString(),
    ],
    ids=["broken", "empty", "other"],
)
def test_an_exhausted_grpc_collector_that_does_not_say_when_is_final(details: bytes) -> None:
    def refuse(context: Any) -> None:
        context.set_trailing_metadata((("x-other", "1"), ("grpc-status-details-bin", details)))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "quota")

    with grpc_answering(refuse) as port:
        ok, retryable, error = outcome("grpc", f"http://127.0.0.1:{port}")
    assert (ok, retryable) == (False, False)
    assert "quota" in error


def test_closing_from_another_thread_ends_an_export_under_way() -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold(context: Any) -> None:
        inside.set()
        leave.wait(30)

    results: list[Any] = []
    with grpc_answering(hold) as port, exporter_for("grpc", f"http://127.0.0.1:{port}") as exporter:
        thread = threading.Thread(target=lambda: results.append(exporter.export(events(), RESOURCE, 30.0)))
        thread.start()
        assert inside.wait(10)
        exporter.close()
        thread.join(10)
        leave.set()
    assert [(result.ok, result.retryable) for result in results] == [(False, True)]


def test_a_channel_that_was_closed_is_no_exception() -> None:
    with OtlpReceiver(http=False) as receiver, exporter_for("grpc", receiver.grpc_endpoint) as exporter:
        assert exporter.export(events(), RESOURCE, 5.0).ok
        exporter._channel.close()
        result = exporter.export(events(), RESOURCE, 5.0)
        assert (result.ok, result.retryable) == (False, True)
        assert "closed" in result.error
        assert exporter.export(events(), RESOURCE, 5.0).ok


@EACH_PROTOCOL
def test_https_to_a_port_without_tls_says_so(protocol: str) -> None:
    with OtlpReceiver() as receiver:
        endpoint = receiver.endpoint(protocol).replace("http://", "https://")
        ok, retryable, error = outcome(protocol, endpoint)
    assert (ok, retryable) == (False, True)
    assert "answers without TLS; write http://" in error


@EACH_PROTOCOL
def test_http_to_a_port_with_tls_mentions_https(protocol: str, https_port: int) -> None:
    ok, retryable, error = outcome(protocol, f"http://127.0.0.1:{https_port}")
    assert (ok, retryable) == (False, True)
    assert "https://" in error


def test_a_tls_alert_as_the_answer_is_recognised() -> None:
    with serving(replying(b"\x15\x03\x01\x00\x02\x02\x46\r\n")) as port:
        _, _, error = outcome("http/protobuf", f"http://127.0.0.1:{port}")
    assert "wants TLS: write https://" in error


def test_a_handshake_that_breaks_off_names_what_it_may_be() -> None:
    def handle(connection: socket.socket) -> None:
        connection.recv(65536)

    with serving(handle) as port:
        ok, retryable, error = outcome("http/protobuf", f"https://127.0.0.1:{port}")
    assert (ok, retryable) == (False, True)
    assert "TLS with 127.0.0.1" in error
    assert "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE" in error


def test_a_reset_connection_under_https_points_at_tls() -> None:
    def handle(connection: socket.socket) -> None:
        connection.recv(1)  # closing with unread data resets

    with serving(handle) as port:
        ok, retryable, error = outcome("http/protobuf", f"https://127.0.0.1:{port}")
    assert (ok, retryable) == (False, True)
    assert "TLS" in error


@EACH_PROTOCOL
def test_a_certificate_file_that_is_gone_is_told(protocol: str, https_port: int) -> None:
    ok, retryable, error = outcome(protocol, f"https://127.0.0.1:{https_port}", certificate="/nowhere/ca.pem")
    assert (ok, retryable) == (False, True)
    assert "certificate file can't be read" in error


def test_an_http_proxy_is_used_unless_the_host_is_exempt(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def proxy(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(http_reply("200 OK"))

    with serving(proxy) as port:
        for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "REQUEST_METHOD"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", f"http://me:pw@127.0.0.1:{port}")
        assert outcome("http/protobuf", "http://collector.example:4318")[0]
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{port}")
        assert outcome("http/protobuf", "http://collector.example:4318")[0]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with OtlpReceiver(grpc=False) as receiver:
            assert outcome("http/protobuf", receiver.http_endpoint)[0]
            assert len(receiver.logs) == 2
    first, second = seen
    assert first.startswith(b"POST http://collector.example:4318/v1/logs HTTP/1.1\r\n")
    assert b"basic bWU6cHc=" in first.lower().replace(b"bwu6chc=", b"bWU6cHc=")
    assert b"proxy-authorization" not in second.lower()


def test_a_proxy_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    _, retryable, error = outcome("http/protobuf", "http://collector.example:4318")
    assert retryable
    assert "proxy" in error
    assert "NO_PROXY" in error


def test_connections_are_kept_between_exports() -> None:
    connections: list[object] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            connections.append(self.client_address)
            super().setup()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    with exporter_for("http/protobuf", f"http://127.0.0.1:{server.server_port}") as exporter:
        results = [exporter.export(events(1), RESOURCE, 5.0).ok for _ in range(5)]
    server.shutdown()
    server.server_close()
    assert results == [True] * 5
    assert len(connections) == 1


QUIET = """
import os, sys
from claude_monitoring._settings import OtlpSettings
from claude_monitoring.exporters.otlp_grpc import OtlpGrpcExporter
settings = OtlpSettings(protocol="grpc", endpoint=sys.argv[1], headers=(), timeout_s=5.0, compression="none",
                        certificate=None, client_key=None, client_certificate=None, insecure=False)
exporter = OtlpGrpcExporter("logs", settings)
assert not exporter.export([], {}, 5.0).ok
exporter.close()
print(os.environ.get("GRPC_VERBOSITY"))
"""


@pytest.mark.parametrize("given", [None, "ERROR"])
def test_grpc_writes_nothing_to_stderr_and_leaves_the_environment_as_it_was(https_port: int, given: str | None) -> None:
    env = {key: value for key, value in os.environ.items() if key != "GRPC_VERBOSITY"}
    run = subprocess.run(
        [sys.executable, "-c", QUIET, f"https://127.0.0.1:{https_port}"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=env if given is None else {**env, "GRPC_VERBOSITY": given},
    )
    assert run.stdout == f"{given}\n", run.stderr
    assert given is not None or run.stderr == ""
