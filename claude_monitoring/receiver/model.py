"""What the receiver keeps: requests as they came, and the points, events and spans inside them, flattened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from claude_monitoring.types import Signal

__all__ = ["Arrival", "Log", "Point", "Request", "Scope", "Span", "SpanEvent"]

Attributes = Mapping[str, Any]
"""Keys to ``str | bool | int | float | bytes | None``, or ``list`` and ``dict`` of these."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is known of a request before its body is looked into; the fields are those of ``Request``."""

    signal: Signal | None
    protocol: str
    path: str
    headers: Mapping[str, str]

    @property
    def known_signal(self) -> Signal:
        """The signal of a request that was found to have one."""
        if self.signal is None:
            raise LookupError(f"{self.path!r} belongs to no signal")
        return self.signal


@dataclass(frozen=True, slots=True)
class Request:
    """One request, whatever the answer was.

    Attributes:
        index: Its place in ``OtlpReceiver.requests``.
        signal: None where the path or method belongs to no signal.
        protocol: ``grpc``, ``http/protobuf`` or ``http/json``; ``http`` where the content type is none of OTLP's.
        path: The HTTP path as it came, or the gRPC method.
        headers: HTTP headers or gRPC metadata, keys in lower case, repeated keys joined by a comma, binary metadata
            in base64. Values are not masked.
        body_bytes: Size of the body after decompression; of a refused body, as far as it is known.
        received_s: ``time.monotonic()`` when the whole request was there.
        received_unix_nano: The same moment in nanoseconds since the epoch.
        message: The decoded ``Export...ServiceRequest``; None if it could not be decoded.
        status: What was answered: an HTTP status as int, a gRPC status by name, or ``dropped``.
        accepted: Whether its content is part of ``metrics``, ``logs``, ``spans`` and the totals.
    """

    index: int
    signal: Signal | None
    protocol: str
    path: str
    headers: Mapping[str, str]
    body_bytes: int
    received_s: float
    received_unix_nano: int
    message: Any = field(repr=False)
    status: int | str
    accepted: bool


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a point, event or span came from; one object for all that share it within a request."""

    resource: Attributes
    name: str
    version: str
    request: int


class _Scoped:
    """What points, events and spans have in common."""

    __slots__ = ()
    scope: Scope

    @property
    def resource(self) -> Attributes:
        """The attributes of the resource."""
        return self.scope.resource

    @property
    def scope_name(self) -> str:
        """The name of the instrumentation scope."""
        return self.scope.name

    @property
    def scope_version(self) -> str:
        """The version of the instrumentation scope."""
        return self.scope.version

    @property
    def request(self) -> int:
        """The index of the request that brought it."""
        return self.scope.request


@dataclass(frozen=True, slots=True)
class Point(_Scoped):
    """One data point of a metric.

    ``kind`` is ``sum``, ``gauge``, ``histogram``, ``exponential_histogram`` or ``summary``; ``temporality`` is
    ``delta``, ``cumulative``, ``unspecified``, or empty for gauges and summaries. ``value`` (an int or a float as it
    was on the wire) belongs to sums and gauges, ``count`` to ``bucket_counts`` to the others. ``recorded`` is False
    for a point that says that its series has no value any more.
    """

    metric: str
    unit: str
    description: str
    kind: str
    temporality: str
    monotonic: bool
    attributes: Attributes
    start_unix_nano: int
    time_unix_nano: int
    scope: Scope = field(repr=False)
    value: int | float | None = None
    count: int | None = None
    sum: float | None = None
    min: float | None = None
    max: float | None = None
    bounds: tuple[float, ...] = ()
    bucket_counts: tuple[int, ...] = ()
    recorded: bool = True


@dataclass(frozen=True, slots=True)
class Log(_Scoped):
    """One log record. ``event_name`` is the record's field, or else its attribute ``event.name``; ids are hex."""

    body: Any
    event_name: str
    attributes: Attributes
    time_unix_nano: int
    observed_unix_nano: int
    severity_number: int
    severity_text: str
    trace_id: str
    span_id: str
    scope: Scope = field(repr=False)


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened inside a span, such as an exception."""

    name: str
    time_unix_nano: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Span(_Scoped):
    """One span. Ids are hex, ``parent_span_id`` is empty for a root.

    ``kind`` and ``status`` are the names of the specification in lower case: ``internal``, ``server``, ``client``,
    ``producer``, ``consumer``; ``unset``, ``ok``, ``error``. ``links`` holds pairs of trace id and span id.
    """

    name: str
    trace_id: str
    span_id: str
    parent_span_id: str
    kind: str
    status: str
    status_message: str
    attributes: Attributes
    events: tuple[SpanEvent, ...]
    links: tuple[tuple[str, str], ...]
    start_unix_nano: int
    end_unix_nano: int
    scope: Scope = field(repr=False)
