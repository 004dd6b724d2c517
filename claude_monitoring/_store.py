"""The store: cells that recording adds to, without a lock, and that the exporter thread reads.

Each series has one cell for the thread that made it and one for each other thread that ever wrote to it. Only the
owner writes a cell, so no increment is lost under threads, with or without the interpreter's global lock; a signal
handler or ``__del__`` runs in the owner's thread, between byte codes, and never inside the read-add-store of a cell.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from threading import get_ident

from claude_monitoring._catalog import MetricSpec
from claude_monitoring._guard import Pairs, identity

__all__ = [
    "MAX_AMOUNT",
    "NUMBERS",
    "GaugeSeries",
    "HistogramSeries",
    "Instrument",
    "Series",
    "Store",
    "SumSeries",
    "renew_lock",
]

NUMBERS = frozenset((int, float))
"""The exact classes that the fast path takes; ``bool`` and subclasses go the long way."""

MAX_AMOUNT = 2**63 - 1
"""The largest amount on the fast path; an OTLP integer has 64 bits."""

_OVERFLOW: Pairs = (("otel.metric.overflow", True),)
_RETIRED = 0  # no thread has this ident, so a retired series is never on the fast path


_others_lock = threading.Lock()


def renew_lock() -> None:
    """In a forked child: another thread of the parent may have held it."""
    global _others_lock  # noqa: PLW0603
    _others_lock = threading.Lock()


class Series:
    """What all series share: their attributes, the time of their first measurement, and the owner's thread."""

    __slots__ = ("base", "own", "owner", "start_unix_nano")

    def __init__(self, base: Pairs, own: Pairs) -> None:
        self.base = base
        self.own = own
        self.owner = get_ident()
        self.start_unix_nano = time.time_ns()

    @property
    def attributes(self) -> dict[str, str | bool | int | float]:
        """The attributes as they are exported; a label of the caller's own replaces the monitor's."""
        return {**dict(self.base), **dict(self.own)}

    def retire(self) -> None:
        """Send writers back to the look-up; what was recorded stays."""
        self.owner = _RETIRED


class SumSeries(Series):
    """A counter's or up-down counter's series."""

    __slots__ = ("others", "value")

    def __init__(self, base: Pairs, own: Pairs) -> None:
        self.value: int | float = 0
        self.others: dict[int, list[int | float]] | None = None
        super().__init__(base, own)

    def add(self, amount: float) -> None:
        """Add an amount that was checked already, from any thread."""
        ident = get_ident()
        if self.owner == ident:
            self.value += amount
            return
        others = self.others
        if others is None:
            with _others_lock:  # two threads may want to give the first one at the same moment
                others = self.others = {} if self.others is None else self.others
        try:
            others[ident][0] += amount
        except KeyError:
            others[ident] = [amount]

    def read(self) -> float:
        """The total so far: exact for integers, correctly rounded over threads for others."""
        others = self.others
        if others is None:
            return self.value
        parts = [self.value, *(cell[0] for cell in list(others.values()))]
        return sum(parts) if all(part.__class__ is int for part in parts) else math.fsum(parts)


class GaugeSeries(Series):
    """A gauge's series: the last value wins, whichever thread it came from."""

    __slots__ = ("value",)

    def __init__(self, base: Pairs, own: Pairs) -> None:
        self.value: float = math.nan
        super().__init__(base, own)

    def set(self, value: float) -> None:
        """Keep ``value`` as the current one."""
        self.value = value

    def read(self) -> float:
        """The last value."""
        return self.value


class Cell:
    """One thread's share of a histogram. The count is the sum of the buckets, so the two can never disagree."""

    __slots__ = ("buckets", "max", "min", "sum")

    def __init__(self, size: int) -> None:
        self.buckets = [0] * size
        self.sum: float = 0
        self.min: float = math.inf
        self.max: float = -math.inf

    def record(self, index: int, value: float) -> None:
        """Add one value to the bucket at ``index``."""
        self.buckets[index] += 1
        self.sum += value
        if value < self.min:  # noqa: PLR1730 - a comparison is a third of the cost of a call of min()
            self.min = value
        if value > self.max:  # noqa: PLR1730
            self.max = value


