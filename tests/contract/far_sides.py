"""Far sides for the delivery contract: a relay that breaks in many ways and is mended, certificates, and a witness."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import logging
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import trustme

from claude_monitoring import AgentMonitor
from claude_monitoring._settings import Settings
from claude_monitoring.receiver import OtlpReceiver
from tests.contract.exporter_parts import SECRET, http_reply, read_request, serving

Fault = Callable[[socket.socket], None]

STEPS = 3
SLACK_S = 4.0
"""How much later than its timeout a flush may return on a machine that is busy with other things."""

_numbers = itertools.count(1)


# -- the program, and what its user notices ------------------------------------------------------


@contextlib.contextmanager
def monitor_at(protocol: str, endpoint: str, *, close_s: float = 5.0, **env: str) -> Iterator[AgentMonitor]:
    """A monitor with a pipeline of its own that sends only when it is flushed.

    Where the far side works at the end, ``close_s`` is never reached, and nothing of it comes in the next test.
    """
    hour = "3600000"
    environ = {
        "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
        **{f"OTEL_{signal}_EXPORTER": "otlp" for signal in ("METRICS", "LOGS", "TRACES")},
        **{f"OTEL_{signal}_EXPORT_INTERVAL": hour for signal in ("METRIC", "LOGS", "TRACES")},
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={SECRET}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "10000",
        **env,
    }
    monitor = AgentMonitor(f"worker-{next(_numbers)}", settings=Settings.load(environ), strict=False)
    try:
        yield monitor
    finally:
        monitor.close(close_s)


def record(monitor: AgentMonitor) -> None:
    """A metric, an event and a span."""
    monitor.increment("steps", STEPS)
    monitor.event("done")
    with monitor.span("work"):
        pass


def exporters(monitor: AgentMonitor) -> dict[str, Any]:
    """What ``health()`` says of each exporter, by signal."""
    return {one.signal: one for one in monitor.health().exporters}


def flush(monitor: AgentMonitor, timeout_s: float) -> bool:
    """The answer of a flush, which must come in time."""
    began = time.monotonic()
    answer = monitor.flush(timeout_s)
    assert time.monotonic() - began < timeout_s + SLACK_S
    return answer


class Flushing:
    """A flush in a thread of its own."""

    def __init__(self, monitor: AgentMonitor, timeout_s: float) -> None:
        self._answers: list[bool] = []
        self._timeout_s = timeout_s
        self._thread = threading.Thread(target=lambda: self._answers.append(monitor.flush(timeout_s)), daemon=True)
        self._thread.start()

    def answer(self) -> bool:
        self._thread.join(self._timeout_s + SLACK_S)
        assert self._answers, "the flush outlived its timeout, or raised"
        return self._answers[0]


class Lines(logging.Handler):
    """Everything that is logged, by whomever, from INFO on (foreign loggers: from WARNING on)."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of_ours(self) -> list[logging.LogRecord]:
        return [line for line in self.records if line.name.startswith("claude_monitoring")]

    def warnings(self) -> list[str]:
        return [line.getMessage() for line in self.of_ours() if line.levelno >= logging.WARNING]

    def foreign(self) -> list[str]:
        return [line.getMessage() for line in self.records if line not in self.of_ours()]


@contextlib.contextmanager
def listening() -> Iterator[Lines]:
    """Hear all loggers for a while."""
    lines, root, ours = Lines(), logging.getLogger(), logging.getLogger("claude_monitoring")
    before = ours.level
    root.addHandler(lines)
    ours.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        ours.setLevel(before)
        root.removeHandler(lines)


# -- the witness ---------------------------------------------------------------------------------


class Witness:
    """What a receiver that many tests share got since this was made."""

    def __init__(self, receiver: OtlpReceiver) -> None:
        self.receiver = receiver
        self._since = len(receiver.requests)

    def requests(self, signal: str) -> list[Any]:
        return [one for one in self.receiver.requests[self._since :] if one.signal == signal]

    def points(self) -> int:
        return sum(point.request >= self._since for point in self.receiver.metrics)

    def got(self, monitor: AgentMonitor) -> tuple[float, list[str], list[str]]:
        """The total of the metric, the events and the spans that arrived."""
        events = [log.body for log in self.receiver.logs if log.request >= self._since]
        spans = [span.name for span in self.receiver.spans if span.request >= self._since]
        return self.receiver.total("claude.steps", agent=monitor.agent_id), events, spans


class Later(Witness):
    """A witness of a receiver that does not exist yet."""

    def __init__(self) -> None: ...

    def begin(self, receiver: OtlpReceiver) -> None:
        self.receiver, self._since = receiver, 0


# -- faults of a connection ----------------------------------------------------------------------


def mute(connection: socket.socket) -> None:
    """Accept, never answer."""
    while connection.recv(65536):
        pass


