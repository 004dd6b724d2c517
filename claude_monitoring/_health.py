"""Plain counters about ourselves: what was delivered, what was lost and why."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["DropReason", "Health", "HealthCounters"]


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
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True)
class Health:
    """How telemetry is doing, as numbers; ``monitor.health()`` gives it.

    Counts are since the pipeline began. ``exports`` is keyed by (exporter name, ``"ok"`` or ``"failed"``),
    ``dropped`` by reason, ``last_error`` by exporter name. ``overflowed`` counts measurements that went to an
    overflow series: their value is kept, their attributes are not.
    """

    enabled: bool
    exporters: tuple[str, ...]
    exports: Mapping[tuple[str, str], int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    last_error: Mapping[str, str] = field(default_factory=dict)
    series: int = 0
    overflowed: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing was lost and the latest export of every exporter went through."""
        return not self.last_error and not self.dropped


class HealthCounters:
    """The counters behind ``Health``; one for each pipeline. Never raises, never blocks for long."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # re-entrant: a signal handler may record while we count
        self._exports: Counter[tuple[str, str]] = Counter()
        self._dropped: Counter[str] = Counter()
        self._last_error: dict[str, str] = {}
        self.overflowed = 0

    def drop(self, reason: DropReason, count: int = 1) -> None:
        """Count ``count`` items lost for ``reason``."""
        with self._lock:
            self._dropped[reason.value] += count

    def exported(self, exporter: str, error: str = "") -> None:
        """Count one finished delivery; an empty ``error`` means that it was acknowledged."""
        with self._lock:
            self._exports[exporter, "failed" if error else "ok"] += 1
            if error:
                self._last_error[exporter] = error
            else:
                self._last_error.pop(exporter, None)

    def snapshot(self, *, enabled: bool, exporters: tuple[str, ...], series: int) -> Health:
        """Freeze the counters."""
        with self._lock:
            return Health(
                enabled=enabled,
                exporters=exporters,
                exports=dict(self._exports),
                dropped=dict(self._dropped),
                last_error=dict(self._last_error),
                series=series,
                overflowed=self.overflowed,
            )