class HistogramSeries(Series):
    """A histogram's series."""

    __slots__ = ("bounds", "cell", "others")

    def __init__(self, base: Pairs, own: Pairs, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.cell = Cell(len(bounds) + 1)
        self.others: dict[int, Cell] | None = None
        super().__init__(base, own)

    def record(self, value: float) -> None:
        """Add one value that was checked already, from any thread."""
        ident = get_ident()
        cell = self.cell if self.owner == ident else self._cell_of(ident)
        cell.record(bisect_left(self.bounds, value), value)

    def _cell_of(self, ident: int) -> Cell:
        others = self.others
        if others is None:
            with _others_lock:
                others = self.others = {} if self.others is None else self.others
        cell = others.get(ident)
        if cell is None:
            cell = others[ident] = Cell(len(self.bounds) + 1)
        return cell

    def read(self) -> Cell:
        """A copy with the shares of all threads added up."""
        merged = Cell(len(self.bounds) + 1)
        cells = [self.cell, *(list(self.others.values()) if self.others else ())]
        merged.buckets = [sum(column) for column in zip(*(list(cell.buckets) for cell in cells), strict=True)]
        merged.sum = math.fsum(cell.sum for cell in cells)
        merged.min = min(cell.min for cell in cells)
        merged.max = max(cell.max for cell in cells)
        return merged


_MONITORS_KEYS = frozenset({"agent", "project", "sprint"})


def _split(base: Pairs, own: Pairs) -> tuple[Pairs, Pairs]:
    """The same attributes in the one way to split them, whoever gave them: a label may repeat or replace a monitor's.

    Two series with equal attributes would meet in Prometheus.
    """
    held = dict(base)
    moved = [pair for pair in own if pair[0] in held or pair[0] in _MONITORS_KEYS]
    if not moved:
        return base, own
    held.update(moved)
    return tuple(sorted(held.items())), tuple(pair for pair in own if pair not in moved)


class Instrument:
    """One metric of a store with its series, bounded in number."""

    __slots__ = ("_limit", "_lock", "_overflow", "by_identity", "overflowed", "spec")

    def __init__(self, spec: MetricSpec, limit: int, lock: threading.RLock) -> None:
        self.spec = spec
        self.by_identity: dict[object, Series] = {}
        self.overflowed = 0
        self._limit = limit
        self._lock = lock
        self._overflow: Series | None = None

    def _new(self, base: Pairs, own: Pairs) -> Series:
        if self.spec.kind == "gauge":
            return GaugeSeries(base, own)
        if self.spec.kind == "histogram":
            return HistogramSeries(base, own, self.spec.bounds)
        return SumSeries(base, own)

    def series(self, base: Pairs, own: Pairs) -> Series:
        """The series with these attributes; past the limit, the one overflow series that all others share.

        The overflow series carries the attribute that the OpenTelemetry specification gives it
        (metrics/sdk.md, "Overflow attribute").
        """
        base, own = _split(base, own)
        key = (identity(base), identity(own))
        found = self.by_identity.get(key)
        if found is not None:
            return found
        with self._lock:
            found = self.by_identity.get(key)
            if found is None:
                if len(self.by_identity) >= self._limit:
                    if self._overflow is None:
                        self._overflow = self._new((), _OVERFLOW)
                    return self._overflow
                found = self.by_identity[key] = self._new(base, own)
            return found

    def is_overflow(self, series: Series) -> bool:
        """Whether ``series`` is the one that took in what passed the limit."""
        return series is self._overflow

    def all_series(self) -> list[Series]:
        """All series in the order of their making, the overflow series last."""
        found = list(self.by_identity.values())
        if self._overflow is not None:
            found.append(self._overflow)
        return found


class Store:
    """All instruments of one pipeline."""

    def __init__(self, max_series: int) -> None:
        self._max_series = max_series
        self._lock = threading.RLock()  # re-entrant: a signal handler may record a new series meanwhile
        self._instruments: dict[str, Instrument] = {}
        self._on_new: Callable[[Instrument], None] | None = None

    def on_new_instrument(self, callback: Callable[[Instrument], None]) -> None:
        """Call ``callback`` with each instrument that is made from now on."""
        self._on_new = callback

    def instrument(self, spec: MetricSpec) -> Instrument:
        """The instrument of ``spec``; the first spec of a name stays."""
        found = self._instruments.get(spec.name)
        if found is not None:
            return found
        with self._lock:
            found = self._instruments.get(spec.name)
            if found is None:
                found = self._instruments[spec.name] = Instrument(spec, self._max_series, self._lock)
                if self._on_new is not None:
                    self._on_new(found)
        return found

    def instruments(self) -> list[Instrument]:
        """All instruments that were ever used."""
        return list(self._instruments.values())

    def series_count(self) -> int:
        """How many series are kept."""
        return sum(len(instrument.all_series()) for instrument in self.instruments())

    def retire_all(self) -> None:
        """Send every writer back to the look-up, as after a fork or a close."""
        for instrument in self.instruments():
            for series in instrument.all_series():
                series.retire()
