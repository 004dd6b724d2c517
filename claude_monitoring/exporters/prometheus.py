"""The exporter ``prometheus``: an HTTP server that answers ``GET /metrics`` from the store at that moment."""

from __future__ import annotations

import errno
import logging
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import Metric as Family

from claude_monitoring._names import prometheus_label, prometheus_name, prometheus_unit
from claude_monitoring._pauses import paused
from claude_monitoring.exporters.records import kind_of
from claude_monitoring.types import AttributeValue, Kind

__all__ = ["PrometheusServer", "StoreCollector", "describe_bind_error"]

_log = logging.getLogger("claude_monitoring")
_TYPES: dict[Kind, str] = {"counter": "counter", "up_down_counter": "gauge", "gauge": "gauge", "histogram": "histogram"}
_IDLE_S = 10.0
_POLL_S = 0.2

LabelPairs = tuple[tuple[str, str], ...]
Page = tuple[str, list[tuple[str, str]], bytes]  # status, headers, body


def describe_bind_error(host: str, port: int, exc: OSError) -> str:
    """Why there is no ``/metrics``, and what to do about it, in one line."""
    where = f"{host or '*'}:{port}"
    if exc.errno == errno.EADDRINUSE:
        return f"no /metrics: {where} is taken by another program; set OTEL_EXPORTER_PROMETHEUS_PORT to a free port"
    if exc.errno in {errno.EACCES, errno.EPERM}:
        return f"no /metrics: {where} is not allowed for this user; set OTEL_EXPORTER_PROMETHEUS_PORT above 1023"
    if isinstance(exc, socket.gaierror) or exc.errno == errno.EADDRNOTAVAIL:
        return f"no /metrics: {host!r} is no address of this machine; set OTEL_EXPORTER_PROMETHEUS_HOST"
    return f"no /metrics on {where}: {exc}; look at OTEL_EXPORTER_PROMETHEUS_HOST and OTEL_EXPORTER_PROMETHEUS_PORT"


class _Samples(list[Any]):
    """Samples of a family; whoever writes them out lets the host's threads run in between."""

    def __iter__(self) -> Iterator[Any]:
        return paused(super().__iter__())


class _Exposed:
    """One family while it is put together: samples whose labels have become equal are added up."""

    def __init__(self, name: str, kind: Kind, metric: Any) -> None:
        self.name, self.kind = name, kind
        self._metric = metric
        self._numbers: dict[LabelPairs, float] = {}
        self._histograms: dict[LabelPairs, tuple[tuple[float, ...], list[int], float]] = {}

    def add(self, labels: LabelPairs, point: Any) -> None:
        if self.kind != "histogram":
            before = 0.0 if self.kind == "gauge" else self._numbers.get(labels, 0.0)
            self._numbers[labels] = before + point.value
            return
        bounds = tuple(point.explicit_bounds)
        known = self._histograms.get(labels)
        if known is None or known[0] != bounds:
            self._histograms[labels] = (bounds, list(point.bucket_counts), point.sum)
        else:
            buckets = [a + b for a, b in zip(known[1], point.bucket_counts, strict=True)]
            self._histograms[labels] = (bounds, buckets, known[2] + point.sum)

    def family(self) -> Family:
        base = self.name.removesuffix("_total") if self.kind == "counter" else self.name
        words = prometheus_unit(self._metric.unit or "", self.kind)
        unit = words if words and base.endswith(f"_{words}") else ""
        # A program's own metrics have no description; `promtool check metrics` asks for one.
        described = self._metric.description or f"{self._metric.name}, recorded by this program"
        family = Family(base, described, _TYPES[self.kind], unit)
        for labels, value in paused(self._numbers.items()):
            family.add_sample(self.name, dict(labels), value)
        for labels, (bounds, buckets, total) in paused(self._histograms.items()):
            self._add_histogram(family, dict(labels), bounds, buckets, total)
        family.samples = _Samples(family.samples)
        return family

    def _add_histogram(
        self, family: Family, labels: dict[str, str], bounds: tuple[float, ...], buckets: list[int], total: float
    ) -> None:
        seen = 0
        for bound, count in zip((*map(float, bounds), float("inf")), buckets, strict=True):
            seen += count
            le = "+Inf" if bound == float("inf") else repr(bound)
            family.add_sample(f"{self.name}_bucket", {**labels, "le": le}, seen)
        family.add_sample(f"{self.name}_count", labels, seen)
        family.add_sample(f"{self.name}_sum", labels, total)


class StoreCollector:
    """A collector for ``prometheus_client``: reads the store when asked and gives each name once."""

    def __init__(self, collect: Callable[[], Any], resource: Mapping[str, AttributeValue]) -> None:
        self._collect = collect
        self._resource = resource

    def collect(self) -> Iterator[Family]:
        """``target_info`` with the resource, then the metrics."""
        info = Family("target", "Target metadata", "info")
        info.add_sample("target_info", dict(_labels(self._resource)), 1)
        yield info
        data = self._collect()
        exposed: dict[str, _Exposed] = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                of_scope = (("otel_scope_name", scope.scope.name), ("otel_scope_version", scope.scope.version or ""))
                for metric in scope.metrics:
                    _add_metric(exposed, metric, of_scope)
        for one in exposed.values():
            yield one.family()


