"""Series: cells that recording adds to, without a lock, and that the exporter thread reads.

Each series has one cell for the thread that made it and one for each other thread that ever wrote to it. Only the
owner writes a cell, so no increment is lost under threads, with or without the interpreter's global lock; a signal
handler or ``__del__`` runs in the owner's thread, between byte codes, and never inside the read-add-store of a cell.

A series that was let go may still be written to by a thread that had looked it up before. So each writer looks at
``owner`` after it wrote, and gives a series without one to ``settle``, which takes what came late to where it belongs.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from threading import get_ident
from typing import TYPE_CHECKING

from claude_monitoring._labels import Pairs

if TYPE_CHECKING:
    from claude_monitoring._store import Instrument

__all__ = ["SENT_BACK", "Cell", "GaugeSeries", "HistogramSeries", "Reading", "Series", "SumSeries", "renew_lock"]

SENT_BACK = 0
"""Owner of a series whose writers have to look it up again; no thread has this ident."""

_others_lock = threading.RLock()  # a signal handler may come while it is held


def renew_lock() -> None:
    """In a forked child: another thread of the parent may have held it."""
    global _others_lock  # noqa: PLW0603
    _others_lock = threading.RLock()


def _add_up(parts: Sequence[float]) -> float:
    """The sum, correctly rounded; infinite where it passes what a float can hold, for which ``math.fsum`` raises."""
    try:
        return math.fsum(parts)
    except (OverflowError, ValueError):  # ValueError: of both infinities
        return sum(parts)


class Cell:
    """One thread's share of a histogram. The count is the sum of the buckets, so the two can never disagree."""

    __slots__ = ("buckets", "max", "min", "sum")

    def __init__(self, size: int) -> None:
        self.buckets = [0] * size
        self.sum: float = 0
        self.min: float = math.inf
        self.max: float = -math.inf

    def add(self, other: Cell) -> None:
        """Add what another cell holds."""
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]
        self.sum += other.sum
        self.min = min(self.min, other.min)
        self.max = max(self.max, other.max)

    def since(self, before: Cell) -> Cell:
        """What was recorded after ``before`` was read; its minimum and maximum are known if they are new ones."""
        delta = Cell(len(self.buckets))
        delta.buckets = [a - b for a, b in zip(self.buckets, before.buckets, strict=True)]
        # Past the largest float there is no difference any more.
        delta.sum = self.sum - before.sum if math.isfinite(before.sum) else before.sum
        if self.min < before.min:
            delta.min = self.min
        if self.max > before.max:
            delta.max = self.max
        return delta


Reading = float | Cell
"""What a series holds at one moment."""


class Series:
    """What all series share: their attributes, the time of their first measurement, the owner's thread, their metric.

    ``owner`` is the thread that made it, or ``SENT_BACK``. ``final`` is what it held when it was let go. ``encoded`` is
    the place for its attributes as an exporter has encoded them.
    """

    __slots__ = ("base", "encoded", "final", "home", "maker", "own", "owner", "start_unix_nano")

    def __init__(self, home: Instrument, base: Pairs, own: Pairs) -> None:
        self.home = home
        self.base = base
        self.own = own
        self.encoded: bytes | None = None
        self.final: Reading | None = None
        self.owner = self.maker = get_ident()
        self.start_unix_nano = time.time_ns()

    @property
    def attributes(self) -> dict[str, str | bool | int | float]:
        """The attributes as they are exported; a label of the caller's own replaces the monitor's."""
        return {**dict(self.base), **dict(self.own)}

    def read(self) -> Reading:
        """What it holds now."""
        raise NotImplementedError

    def send_back(self) -> None:
        """Let every writer look the series up again; what was recorded stays."""
        self.owner = SENT_BACK

    def take_up(self) -> None:
        """Undo ``send_back``; the cell stays its maker's, who may be in the middle of a write."""
        self.owner = self.maker

    def settle(self) -> None:
        """To be called by a writer that found no owner after it wrote: see to it that the amount is not lost."""
        self.home.settle(self)

    def move_late(self, to: Series) -> None:
        """Give what came after ``final`` to another series of the same metric."""
        raise NotImplementedError


