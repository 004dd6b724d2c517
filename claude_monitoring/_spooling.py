"""What goes to the spool, and what comes back from it: between lanes and the folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from claude_monitoring._health import DropReason
from claude_monitoring._sealed import log, warn_once
from claude_monitoring._spool import Spool, Spooled
from claude_monitoring.types import AttributeValue, Signal

if TYPE_CHECKING:
    from claude_monitoring._lanes import Lane
    from claude_monitoring.exporters._otlp import OtlpExporter

__all__ = ["Sender", "Shelf"]

_MAX_PROTOBUF_BYTES = 250_000
_MAX_LINE_BYTES = 1_000_000  # the Collector's file readers cut lines at 1 MiB unless told otherwise
_AGAIN_S = 30.0
_BUSY_S = 2.0


class Shelf:
    """The spool as lanes see it: batches go in.

    Args:
        spool: The folder.
        resource: What the data are about; its ``service.name`` says who may send them later.
    """

    def __init__(self, spool: Spool, resource: Mapping[str, AttributeValue]) -> None:
        self.spool = spool
        self.service = str(resource["service.name"])
        self._resource = resource

    def put(self, lane: Lane, exporter: Any, batch: Any) -> int:
        """Write what the far side does not have of ``batch``; what can't be kept is counted.

        Returns:
            How many items were written.
        """
        from claude_monitoring.exporters import encoding

        kept = 0
        if exporter is not None:
            parts = exporter.left_of(batch, self._resource)
        else:
            parts = encoding.parts(lane.signal, batch, self._resource, _MAX_PROTOBUF_BYTES)
        for line, items in _lines(lane.signal, parts):
            try:
                lost = self.spool.keep(lane.signal, self.service, line, items)
            except OSError as exc:
                warn_once(
                    ("spool", str(self.spool.folder)),
                    f"claude_monitoring: nothing can be written to {self.spool.folder} ({exc}), so what is left is "
                    "lost; look at CLAUDE_MONITORING_SPOOL_DIR",
                )
                lane.drop(DropReason.NOT_DELIVERED_AT_EXIT, items)
                continue
            kept += items
            if lost:
                lane.drop(DropReason.SPOOL_FULL, lost)
        return kept


def _lines(signal: Signal, parts: Sequence[Any]) -> Iterator[tuple[bytes, int]]:
    """The parts that can be encoded as lines, each as small as a line may be, with the number of its items."""
    from claude_monitoring.exporters import encoding

    for part in parts:
        for piece in encoding.cut(signal, part, _MAX_PROTOBUF_BYTES) if part.request is not None else []:
            line = encoding.to_json(piece.request)
            if len(piece.places) > 1 and len(line) > _MAX_LINE_BYTES:
                yield from _lines(signal, encoding.cut(signal, piece, piece.request.ByteSize() // 2))
            else:
                yield line, len(piece.places)


class Sender:
    """Delivers what earlier processes of this service left, through the exporters of this one, in a worker's thread.

    Args:
        shelf: Where it is.
        lanes: Whose exporters to use, by signal.
    """

    def __init__(self, shelf: Shelf, lanes: Mapping[Signal, Lane]) -> None:
        self.next_due = time.monotonic()
        self._shelf = shelf
        self._lanes = lanes
        self._refused: set[str] = set()

    def tick(self, now: float, is_wanted: Callable[[], bool]) -> None:
        """Send what is there, if it is time, and while the thread is not wanted elsewhere."""
        if now >= self.next_due:
            self.next_due = now + _AGAIN_S
            self.run(now + _AGAIN_S, is_wanted)

    def run(self, deadline: float, is_wanted: Callable[[], bool] = bool) -> None:
        """Send until nothing is left, the far side fails, or ``deadline`` (monotonic) is reached."""
        waiting = self._waiting()
        if not waiting:
            return
        with self._shelf.spool.alone() as alone:
            if not alone:
                self.next_due = time.monotonic() + _BUSY_S
                return
            for one in self._waiting():  # again: another process may have sent them by now
                left_s = deadline - time.monotonic()
                if left_s <= 0 or is_wanted():
                    self.next_due = time.monotonic()
                    return
                if not self._send(one, left_s):
                    return

    def _waiting(self) -> list[Spooled]:
        try:
            entries = self._shelf.spool.entries(self._shelf.service)
        except OSError as exc:
            log.debug("the spool can't be read: %r", exc)
            return []
        return [one for one in entries if one.signal in self._lanes and one.path.name not in self._refused]

    def _send(self, one: Spooled, timeout_s: float) -> bool:
        """Send one request; whether to go on with the next."""
        from claude_monitoring.exporters import encoding

        lane = self._lanes[one.signal]
        exporter = cast("OtlpExporter | None", lane.exporter)
        if exporter is None:
            return False
        try:
            request = encoding.from_json(one.signal, one.path.read_bytes())
        except FileNotFoundError:
            return True
        except (OSError, ValueError) as exc:
            self._leave(one, f"can't be read ({type(exc).__name__})")
            return True
        result = exporter.send(request, timeout_s)
        if result.ok:
            one.remove()
            if result.rejected:
                lane.drop(DropReason.REJECTED, result.rejected)
        elif result.retryable:
            lane.target.failed(one.signal, result.error, unreached=result.unreached)
            return False
        else:
            self._leave(one, f"was refused: {result.error}")
        return True

    def _leave(self, one: Spooled, why: str) -> None:
        self._refused.add(one.path.name)
        warn_once(
            ("spooled", one.signal, why),
            f"claude_monitoring: {one.path} {why}; it stays there, see `claude-monitoring spool`",
        )
