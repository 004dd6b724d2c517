"""Lanes: one signal on its way to one exporter, and what is still to be acknowledged."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from claude_monitoring._health import DropReason, HealthCounters
from claude_monitoring._sealed import log
from claude_monitoring._snapshot import Snapshot, take_for_export, to_metrics_data
from claude_monitoring._store import Store
from claude_monitoring.types import AttributeValue, ExportResult, Signal, SignalExporter

__all__ = ["BufferLane", "Lane", "MetricsLane"]

_MAX_BUFFERED = 10_000
_MAX_BATCH = 2_000
_FIRST_BACKOFF_S = 0.25
_MAX_BACKOFF_S = 30.0


class Lane:
    """One signal to one exporter. Used by one worker thread; only ``BufferLane.put`` is called from others."""

    def __init__(
        self,
        signal: Signal,
        kind: str,
        make: Callable[[], SignalExporter],
        interval_s: float,
        resource: Mapping[str, AttributeValue],
        health: HealthCounters,
    ) -> None:
        self.signal = signal
        self.interval_s = interval_s
        self.next_due = time.monotonic() + interval_s
        self._kind = kind
        self._make = make
        self._exporter: SignalExporter | None = None
        self._resource = resource
        self._health = health
        self._backoff_s = 0.0
        self._failing = False
        self._off = False

    @property
    def exporter(self) -> SignalExporter | None:
        """The exporter, made on first use; ``None`` once it turned out that it can't be made."""
        if self._exporter is None and not self._off:
            try:
                self._exporter = self._make()
            except Exception as exc:  # noqa: BLE001 - an exporter may come from the host
                self._turn_off()
                self._tell(f"{self.signal}: the exporter could not be made, so this signal is off: {exc}")
        return self._exporter

    @property
    def exporter_name(self) -> str:
        """What it is called in messages and in ``health()``."""
        return self._exporter.name if self._exporter is not None else self._kind

    def has_batch(self) -> bool:
        """Whether anything waits to be sent."""
        raise NotImplementedError

    def take_batch(self) -> Any:
        """What to send now; ``None`` for nothing."""
        raise NotImplementedError

    def acknowledged(self) -> None:
        """The far side has the batch."""
        raise NotImplementedError

    def refused(self, *, retryable: bool) -> None:
        """The far side does not have the batch."""
        raise NotImplementedError

    def tick(self, now: float) -> None:
        """Send if it is time; afterwards ``next_due`` says when to come again."""
        if now < self.next_due:
            return
        result = self.attempt(float("inf"))
        now = time.monotonic()
        if result.ok or not result.retryable:
            self._backoff_s = 0.0
            missed = max(0, int((now - self.next_due) // self.interval_s))
            self.next_due += self.interval_s * (missed + 1)  # on the beat: gaps never drift
        else:
            self.next_due = now + min(self._wait(result), self.interval_s)

    def drain(self, deadline: float) -> bool:
        """Send until nothing waits, the far side refuses for good, or ``deadline`` (monotonic) is reached."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return not self.has_batch()
            result = self.attempt(left)
            if result.ok and result.rejected:
                return False
            if result.ok and not self.more():
                self._backoff_s = 0.0
                return True
            if not result.ok:
                if not result.retryable:
                    return False
                time.sleep(min(self._wait(result), max(0.0, deadline - time.monotonic())))

    def more(self) -> bool:
        """Whether there is another batch to send in the same flush."""
        return False

    def _wait(self, result: ExportResult) -> float:
        """Jittered, doubling backoff, or what the far side asked for (OTLP specification, "Retryable errors")."""
        self._backoff_s = min(max(self._backoff_s * 2, _FIRST_BACKOFF_S), _MAX_BACKOFF_S)
        if result.retry_after_s is not None:
            return max(result.retry_after_s, 0.05)
        return self._backoff_s * random.uniform(0.8, 1.2)  # noqa: S311 - jitter is no secret

    def attempt(self, timeout_s: float) -> ExportResult:
        """Send one batch once."""
        exporter = self.exporter
        if exporter is None:
            return ExportResult(ok=False, error="the exporter could not be made")
        batch = self.take_batch()
        if batch is None:
            return ExportResult(ok=True)
        try:
            result = exporter.export(batch, self._resource, timeout_s)
        except Exception as exc:  # noqa: BLE001 - an exporter may come from the host
            result = ExportResult(ok=False, error=f"{type(exc).__name__}: {exc}")
        if result.ok:
            self.acknowledged()
            if result.rejected:
                self._health.drop(DropReason.REJECTED, result.rejected)
        else:
            self.refused(retryable=result.retryable)
        self._judge(exporter.name, result)
        return result

    def _judge(self, name: str, result: ExportResult) -> None:
        """Count the outcome; one line when failing begins and one when it ends."""
        self._health.exported(f"{self.signal} {name}", "" if result.ok and not result.rejected else result.error)
        if not result.ok or result.rejected:
            if not self._failing:
                self._tell(f"{self.signal} not delivered by {name}: {result.error}")
            self._failing = True
        elif self._failing:
            self._failing = False
            log.info("claude_monitoring: %s delivered again by %s", self.signal, name)

    def _turn_off(self) -> None:
        self._off = True

    def _tell(self, text: str) -> None:
        log.warning("claude_monitoring: %s", text)

    def close(self) -> None:
        """Close the exporter, if there is one; what it raises is its own."""
        exporter, self._exporter, self._off = self._exporter, None, True
        if exporter is not None:
            try:
                exporter.close()
            except Exception as exc:  # noqa: BLE001 - an exporter may come from the host
                log.debug("closing %s: %r", self.signal, exc)


class MetricsLane(Lane):
    """Metrics: a snapshot on each beat, nothing piles up."""

    def __init__(self, store: Store, *args: Any) -> None:
        super().__init__("metrics", *args)
        self._store = store
        self._far_side = store.lives.add_far_side()
        self._taken: Snapshot | None = None
        self._acknowledged: Snapshot | None = None

    def has_batch(self) -> bool:
        return self._store.series_count() > 0

    def take_batch(self) -> Any:
        exporter = self.exporter
        temporality = exporter.temporality if exporter is not None else "cumulative"
        self._taken = take_for_export(self._store)
        data = to_metrics_data(self._taken, self._resource, temporality, self._acknowledged)
        if data is None:
            self.acknowledged()  # nothing has changed since
        return data

    def acknowledged(self) -> None:
        if self._taken is not None:
            self._far_side.delivered(self._taken.values)
        is_delta = self._exporter is not None and self._exporter.temporality == "delta"
        self._acknowledged, self._taken = self._taken if is_delta else None, None

    def _turn_off(self) -> None:
        super()._turn_off()
        self._far_side.leave()

    def refused(self, *, retryable: bool) -> None:  # noqa: ARG002
        self._taken = None  # the totals are still in the store and go with the next snapshot


class BufferLane(Lane):
    """Events or spans: a bounded buffer, the oldest are dropped first and counted."""

    def __init__(self, signal: Signal, *args: Any) -> None:
        super().__init__(signal, *args)
        self._waiting: deque[Any] = deque()
        self._in_flight: list[Any] = []

    def put(self, item: Any) -> None:
        """Add one item; from any thread."""
        if len(self._waiting) >= _MAX_BUFFERED:
            try:
                self._waiting.popleft()
            except IndexError:  # the worker was faster
                pass
            else:
                self._health.drop(DropReason.QUEUE_FULL)
        self._waiting.append(item)

    def has_batch(self) -> bool:
        return bool(self._waiting or self._in_flight)

    def more(self) -> bool:
        return bool(self._waiting)

    def take_batch(self) -> Any:
        while self._waiting and len(self._in_flight) < _MAX_BATCH:
            try:
                self._in_flight.append(self._waiting.popleft())
            except IndexError:
                break
        return self._in_flight or None

    def acknowledged(self) -> None:
        self._in_flight = []

    def refused(self, *, retryable: bool) -> None:
        if not retryable:
            self._health.drop(DropReason.EXPORT_FAILED, len(self._in_flight))
            self._in_flight = []

    def abandon(self) -> int:
        """How many items are given up; they are counted by the caller."""
        return len(self._waiting) + len(self._in_flight)
