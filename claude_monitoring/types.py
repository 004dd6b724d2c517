"""Shared public types: what flows between the layers, and what a custom part has to offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

__all__ = [
    "AttributeValue",
    "EventRecord",
    "ExportResult",
    "Kind",
    "Labels",
    "Policy",
    "PrivateLabels",
    "Signal",
    "SignalExporter",
    "Temporality",
]

AttributeValue = str | bool | int | float
"""What an attribute may hold on the wire."""

Labels = Mapping[str, object]
"""Labels as a caller gives them, before they are normalised."""

Kind = Literal["counter", "up_down_counter", "gauge", "histogram"]
Policy = Literal["collapse", "drop", "raise"]
"""What happens past a bound on series: labels are collapsed, or measurements refused, silently or by an exception."""

PrivateLabels = Literal["redact", "hash"]
"""What becomes of a private value in a label: ``__redacted__``, or a hash that is different in every process."""

Signal = Literal["metrics", "logs", "traces"]
Temporality = Literal["cumulative", "delta"]


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event, as it waits to be sent as an OpenTelemetry log record.

    Times are nanoseconds since the epoch. ``trace_id`` and ``span_id`` are 0 outside a span.
    """

    body: str
    time_unix_nano: int
    attributes: Mapping[str, AttributeValue]
    scope: str
    trace_id: int = 0
    span_id: int = 0
    trace_flags: int = 0


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What one attempt to deliver came to.

    ``ok`` means that the far side acknowledged the request. ``rejected`` counts items that it
    refused inside an acknowledged request (OTLP partial success); they are never sent again.
    ``retryable`` says whether the OTLP specification allows the same request to be repeated, and
    ``retry_after_s`` how long the far side asked us to wait. ``error`` names the cause and the mend
    in one line, without any header value.
    """

    ok: bool
    error: str = ""
    retryable: bool = False
    retry_after_s: float | None = None
    rejected: int = field(default=0)


class SignalExporter(Protocol):
    """Delivers batches of one signal. Called from one thread at a time; may raise, never trusted not to."""

    @property
    def name(self) -> str:
        """A short name for messages and ``health()``, such as ``otlp http/protobuf http://localhost:4318``."""
        ...

    @property
    def temporality(self) -> Temporality:
        """How sums and histograms are wanted; of no meaning for logs and traces."""
        ...

    def export(self, batch: Any, resource: Mapping[str, AttributeValue], timeout_s: float) -> ExportResult:
        """Deliver one batch: ``MetricsData``, or a sequence of ``EventRecord`` or of ``ReadableSpan``."""
        ...

    def close(self) -> None:
        """Free connections and files. Called once."""
        ...


EventBatch = Sequence[EventRecord]
