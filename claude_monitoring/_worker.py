"""The exporter thread of a far side: it comes round to each lane on its beat, and flushes when asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from claude_monitoring._lanes import BufferLane, Lane
from claude_monitoring._once import once
from claude_monitoring._sealed import Sealed, warn_once
from claude_monitoring._snapshot import preload

if TYPE_CHECKING:
    from claude_monitoring._spooling import Sender

__all__ = ["Worker"]

_MARGIN_S = 0.1


class Worker:
    """One daemon thread for the lanes to one target, so that a slow or dead one takes no time from another.

    Args:
        name: Of the thread.
        lanes: What it serves.
        sender: For what earlier processes left, if a spool is used.
    """

    def __init__(self, name: str, lanes: Sequence[Lane], sender: Sender | None = None) -> None:
        self.lanes = tuple(lanes)
        self._sender = sender
        for lane in lanes:
            if isinstance(lane, BufferLane):
                lane.nudge = self._nudge
        self._name = name
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._asked = self._answered = 0
        self._deadline = 0.0
        self._all_delivered = True
        self._closing = False
        self._stopping = False

    def start(self) -> None:
        """Start the thread; without one (the interpreter is going down), flushing works in the caller's."""
        if self._thread is not None:
            return
        with self._wake:
            if self._thread is not None or self._stopping:
                return
            try:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            except RuntimeError:  # Python's answer in an isolated sub-interpreter
                warn_once(
                    ("no thread",),
                    "claude_monitoring: this sub-interpreter allows no background thread: telemetry is sent by flush, "
                    "close and at its end only; call monitor.flush() now and then",
                )
                return
            try:
                thread.start()
            except RuntimeError:
                return
            self._thread = thread

    def _nudge(self) -> None:
        with self._wake:
            self._wake.notify_all()

    def ask_flush(self, deadline: float, *, closing: bool = False) -> int:
        """Ask for everything to be sent before ``deadline`` (monotonic); the ticket is for ``wait_flushed``.

        Args:
            deadline: When it has to end.
            closing: It is the last one, so its deadline is the one that counts.
        """
        with self._wake:
            idle = self._asked == self._answered
            # A little earlier, so that the outcome of the last attempt is there in time.
            deadline -= min(_MARGIN_S, max(0.0, deadline - time.monotonic()) / 10)
            self._deadline = deadline if idle or closing else max(deadline, self._deadline)
            self._closing = self._closing or closing
            self._asked += 1
            self._wake.notify_all()
            return self._asked

    def wait_flushed(self, ticket: int, deadline: float) -> bool:
        """Whether the flush of ``ticket`` ended in time with everything acknowledged."""
        if self._thread is None or not self._thread.is_alive():
            return self._drain()
        with self._wake:
            done = self._wake.wait_for(lambda: self._answered >= ticket, max(0.0, deadline - time.monotonic()))
            return done and self._all_delivered

    def gave_up(self, lane: Lane) -> bool:
        """Whether the last flush did not come to its end with ``lane``."""
        return self._answered < self._asked or not lane.flushed()

    def stop(self, deadline: float) -> None:
        """End the thread; what is still in flight at ``deadline`` is cut off by closing its exporter."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
        if thread is None or thread.is_alive():
            self._close_lanes()

    def _close_lanes(self) -> None:
        for lane in self.lanes:
            lane.close()

    def _drain(self) -> bool:
        """Send until nothing waits or the deadline is there."""
        for lane in self.lanes:
            lane.begin_flush(closing=self._closing)
        left, all_delivered = self.lanes, True
        while left:
            results: dict[Lane, bool | None] = {}
            for lane in left:  # each has its share of the time, so that a slow one leaves some to the others
                now = time.monotonic()
                results[lane] = lane.step(now + (self._deadline - now) / (len(left) - len(results)))
            all_delivered = all_delivered and all(done is not False for done in results.values())
            left = tuple(lane for lane, done in results.items() if done is None)
            if self._closing and left and all(lane.shelf for lane in left):
                return False  # the spool is a better place than the end of a program that waits
            again, now = min((lane.retry_at for lane in left), default=0.0), time.monotonic()
            if left and max(again, now) >= self._deadline:
                return False
            with self._wake:
                self._wake.wait_for(lambda: self._stopping, max(0.0, again - now))
        return all_delivered

    def _run(self) -> None:
        with Sealed(), once:  # imports are made here, not in the host's threads
            preload()
            for lane in self.lanes:
                lane.exporter  # noqa: B018
        while True:
            with Sealed():
                if not self._turn():
                    break
        self._close_lanes()

    def _turn(self) -> bool:
        """One round; ``False`` when it is time to end."""
        with self._wake:
            if self._asked == self._answered and not self._stopping:
                due = min(lane.due() for lane in self.lanes)
                due = min(due, self._sender.next_due) if self._sender is not None else due
                self._wake.wait(max(0.0, due - time.monotonic()))
            ticket, stopping = self._asked, self._stopping
        if ticket != self._answered:
            self._flush(ticket)
            return True
        if stopping:
            return False
        now = time.monotonic()
        for lane in self.lanes:
            lane.tick(now)
            if self._asked != ticket:  # a flush comes first
                return True
        if self._sender is not None:
            self._sender.tick(time.monotonic(), lambda: self._asked != ticket)
        return True

    def _flush(self, ticket: int) -> None:
        delivered = False
        try:
            delivered = self._drain()
        finally:
            with self._wake:
                self._answered, self._all_delivered = ticket, delivered
                self._wake.notify_all()
        if self._closing and delivered and self._sender is not None:
            self._sender.run(self._deadline)
