"""Lanes: one signal on its way to one exporter, and what is still to be acknowledged."""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from claude_monitoring._health import DropReason, ExporterHealth, HealthCounters
from claude_monitoring._sealed import log
from claude_monitoring._targets import Target
from claude_monitoring.types import AttributeValue, ExportResult, Signal, SignalExporter

if TYPE_CHECKING:
    from claude_monitoring._spooling import Shelf

__all__ = ["BufferLane", "Lane"]

_MAX_BUFFERED = 10_000
_MAX_BATCH = 2_000
_FIRST_BACKOFF_S = 0.25
_MAX_BACKOFF_S = 30.0
_LONGEST_ASKED_S = 900.0
_NOTHING = ExportResult(ok=True)
_JITTER = random.Random()  # noqa: S311 - it is no secret; of our own, since the host may have seeded the global one


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
        target: Target,
    ) -> None:
        self.signal = signal
        self.kind = kind
        self.interval_s = interval_s
        self.next_due = time.monotonic() + interval_s
        self.retry_at = -math.inf
        self.target = target
        self.shelf: Shelf | None = None
        """Where goes what is left at the end, if anywhere."""
        self.exports: Counter[str] = Counter()
        """Attempts by result, ``ok`` or ``failed``."""
        self._make = make
        self._exporter: SignalExporter | None = None
        self._resource = resource
        self._health = health
        self._sent = self._refused = self._failures = 0
        self._last_success: float | None = None
        self._last_error = ""
        self._uncertain = False
        self._dropped: Counter[str] = Counter()
        self._spooled = 0
        self._putting_away = threading.RLock()
        self._backoff_s = 0.0
        self._asked_until = -math.inf
        self._lost_told = 0
        self._off = False

    @property
    def exporter(self) -> SignalExporter | None:
        """The exporter, made on first use; ``None`` after the end, or if it can't be made."""
        if self._off:
            return None
        if self._exporter is None:
            try:
                self._exporter = self._make()
            except Exception as exc:  # noqa: BLE001 - an exporter may come from the host
                self._turn_off()
                self._last_error = f"the exporter could not be made, so this signal is off: {exc}"
                self._failures = 1
                log.warning("claude_monitoring: %s: %s", self.signal, self._last_error)
        return self._exporter

    @property
    def _lost(self) -> int:
        return sum(list(self._dropped.values()))  # whoever puts something in may add a reason

    # -- what a lane of a kind has to say -------------------------------------------------------

    def take_batch(self) -> Any:
        """What to send now; ``None`` for nothing."""
        raise NotImplementedError

    def size(self) -> int:
        """How many items the batch has."""
        raise NotImplementedError

    def waiting(self) -> int:
        """How many items are kept and not acknowledged."""
        raise NotImplementedError

    def settled(self, refused: Sequence[range]) -> None:
        """The far side has the batch, but for what is ``refused``, and that for good."""
        raise NotImplementedError

    def kept(self, *, uncertain: bool) -> None:
        """The far side does not have the batch, or nobody knows."""
        raise NotImplementedError

    def begin_flush(self, *, closing: bool) -> None:
        """From now on ``flushed`` is about what is there at this moment."""
        # Who asked us to wait is waited for, except by the last flush of all.
        self.retry_at = -math.inf if closing else self._asked_until

    def flushed(self) -> bool:
        """Whether nothing is left of what was there at ``begin_flush``."""
        raise NotImplementedError

    def leftovers(self) -> Iterator[Any]:
        """Take out, as batches, all that is not acknowledged."""
        raise NotImplementedError

    # -- on the beat ------------------------------------------------------------------------------

    def due(self) -> float:
        """When ``tick`` has something to do (monotonic)."""
        return self.next_due

    def tick(self, now: float) -> None:
        """Send if it is time; afterwards ``due`` says when to come again."""
        if now < self.due():
            return
        is_early = now < self.next_due
        result = self._send_all(math.inf)
        now = time.monotonic()
        if not result.ok and result.retryable:
            wait = self._wait(result)
            self.next_due = now + (wait if result.retry_after_s is not None else min(wait, self.interval_s))
        elif not is_early:
            missed = max(0, int((now - self.next_due) // self.interval_s))
            self.next_due += self.interval_s * (missed + 1)  # on the beat: gaps never drift

    def _send_all(self, timeout_s: float) -> ExportResult:
        return self.attempt(timeout_s)

    def step(self, deadline: float) -> bool | None:
        """Part of a flush: send until all is settled, an attempt fails, or ``deadline`` (monotonic) is reached.

        Returns:
            Whether all of it was acknowledged; ``None`` if it is to be tried again, at ``retry_at`` or later.
        """
        while True:
            if self.exporter is None:
                return not self.waiting()
            if self.flushed():
                return self._nothing_lost()
            now = time.monotonic()
            if now >= deadline or now < self.retry_at:
                return None
            result = self.attempt(deadline - now)
            if not result.ok and result.retryable:
                self.retry_at = time.monotonic() + self._wait(result)
                return None

    def _nothing_lost(self) -> bool:
        """Whether nothing was lost since this was asked before."""
        before, self._lost_told = self._lost_told, self._lost
        return self._lost_told == before

    def _wait(self, result: ExportResult) -> float:
        """Jittered, doubling backoff, or what the far side asked for (OTLP specification, "Retryable errors")."""
        self._backoff_s = min(max(self._backoff_s * 2, _FIRST_BACKOFF_S), _MAX_BACKOFF_S)
        if result.retry_after_s is None:
            return self._backoff_s * _JITTER.uniform(0.8, 1.2)
        wait = min(max(result.retry_after_s, 0.05), _LONGEST_ASKED_S)
        self._asked_until = time.monotonic() + wait
        return wait

    # -- one attempt ------------------------------------------------------------------------------

    def attempt(self, timeout_s: float) -> ExportResult:
        """Send one batch once."""
        exporter = self.exporter
        if exporter is None:
            return ExportResult(ok=False, error=self._last_error)
        batch = self.take_batch()
        if batch is None:
            return _NOTHING
        try:
            result = exporter.export(batch, self._resource, timeout_s)
        except Exception as exc:  # noqa: BLE001 - an exporter may come from the host
            result = ExportResult(ok=False, error=f"{type(exc).__name__}: {exc}")
        if self._off:  # the end came first, and the batch is its business
            return result
        if result.ok or not result.retryable:
            self._backoff_s, self._asked_until = 0.0, -math.inf
            self._settle(result)
        else:
            self.kept(uncertain=result.uncertain)
        self._judge(result)
        return result

    def _settle(self, result: ExportResult) -> None:
        size = self.size()
        refused = () if result.ok else (range(size),) if result.refused is None else result.refused
        lost = sum(map(len, refused))
        rejected = min(result.rejected, size - lost)  # a far side may claim any number
        self._sent += size - lost - rejected
        self._refused += lost + rejected
        if rejected:
            self.drop(DropReason.REJECTED, rejected)
        self.settled(refused)

    def _judge(self, result: ExportResult) -> None:
        """Note the outcome, and let the host know when failing begins and ends."""
        self.exports["ok" if result.ok else "failed"] += 1
        self._last_error = "" if result.ok and not result.rejected else result.error
        self._uncertain = result.uncertain
        if result.ok:
            self._failures, self._last_success = 0, time.time()
        else:
            self._failures += 1
        if self._last_error:
            for_good = result.ok or not result.retryable
            self.target.failed(self.signal, self._last_error, for_good=for_good, unreached=result.unreached)
        else:
            self.target.works(self.signal)

    def drop(self, reason: DropReason, count: int) -> None:
        """Count ``count`` items lost; from any thread."""
        self._health.drop(reason, count, self._dropped)

    def put_away(self) -> None:
        """Write to the spool what is not acknowledged; at the end this waits for a worker that does it."""
        if self.shelf is not None:
            with self._putting_away:
                for batch in self.leftovers():
                    self._spooled += self.shelf.put(self, self._exporter, batch)

    def give_up(self, *, in_time: bool) -> None:
        """The end: keep or count what is left. After a last flush that ended ``in_time`` that is what came later."""
        self.put_away()
        if lost := self.waiting():
            self.drop(DropReason.NOT_DELIVERED_AT_EXIT, lost)
            if not in_time:
                self.target.given_up(self.signal)

    def health(self) -> ExporterHealth:
        """Its state now."""
        return ExporterHealth(
            name=self._exporter.name if self._exporter is not None else self.kind,
            signal=self.signal,
            last_success_unix_s=self._last_success,
            consecutive_failures=self._failures,
            last_error=self._last_error,
            uncertain=self._uncertain,
            sent=self._sent,
            refused=self._refused,
            waiting=self.waiting(),
            dropped=dict(self._dropped),
            spooled=self._spooled,
        )

    # -- the end ----------------------------------------------------------------------------------

    def _turn_off(self) -> None:
        self._off = True

    def close(self) -> None:
        """Close the exporter, if there is one; an attempt that is under way changes nothing any more."""
        self._off = True
        if self._exporter is not None:
            try:
                self._exporter.close()
            except Exception as exc:  # noqa: BLE001 - an exporter may come from the host
                log.debug("closing %s: %r", self.signal, exc)


class BufferLane(Lane):
    """Events or spans: a bounded buffer, the oldest are dropped first and counted."""

    def __init__(self, signal: Signal, *args: Any) -> None:
        super().__init__(signal, *args)
        self.nudge: Callable[[], None] = _do_nothing
        """Wakes the worker."""
        self._waiting: deque[Any] = deque()
        self._batch: list[Any] = []
        self._to_flush = 0

    def put(self, item: Any) -> None:
        """Add one item; from any thread."""
        if len(self._waiting) >= _MAX_BUFFERED:
            try:
                self._waiting.popleft()
            except IndexError:  # the worker was faster
                pass
            else:
                self.drop(DropReason.QUEUE_FULL, 1)
        self._waiting.append(item)
        if len(self._waiting) % _MAX_BATCH == 0 and self.due() == -math.inf:
            self.nudge()

    def due(self) -> float:
        count = len(self._waiting)
        return -math.inf if (count >= _MAX_BATCH and not self._failures) or self._is_to_spill() else self.next_due

    def _is_to_spill(self) -> bool:
        return self.shelf is not None and self._failures > 0 and len(self._waiting) > _MAX_BUFFERED // 2

    def tick(self, now: float) -> None:
        if self._is_to_spill():  # rather on disk than lost
            self.put_away()
        super().tick(now)

    def _send_all(self, timeout_s: float) -> ExportResult:
        result = _NOTHING
        for _ in range(bool(self._batch) - (-len(self._waiting) // _MAX_BATCH)):  # what comes meanwhile is for later
            result = self.attempt(timeout_s)
            if not result.ok:
                break
        return result

    def waiting(self) -> int:
        return len(self._waiting) + len(self._batch)

    def size(self) -> int:
        return len(self._batch)

    def begin_flush(self, *, closing: bool) -> None:
        super().begin_flush(closing=closing)
        self._to_flush = self.waiting()

    def flushed(self) -> bool:
        return self._to_flush <= 0 or not self.waiting()

    def take_batch(self) -> Any:
        if not self._batch:  # else it comes again as it is
            batch: list[Any] = []
            while self._waiting and len(batch) < _MAX_BATCH:
                try:
                    batch.append(self._waiting.popleft())
                except IndexError:
                    break
            self._batch = batch
        return self._batch or None

    def settled(self, refused: Sequence[range]) -> None:
        lost = sum(map(len, refused))
        if lost:
            self.drop(DropReason.EXPORT_FAILED, lost)
        self._to_flush -= len(self._batch)
        self._batch = []

    def kept(self, *, uncertain: bool) -> None:
        """It stays in its place."""

    def leftovers(self) -> Iterator[Any]:
        while batch := self.take_batch():
            self._batch = []
            yield batch


def _do_nothing() -> None:
    """No worker yet."""