class SumSeries(Series):
    """A counter's or up-down counter's series."""

    __slots__ = ("others", "value")

    def __init__(self, home: Instrument, base: Pairs, own: Pairs) -> None:
        self.value: int | float = 0
        self.others: dict[int, list[int | float]] | None = None
        super().__init__(home, base, own)

    def add(self, amount: float) -> None:
        """Add an amount that was checked already, from any thread."""
        ident = get_ident()
        if self.maker == ident:
            self.value += amount
        else:
            others = self.others
            if others is None:
                with _others_lock:  # two threads may want to give the first one at the same moment
                    others = self.others = {} if self.others is None else self.others
            try:
                others[ident][0] += amount
            except KeyError:
                others.setdefault(ident, [0])[0] += amount  # a signal handler may have made it
        if not self.owner:
            self.settle()

    def read(self) -> float:
        """The total so far: exact for integers, correctly rounded over threads for others."""
        others = self.others
        if others is None:
            return self.value
        parts = [self.value, *(cell[0] for cell in list(others.values()))]
        return sum(parts) if all(part.__class__ is int for part in parts) else _add_up(parts)

    def move_late(self, to: Series) -> None:
        """As said above."""
        now = self.read()
        late = now - self.final  # type: ignore[operator]  # a sum's, never a cell
        self.final = now
        if late and isinstance(to, SumSeries):
            to.add(late)


class GaugeSeries(Series):
    """A gauge's series: the last value wins, whichever thread it came from."""

    __slots__ = ("value",)

    def __init__(self, home: Instrument, base: Pairs, own: Pairs) -> None:
        self.value: float = math.nan
        super().__init__(home, base, own)

    def set(self, value: float) -> None:
        """Keep ``value`` as the current one."""
        self.value = value
        if not self.owner:
            self.settle()

    def read(self) -> float:
        """The last value."""
        return self.value

    def move_late(self, to: Series) -> None:
        """As said above."""
        now = self.value
        changed, self.final = now != self.final, now
        if changed and isinstance(to, GaugeSeries):
            to.set(now)


class HistogramSeries(Series):
    """A histogram's series."""

    __slots__ = ("bounds", "cell", "others")

    def __init__(self, home: Instrument, base: Pairs, own: Pairs, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.cell = Cell(len(bounds) + 1)
        self.others: dict[int, Cell] | None = None
        super().__init__(home, base, own)

    def record(self, value: float) -> None:
        """Add one value that was checked already, from any thread."""
        ident = get_ident()
        cell = self.cell if self.maker == ident else self._cell_of(ident)
        cell.buckets[bisect_left(self.bounds, value)] += 1
        cell.sum += value
        if value < cell.min:  # noqa: PLR1730 - a comparison is a third of the cost of a call of min()
            cell.min = value
        if value > cell.max:  # noqa: PLR1730
            cell.max = value
        if not self.owner:
            self.settle()

    def _cell_of(self, ident: int) -> Cell:
        others = self.others
        if others is None:
            with _others_lock:
                others = self.others = {} if self.others is None else self.others
        cell = others.get(ident)
        if cell is None:
            cell = others.setdefault(ident, Cell(len(self.bounds) + 1))
        return cell

    def read(self) -> Cell:
        """A copy with the shares of all threads added up."""
        merged = Cell(0)
        if self.others is None:
            cell = self.cell
            merged.buckets = cell.buckets[:]
            merged.sum, merged.min, merged.max = cell.sum, cell.min, cell.max
            return merged
        cells = [self.cell, *list(self.others.values())]
        merged.buckets = [sum(column) for column in zip(*(list(cell.buckets) for cell in cells), strict=True)]
        merged.sum = _add_up([cell.sum for cell in cells])
        merged.min = min(cell.min for cell in cells)
        merged.max = max(cell.max for cell in cells)
        return merged

    def move_late(self, to: Series) -> None:
        """As said above."""
        now, before = self.read(), self.final
        self.final = now
        if isinstance(before, Cell) and now.buckets != before.buckets and isinstance(to, HistogramSeries):
            to._cell_of(get_ident()).add(now.since(before))
            if not to.owner:
                to.settle()
