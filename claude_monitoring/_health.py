"""How delivery is doing, in numbers: what arrived, what waits, what was lost and why."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from claude_monitoring.types import Signal

__all__ = ["ITEMS", "DropReason", "ExporterHealth", "Health", "HealthCounters"]

ITEMS: Mapping[Signal, str] = {"metrics": "data points", "logs": "events", "traces": "spans"}
"""What is counted of each signal, in words."""


class DropReason(str, Enum):
    """Why something that the host gave us was not recorded or not delivered."""

    INVALID_VALUE = "invalid_value"
    INVALID_NAME = "invalid_name"
    KIND_CONFLICT = "kind_conflict"
    SERIES_LIMIT = "series_limit"
    DURING_START = "during_start"
    ALREADY_CLOSED = "already_closed"
    QUEUE_FULL = "queue_full"
    REJECTED = "rejected"
    EXPORT_FAILED = "export_failed"
    NOT_DELIVERED_AT_EXIT = "not_delivered_at_exit"
    SPOOL_FULL = "spool_full"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True)
class ExporterHealth:
    """One signal to one exporter. Counts are of data points, events or spans, since the pipeline began.

    Attributes:
        name: Exporter and endpoint, such as ``otlp grpc http://localhost:4317``; without user, password and query.
        signal: What it delivers.
        last_success_unix_s: When the far side last acknowledged something, in seconds since the epoch.
        consecutive_failures: Attempts that failed since then; 0 if the latest went well.
        last_error: Cause and mend of the latest failure in one line; empty if the latest attempt went well.
        uncertain: Whether the far side may have what the latest attempt sent, though it failed: no answer came.
        sent: Acknowledged by the far side.
        refused: Refused by the far side: in an acknowledged request, or with the whole of it.
        waiting: Not acknowledged yet, and kept: for metrics, the points of the latest attempt that failed.
        dropped: Lost on the way, by reason.
        spooled: Written to the spool, for this process or the next one to send.
    """

    name: str
    signal: Signal
    last_success_unix_s: float | None = None
    consecutive_failures: int = 0
    last_error: str = ""
    uncertain: bool = False
    sent: int = 0
    refused: int = 0
    waiting: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    spooled: int = 0


@dataclass(frozen=True)
class Health:
    """How telemetry is doing, as numbers; ``monitor.health()`` gives it.

    Attributes:
        enabled: Whether anything is recorded.
        exporters: The state of each signal to each exporter.
        dropped: What was lost, whether or not it got as far as an exporter, by reason. What two exporters lost counts
            twice.
        series: Series kept.
        overflowed: Measurements that went to an overflow series: their value is kept, their attributes are not.
    """

    enabled: bool
    exporters: tuple[ExporterHealth, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    series: int = 0
    overflowed: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing was lost and the latest attempt of every exporter went well."""
        return not self.dropped and not any(one.consecutive_failures for one in self.exporters)


class HealthCounters:
    """The counters behind ``Health.dropped``; one for each pipeline. Never raises, never blocks for long."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # re-entrant: a signal handler may record while we count
        self._dropped: Counter[str] = Counter()
        self.overflowed = 0

    def drop(self, reason: DropReason, count: int = 1, of_exporter: Counter[str] | None = None) -> None:
        """Count ``count`` items lost for ``reason``, also in an exporter's own count."""
        with self._lock:
            self._dropped[reason.value] += count
            if of_exporter is not None:
                of_exporter[reason.value] += count

    def dropped(self) -> dict[str, int]:
        """What was lost so far, by reason."""
        with self._lock:
            return dict(self._dropped)
