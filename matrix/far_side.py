"""Far sides: what a program's telemetry is sent to, each behaving in one known way, and what came there.

They live in a process of their own, which may stand in another network namespace, and are driven over a Unix socket.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
import threading
from collections.abc import Coroutine, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.managers import BaseManager
from typing import Any

from claude_monitoring.receiver import Log, OtlpReceiver, Point, Request, Span
from matrix.relay import DIRECT, Connection, Path, Relay

__all__ = ["FarSide", "FarSides", "Seen", "connect", "serve"]


@dataclass(frozen=True)
class FarSide:
    """What is wanted.

    Attributes:
        host: Where it listens.
        kind: ``receiver`` (a gRPC and an HTTP port), ``saas`` (TLS, both protocols on one port), ``nobody`` (a port
            that is held, on which nothing listens) or ``black hole`` (the first packet of a connection is dropped).
        path: The way there.
        certificate: PEM file with key and chain, for TLS.
        client_authority: PEM file of who signs clients' certificates; then one is asked for.
        required_headers: What a request must carry.
        answer: How the receiver answers, in the words of ``OtlpReceiver.answer``.
        outage_s: How long after its first connection it goes away, and for how long; empty for never.
    """

    host: str = "127.0.0.1"
    kind: str = "receiver"
    path: Path = DIRECT
    certificate: str = ""
    client_authority: str = ""
    required_headers: Mapping[str, str] = field(default_factory=dict)
    answer: Mapping[str, Any] = field(default_factory=dict)
    outage_s: tuple[float, float] | tuple[()] = ()


@dataclass(frozen=True)
class Seen:
    """What came, as the receiver has it.

    Attributes:
        connections: The bytes of each connection, by the port that it came to.
        exposed: What a Collector exposes of it to Prometheus.
    """

    requests: tuple[Request, ...]
    points: tuple[Point, ...]
    logs: tuple[Log, ...]
    spans: tuple[Span, ...]
    connections: Mapping[str, list[Connection]]
    faults: tuple[str, ...]
    exposed: Mapping[str, list[tuple[dict[str, str], float]]] = field(default_factory=dict)


class _Open:
    """One far side that listens."""

    def __init__(self, wanted: FarSide, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._stack = ExitStack()
        self._receiver: OtlpReceiver | None = None
        self._relays: dict[str, Relay] = {}
        self.ports: dict[str, int] = {}
        try:
            if wanted.kind in ("receiver", "saas"):
                self._listen(wanted)
            else:
                holder = self._stack.enter_context(socket.socket())
                holder.bind((wanted.host, 0))
                if wanted.kind == "black hole":
                    self._fill(holder)
                self.ports = dict.fromkeys(("grpc", "http"), holder.getsockname()[1])
        except BaseException:
            self.close()
            raise

    def seen(self) -> Seen:
        receiver = self._receiver
        connections = {name: relay.connections for name, relay in self._relays.items()}
        if receiver is None:
            return Seen((), (), (), (), connections, ())
        return Seen(receiver.requests, receiver.metrics, receiver.logs, receiver.spans, connections, receiver.faults)

    def close(self) -> None:
        self._stack.close()

    def _listen(self, wanted: FarSide) -> None:
        receiver = self._receiver = self._stack.enter_context(OtlpReceiver(required_headers=wanted.required_headers))
        if wanted.answer:
            receiver.answer(**wanted.answer)
        inner = {name: int(receiver.endpoint(name).rpartition(":")[2]) for name in ("grpc", "http/json")}
        if wanted.kind == "saas":
            tls = _tls(wanted)
            relay = Relay(
                wanted.host, lambda alpn: inner["grpc" if alpn == "h2" else "http/json"], tls=tls, path=wanted.path
            )
            self.ports = dict.fromkeys(("grpc", "http"), self._start("saas", relay))
            return
        for name, port in (("grpc", inner["grpc"]), ("http", inner["http/json"])):
            relay = Relay(wanted.host, lambda _, port=port: port, path=wanted.path)  # type: ignore[misc]
            self.ports[name] = self._start(name, relay)
            if wanted.outage_s:
                outage = asyncio.run_coroutine_threadsafe(relay.go_away(*wanted.outage_s), self._loop)
                self._stack.callback(outage.cancel)

    def _start(self, name: str, relay: Relay) -> int:
        port = self._run(relay.start())
        self._relays[name] = relay
        self._stack.callback(lambda: self._run(relay.close()))
        return int(port)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def _fill(self, server: socket.socket) -> None:
        """Fill the queue of a listener that never accepts: Linux drops the packets of who else comes."""
        server.listen(0)
        for _ in range(8):
            filler = self._stack.enter_context(socket.socket())
            filler.settimeout(0.2)
            try:
                filler.connect(server.getsockname())
            except TimeoutError:
                return
        raise RuntimeError("no black hole to be had: this system goes on accepting connections")


def _tls(wanted: FarSide) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(wanted.certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if wanted.client_authority:
        context.load_verify_locations(wanted.client_authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class FarSides:
    """All far sides of one process, by the name that the caller gave them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="relays", daemon=True).start()
        self._open: dict[str, _Open] = {}

    def open(self, name: str, wanted: FarSide) -> dict[str, int]:
        """Begin to listen; the ports by ``grpc`` and ``http``."""
        self._open[name] = _Open(wanted, self._loop)
        return self._open[name].ports

    def seen(self, name: str) -> Seen:
        """What came so far."""
        return self._open[name].seen()

    def close(self, name: str) -> None:
        """Stop listening."""
        self._open.pop(name).close()


class _Manager(BaseManager):
    """Carries calls over a Unix socket."""


def connect(address: str, key: bytes) -> Any:
    """The ``FarSides`` of the process that serves at ``address``."""
    _Manager.register("far_sides")
    manager = _Manager(address=address, authkey=key)
    manager.connect()
    return manager.far_sides()  # type: ignore[attr-defined]


def serve() -> None:
    """Serve at the address in ``sys.argv`` until standard input ends, whose first line is the key."""
    address, key = sys.argv[1], bytes.fromhex(sys.stdin.readline().strip())
    far_sides = FarSides()
    _Manager.register("far_sides", callable=lambda: far_sides)
    server = _Manager(address=address, authkey=key).get_server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)