def _add_metric(exposed: dict[str, _Exposed], metric: Any, of_scope: LabelPairs) -> None:
    kind = kind_of(metric.data)
    name = prometheus_name(metric.name, metric.unit or "", kind)
    one = exposed.setdefault(name, _Exposed(name, kind, metric))
    if one.kind != kind:  # two types under one name would make Prometheus refuse the whole scrape
        return
    for point in paused(metric.data.data_points):
        one.add(_labels(point.attributes or {}, of_scope), point)


def _labels(attributes: Mapping[str, Any], last: LabelPairs = ()) -> LabelPairs:
    """Attributes as labels; values whose keys have become equal are joined with ``;`` in the order of the keys."""
    taken = {"le", *(key for key, _ in last)}
    joined: dict[str, list[tuple[str, str]]] = {}
    for key, value in attributes.items():
        label = prometheus_label(key)
        joined.setdefault(f"exported_{label}" if label in taken else label, []).append((key, _label_value(value)))
    pairs = ((label, ";".join(text for _, text in sorted(values))) for label, values in joined.items())
    return (*pairs, *last)


def _label_value(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # on Windows it would let two programs share a port

    def __init__(
        self, host: str, port: int, page: Callable[[str, str], Page], scraped: Callable[[], None] | None
    ) -> None:
        self.page = page
        self.scraped = scraped
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        super().__init__(cast("tuple[str, int]", found[0][4]), _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own asks the DNS for our name, which can take seconds

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's signature
        _log.debug("a scrape from %s ended early", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = _IDLE_S
    server_version, sys_version = "claude-monitoring", ""

    def do_GET(self) -> None:
        """Answer ``/metrics``."""
        if urlsplit(self.path).path != "/metrics":
            self._answer("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")], b"it is at /metrics\n")
            return
        server = cast("_Server", self.server)
        status, headers, body = server.page(self.headers.get("Accept", ""), self.headers.get("Accept-Encoding", ""))
        waits = self._peer() == "there"
        self._answer(status, headers, body)
        # A peer that has read everything may be gone by now, too; one that has not leaves an error behind.
        if waits and status.startswith("200") and self.command == "GET" and server.scraped and self._peer() != "broken":
            server.scraped()

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def _peer(self) -> Literal["there", "gone", "broken"]:
        """Whether the other side still holds the connection, has closed it, or has left an error behind."""
        self.connection.settimeout(0)
        try:
            return "there" if self.connection.recv(1, socket.MSG_PEEK) else "gone"
        except BlockingIOError:
            return "there"
        except OSError:
            return "broken"
        finally:
            self.connection.settimeout(self.timeout)

    def _answer(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for key, value in headers:
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's signature
        """No access log: stderr is the host's."""


class PrometheusServer:
    """Serves ``/metrics`` from daemon threads until ``close``.

    Args:
        host: Address to listen on; empty means all.
        port: Port; 0 takes a free one, see ``address``.
        collect: Gives the store's ``MetricsData``, ``None`` for nothing; called once for each scrape, never twice
            at the same time.
        resource: Becomes ``target_info``.
        scraped: Called after each ``GET`` whose answer the peer took, in the thread that called ``collect`` for it.

    Raises:
        OSError: The address can't be listened on; ``describe_bind_error`` says it in words.
    """

    def __init__(
        self,
        host: str,
        port: int,
        collect: Callable[[], Any],
        resource: Mapping[str, AttributeValue],
        scraped: Callable[[], None] | None = None,
    ) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(StoreCollector(collect, resource))
        self._app = make_wsgi_app(registry)
        self._lock = threading.Lock()
        self._server = _Server(host, port, self._page, scraped)
        thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="claude-monitoring-prometheus", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as exc:  # the interpreter is going down
            self._server.server_close()
            raise OSError(str(exc)) from exc

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def _page(self, accept: str, encoding: str) -> Page:
        """One scrape: ``prometheus_client`` picks the format (text or OpenMetrics) and the compression."""
        begun: list[tuple[str, list[tuple[str, str]]]] = []
        environ = {
            "REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "QUERY_STRING": "",
            "HTTP_ACCEPT": accept, "HTTP_ACCEPT_ENCODING": encoding,
        }  # fmt: skip
        try:
            with self._lock:
                body = b"".join(self._app(environ, lambda status, headers: begun.append((status, headers))))
        except Exception as exc:  # noqa: BLE001 - a scrape that fails must not end the server
            _log.warning("claude_monitoring: a scrape failed: %s: %s", type(exc).__name__, exc)
            return "500 Internal Server Error", [("Content-Type", "text/plain; charset=utf-8")], b"see the log\n"
        status, headers = begun[0]
        return status, headers, body

    def close(self) -> None:
        """Stop listening; takes a fraction of a second."""
        self._server.shutdown()
        self._server.server_close()

    def close_in_child(self) -> None:
        """After a fork, in the child: close the inherited socket, so that the kernel gives it no connections."""
        self._server.socket.close()
