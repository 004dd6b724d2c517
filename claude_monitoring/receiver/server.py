"""``OtlpReceiver``: the two servers, what they kept, and what they are to answer."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from claude_monitoring.receiver import totals
from claude_monitoring.receiver.answers import Answer, Answers
from claude_monitoring.receiver.http_server import HttpServer
from claude_monitoring.receiver.intake import Intake
from claude_monitoring.receiver.model import Log, Point, Request, Span
from claude_monitoring.receiver.store import Store
from claude_monitoring.types import Signal

if TYPE_CHECKING:
    from claude_monitoring.receiver.grpc_server import GrpcServer

__all__ = ["OtlpReceiver"]

_PROTOCOLS = ("grpc", "http/protobuf", "http/json")


class OtlpReceiver:
    """An OTLP server for metrics, logs and traces, over gRPC and HTTP (protobuf and JSON, gzip or not).

    Use it as a context manager, or ``start`` and ``close`` it; started again, it listens on the same ports and keeps
    what it has. Nothing that a client sends stops it.

    Args:
        host: Where to listen. There is no authentication: leave it on loopback.
        http_port: 0 for a free one.
        grpc_port: 0 for a free one.
        max_body_bytes: A larger body, also after decompression, is refused with 413 or RESOURCE_EXHAUSTED. Such a
            request over gRPC is turned away by grpcio and is not among ``requests``.
        http: Whether to listen for HTTP.
        grpc: Whether to listen for gRPC.
        required_headers: Headers, over gRPC metadata, that a request must have with these values. One without is
            refused with 401 or UNAUTHENTICATED.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        http_port: int = 0,
        grpc_port: int = 0,
        max_body_bytes: int = 64 * 2**20,
        http: bool = True,
        grpc: bool = True,
        required_headers: Mapping[str, str] | None = None,
    ) -> None:
        self._host = host
        self._ports = {"http": http_port, "grpc": grpc_port}
        self._wanted = [name for name, wanted in (("http", http), ("grpc", grpc)) if wanted]
        self._store = Store()
        self._answers = Answers()
        self._intake = Intake(self._store, self._answers, max_body_bytes, required_headers or {})
        self._lock = threading.Lock()
        self._servers: list[HttpServer | GrpcServer] = []

    def start(self) -> OtlpReceiver:
        """Listen; a second call while it runs does nothing.

        Raises:
            OSError: A port that was asked for can't be had.
        """
        with self._lock:
            if self._servers:
                return self
            try:
                for name in self._wanted:
                    server = self._listen(name, self._ports[name])
                    self._servers.append(server)
                    self._ports[name] = server.port
            except BaseException:
                self._stop()
                raise
        return self

    def close(self) -> None:
        """Stop listening and cut all connections, within about 2 s at most; what came stays readable."""
        with self._lock:
            self._stop()

    def __enter__(self) -> OtlpReceiver:  # noqa: PYI034 - Self needs 3.11, and hints must resolve at run time
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def http_endpoint(self) -> str:
        """``http://127.0.0.1:PORT``, without a path."""
        return self._url("http")

    @property
    def grpc_endpoint(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return self._url("grpc")

    def endpoint(self, protocol: str) -> str:
        """What to set ``OTEL_EXPORTER_OTLP_ENDPOINT`` to for ``grpc``, ``http/protobuf`` or ``http/json``."""
        if protocol not in _PROTOCOLS:
            raise ValueError(f"protocol={protocol!r} is none of {', '.join(_PROTOCOLS)}")
        return self._url("grpc" if protocol == "grpc" else "http")

    @property
    def requests(self) -> tuple[Request, ...]:
        """All requests, also the refused ones, in the order in which they were complete."""
        return self._store.requests()

    @property
    def metrics(self) -> tuple[Point, ...]:
        """The data points of all accepted requests."""
        return self._store.items(Point)

    @property
    def logs(self) -> tuple[Log, ...]:
        """The log records, and so the events, of all accepted requests."""
        return self._store.items(Log)

    @property
    def spans(self) -> tuple[Span, ...]:
        """The spans of all accepted requests."""
        return self._store.items(Span)

    @property
    def faults(self) -> tuple[str, ...]:
        """Faults of the receiver itself: empty, unless it has a bug."""
        return self._intake.faults()

    def wait_for(self, match: Callable[[Any], bool], timeout_s: float = 5.0) -> Any:
        """The first point, log or span for which ``match`` is true, among those that came and that come in time.

        What does not match stays. A ``match`` that reads an attribute that an item lacks (a log has no ``metric``)
        does not match it.

        Raises:
            TimeoutError: Nothing matched; the text says what had come.
        """
        return self._store.wait_for(match, timeout_s)

    def wait_until(self, condition: Callable[[OtlpReceiver], bool], timeout_s: float = 5.0) -> None:
        """Return when ``condition(receiver)`` holds.

        Raises:
            TimeoutError: It did not in time; the text says what had come.
        """
        self._store.wait_until(lambda: condition(self), timeout_s)

    def total(
        self,
        metric: str,
        where: Mapping[str, Any] | None = None,
        /,
        *,
        field: totals.Field = "count",
        **attributes: Any,
    ) -> float:
        """The sum over all series of ``metric`` that have these attributes; 0 if there is none.

        Deltas are added (a repeat counts once); of a cumulative stream the last value counts, and each restart is
        added; of a gauge the last value counts; of a histogram the ``field``.

        Args:
            metric: The name on the wire.
            where: Attributes whose keys are no Python names, such as ``{"agent.name": "x"}``.
            field: ``count`` or ``sum`` of a histogram.
            attributes: More attributes.
        """
        wanted = {**(where or {}), **attributes}
        points = (point for point in self._store.points(metric) if totals.matches(point.attributes, wanted))
        return math.fsum(totals.series(points, field).values())

    def series(self, metric: str, *, field: totals.Field = "count") -> totals.Series:
        """Each set of attributes of ``metric`` with its total, counted as in ``total``."""
        return totals.series(self._store.points(metric), field)

    def answer(  # noqa: PLR0913 - one keyword for each thing that can be asked for
        self,
        *,
        status: int = 200,
        grpc_status: str | None = None,
        delay_s: float = 0.0,
        retry_after_s: float | None = None,
        partial_success: int = 0,
        message: str = "",
        drop: bool = False,
        body: bytes | None = None,
        content_type: str | None = None,
        accepted: bool | None = None,
        times: int | None = None,
        signal: Signal | None = None,
    ) -> None:
        """Say how to answer well-formed requests from now on; ``answer()`` goes back to success.

        Answers with ``times`` are used first, in the order in which they were asked for; then the last one without.
        An answer without ``times`` also drops the counted ones before it (those of its signal, if it has one).

        Args:
            status: HTTP status; over gRPC the status that is nearest to it.
            grpc_status: A name such as ``RESOURCE_EXHAUSTED``, for gRPC alone.
            delay_s: How long to wait with the answer. The request is kept at once; ``close`` does not wait.
            retry_after_s: ``Retry-After`` over HTTP; ``RetryInfo`` in ``grpc-status-details-bin`` over gRPC.
            partial_success: How many items the answer says were rejected. All of them are kept, since the receiver
                can't know which ones are meant.
            message: The text of an error, or of a partial success.
            drop: Close the connection instead. Over gRPC the call ends with UNAVAILABLE, which is what a client sees
                of a lost connection; the connection itself stays.
            body: Send these bytes instead of the message that belongs to the status.
            content_type: Send this type instead of the request's.
            accepted: Whether the content counts. By default it does if the answer is a success; ``drop=True,
                accepted=True`` is a far side that took the data and died before it said so.
            times: How many requests to answer so; None for all from now on.
            signal: Only requests of this signal.

        Raises:
            ValueError: A status that does not exist, or ``times`` below 1.
        """
        answer = Answer(
            status=status,
            grpc_status=grpc_status,
            delay_s=delay_s,
            retry_after_s=retry_after_s,
            partial_success=partial_success,
            message=message,
            drop=drop,
            body=body,
            content_type=content_type,
            accepted=accepted,
        )
        self._answers.add(answer, signal, times)

    def _listen(self, name: str, port: int) -> HttpServer | GrpcServer:
        try:
            if name == "http":
                return HttpServer(self._host, port, self._intake)
            from claude_monitoring.receiver.grpc_server import GrpcServer

            return GrpcServer(self._host, port, self._intake)
        except (OSError, RuntimeError) as exc:
            raise OSError(f"the receiver can't listen on {self._host}:{port} ({exc}); port 0 takes a free one") from exc

    def _stop(self) -> None:
        while self._servers:
            self._servers.pop().close()

    def _url(self, name: str) -> str:
        if name not in self._wanted:
            raise ValueError(f"this receiver has no {name} port; it was made with {name}=False")
        if not self._ports[name]:
            raise RuntimeError("the receiver has no port yet: use it in a with statement, or start() it first")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._ports[name]}"