def _reset(connection: socket.socket) -> None:
    """Let closing send RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


_HALF_BODY = http_reply("200 OK", b" " * 100, content_type="application/x-protobuf")[:-90]
_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_PREFACE_BYTES = 24
_HEAD_BYTES = 9
_DATA = 0
_END_STREAM = 1
# ":status: 200" is entry 8 of HPACK's static table, "content-type" is entry 31.
_GRPC_HEADERS = b"\x88\x0f\x10\x10application/grpc"


def _frame(kind: int, flags: int, stream: int, payload: bytes, length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise ConnectionError("the client went away")
        data += chunk
    return data


def read_grpc_request(connection: socket.socket) -> int:
    """Be an HTTP/2 server up to the end of the first request; its stream's number."""
    connection.sendall(_SETTINGS)
    _exactly(connection, _PREFACE_BYTES)
    while True:
        head = _exactly(connection, _HEAD_BYTES)
        _exactly(connection, int.from_bytes(head[:3], "big"))
        if head[3] == _DATA and head[4] & _END_STREAM:
            return int.from_bytes(head[5:], "big")


def _half_an_answer(connection: socket.socket, protocol: str) -> None:
    if protocol == "grpc":
        stream = read_grpc_request(connection)
        begun = _frame(1, 4, stream, _GRPC_HEADERS) + _frame(_DATA, 0, stream, b"\x00\x00\x00\x00\x5f", 100)
        connection.sendall(begun)
    else:
        read_request(connection)
        connection.sendall(_HALF_BODY)


def breaking(protocol: str, where: str) -> Fault:
    """A connection that ends ``after the request`` or ``in the answer`` by a reset, or is ``cut`` there by an end."""

    def handle(connection: socket.socket) -> None:
        if where == "after the request":
            read_grpc_request(connection) if protocol == "grpc" else read_request(connection)
        else:
            _half_an_answer(connection, protocol)
        if where != "cut":
            _reset(connection)

    return handle


class Relay:
    """A port before a receiver: while it has a ``fault`` that meets each connection, then it passes all bytes on."""

    def __init__(self, port: int, fault: Fault | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._port = port
        self.fault = fault
        self.tls = tls

    def __call__(self, connection: socket.socket) -> None:
        if self.tls is not None:
            with self.tls.wrap_socket(connection, server_side=True) as secure:
                self._pass_on(secure)
        elif self.fault is not None:
            self.fault(connection)
        else:
            self._pass_on(connection)

    def _pass_on(self, near: socket.socket) -> None:
        # ValueError: the sockets were closed meanwhile, since the test is over.
        with contextlib.suppress(ValueError), socket.create_connection(("127.0.0.1", self._port), 30) as far:
            while True:
                unread = isinstance(near, ssl.SSLSocket) and near.pending()
                ready = [near] if unread else select.select([near, far], [], [], 30)[0]
                for source in ready:
                    data = source.recv(65536)
                    if not data:
                        return
                    (far if source is near else near).sendall(data)


@contextlib.contextmanager
def relaying(receiver_port: int, **how: Any) -> Iterator[tuple[Relay, int]]:
    relay = Relay(receiver_port, **how)
    with serving(relay) as port:
        yield relay, port


@contextlib.contextmanager
def nobody() -> Iterator[tuple[int, Callable[[], OtlpReceiver]]]:
    """A port on which nobody listens, kept for the receiver that the second part starts there."""
    started: list[OtlpReceiver] = []
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port = int(holder.getsockname()[1])

        def start(*, grpc: bool) -> OtlpReceiver:
            holder.close()
            ports = {"grpc_port": port, "http": False} if grpc else {"http_port": port, "grpc": False}
            started.append(OtlpReceiver(**ports).start())
            return started[0]

        yield port, start
    for receiver in started:
        receiver.close()


# -- certificates --------------------------------------------------------------------------------


class Certificates:
    """An authority, what it issued, and another authority that knows nothing of it."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.trusted = str(folder / "authority.pem")
        self._ca.cert_pem.write_to_path(self.trusted)
        other = trustme.CA()
        self.other = str(folder / "other.pem")
        other.cert_pem.write_to_path(self.other)
        past = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)
        self._issued = {
            "good": self._ca.issue_cert("127.0.0.1", "localhost"),
            "expired": self._ca.issue_cert(
                "127.0.0.1", "localhost", not_before=past, not_after=past + dt.timedelta(days=9)
            ),
            "wrong host": self._ca.issue_cert("collector.example"),
            "of the other": other.issue_cert("127.0.0.1"),
        }
        client = self._ca.issue_cert("client@example.org")
        self.client_key, self.client_certificate = str(folder / "client.key"), str(folder / "client.pem")
        client.private_key_pem.write_to_path(self.client_key)
        client.cert_chain_pems[0].write_to_path(self.client_certificate)

    def context(self, which: str = "good", *, mutual: bool = False) -> ssl.SSLContext:
        """What a server shows; ``mutual`` asks the client for a certificate too."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._issued[which].configure_cert(context)
        context.set_alpn_protocols(["h2", "http/1.1"])
        if mutual:
            self._ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def env(self, trusted: str, *, client: bool = False) -> dict[str, str]:
        """What a user sets to trust one of the authorities, and to have a certificate of his own."""
        own = {
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": self.client_certificate,
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": self.client_key,
        }
        return {"OTEL_EXPORTER_OTLP_CERTIFICATE": trusted, **(own if client else {})}
