"""The lane of metrics: a snapshot on each beat, nothing piles up, and no change is lost with an export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from claude_monitoring._health import DropReason
from claude_monitoring._lanes import Lane
from claude_monitoring._snapshot import Batch, Snapshot, make_batch, take_for_export
from claude_monitoring._store import Store
from claude_monitoring.types import Temporality

__all__ = ["MetricsLane"]

_MOST_REFUSALS = 10


class MetricsLane(Lane):
    """Metrics. Cumulative, each snapshot replaces the one before.

    With delta, changes are taken against what the far side acknowledged. A batch of which it is not known whether it
    arrived is sent again as it was, and what came later waits until its outcome is known. If it is refused then, as a
    repeat may be, that is tried a few times more; after that it is given up and counted, since neither is certain.
    """

    def __init__(self, store: Store, *args: Any) -> None:
        super().__init__("metrics", *args)
        self._store = store
        self._far_side = store.lives.add_far_side()
        self._batch: Batch | None = None
        self._base: Snapshot | None = None
        self._waiting = 0
        self._is_flushed = True
        self._is_fresh = self._was_refused = self._may_have_it = self._is_last = False
        self._refusals = 0

    @property
    def _temporality(self) -> Temporality:
        return self._exporter.temporality if self._exporter is not None else "cumulative"

    def waiting(self) -> int:
        return self._waiting

    def size(self) -> int:
        return self._batch.size if self._batch is not None else 0

    def begin_flush(self, *, closing: bool) -> None:
        super().begin_flush(closing=closing)
        self._is_last = closing
        self._is_flushed = self._is_fresh = self._was_refused = False
        if self._temporality == "cumulative":
            self._lost_told = self._lost  # the total that is sent now has in it what was rejected before

    def flushed(self) -> bool:
        return self._is_flushed

    def _nothing_lost(self) -> bool:
        return super()._nothing_lost() and not self._was_refused

    def take_batch(self) -> Any:
        if self._batch is None:
            self._is_fresh = True
            self._batch = make_batch(take_for_export(self._store), self._resource, self._temporality, self._base)
            if self._batch.data is None:  # nothing has changed since
                self.settled(())
                return None
            self._waiting = self.size()
        return self._batch.data

    def settled(self, refused: Sequence[range]) -> None:
        batch, self._batch = self._batch, None
        if batch is None:
            return
        self._is_flushed, self._was_refused = self._is_fresh or bool(refused), bool(refused)
        if refused and sum(map(len, refused)) == batch.size:
            self._refused_all(batch)
            return
        has = batch.delivered(refused)
        if self._far_side.is_waited_for:
            self._far_side.delivered(has.values)
        self._base = has if self._temporality == "delta" else None
        self._waiting, self._refusals, self._may_have_it = 0, 0, False

    def _refused_all(self, batch: Batch) -> None:
        """None of it arrived, so it joins the next interval; a delta that may have arrived earlier can't do that."""
        self._refusals += 1
        if self._may_have_it and self._temporality == "delta":
            if self._refusals < _MOST_REFUSALS:
                self._batch = batch
                return
            self.drop(DropReason.EXPORT_FAILED, batch.size)
            self._base = batch.snapshot
        self._waiting, self._refusals, self._may_have_it = 0, 0, False

    def kept(self, *, uncertain: bool) -> None:
        self._may_have_it = self._may_have_it or uncertain
        if not self._may_have_it or self._temporality == "cumulative":
            self._batch = None  # the totals are in the store and go with the next snapshot

    def leftovers(self) -> Iterator[Any]:
        if self._is_last and self._is_flushed and not self._was_refused:
            return
        if self._batch is not None and self._temporality == "delta":  # it may have arrived, so it stays as it is
            yield self._batch.data
            self._base = self._batch.snapshot
        self._batch = make_batch(take_for_export(self._store), self._resource, self._temporality, self._base)
        if self._batch.data is not None:
            yield self._batch.data
        self._batch, self._waiting = None, 0

    def _turn_off(self) -> None:
        super()._turn_off()
        self._far_side.leave()
