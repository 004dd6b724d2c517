"""Shared public types: what flows between the layers, and what a custom part has to offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

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


class EventRecord(NamedTuple):
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


class ExportResult(NamedTuple):
    """What one attempt to deliver a batch came to.

    ``error`` names the cause and the mend in one line, without any header value.

    Attributes:
        ok: The far side acknowledged the batch.
        rejected: Items of an acknowledged batch that the far side refused (OTLP partial success); they are never sent
            again.
        retryable: The OTLP specification allows the same batch to be sent again.
        retry_after_s: How long the far side asked us to wait.
        uncertain: The far side may have the batch or a part of it, so that only the same batch, unchanged, may come
            next (after a time-out, say, or where the connection broke before the answer).
        refused: Where the batch is neither acknowledged nor to be sent again: the places in it of what was refused,
            the rest being acknowledged. ``None`` is all of it.
        unreached: The connection failed, so that other signals to the same far side fail of the same, whatever their
            words for it.
    """

    ok: bool
    error: str = ""
    retryable: bool = False
    retry_after_s: float | None = None
    rejected: int = 0
    uncertain: bool = False
    refused: tuple[range, ...] | None = None
    unreached: bool = False


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
        """Deliver one batch: ``MetricsData``, or a list of ``EventRecord`` or of ``ReadableSpan``.

        After a result that is ``uncertain`` the same object comes again.
        """
        ...

    def close(self) -> None:
        """Free connections and files; from any thread, also to cut off an ``export`` that is under way."""
        ...


EventBatch = Sequence[EventRecord]
