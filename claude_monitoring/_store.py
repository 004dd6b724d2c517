"""The store: every metric with its series. Making a series takes a lock and asks the guard; recording does not.

The lock is re-entrant, since a signal handler may record in the middle of everything. So whatever is made once is put
in its place by ``setdefault``: who comes second takes what the handler made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count
from typing import Any

from claude_monitoring._bounds import Bounds
from claude_monitoring._catalog import CATALOG, MetricSpec
from claude_monitoring._guard import Guard
from claude_monitoring._labels import LabelRules, Pairs, identity
from claude_monitoring._lives import Lives
from claude_monitoring._pauses import CHUNK, pause
from claude_monitoring._sealed import warn_once
from claude_monitoring._series import GaugeSeries, HistogramSeries, Series, SumSeries

__all__ = ["MAX_AMOUNT", "NUMBERS", "Instrument", "Places", "Store"]

NUMBERS = frozenset((int, float))
"""The exact classes that the fast path takes; ``bool`` and subclasses go the long way."""

MAX_AMOUNT = 2**63 - 1
"""The largest amount on the fast path; an OTLP integer has 64 bits."""

_OVERFLOWED, _REFUSED = "overflowed", "refused"
_OVERFLOW: Pairs = (("otel.metric.overflow", True),)
_SHARED_PAIRS = 4_096
_MONITORS_KEYS = frozenset({"agent", "project", "sprint"})


@lru_cache(maxsize=_SHARED_PAIRS)
def _shared(key: str, value: str) -> tuple[str, str]:
    """One object for equal pairs of many series: the texts and the pair are most of what a series would take."""
    return key, value


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

    __slots__ = (
        "_beside",
        "_chunked",
        "_rules",
        "by_identity",
        "guard",
        "overflowed",
        "refused",
        "retired",
        "spec",
        "store",
    )

    def __init__(self, spec: MetricSpec, store: Store, allowed: Collection[str] | None) -> None:
        self.spec = spec
        self.store = store
        self.by_identity: dict[object, Series] = {}
        self.guard = Guard(spec, store.bounds)
        self.overflowed = 0
        self.refused = 0
        self.retired = 0
        self._rules = LabelRules(spec, store.bounds.private, allowed)
        self._beside: dict[str, Series] = {}
        self._chunked: tuple[tuple[int, int, int], list[list[Series]]] = (0, 0, 0), []

    @property
    def dropped_labels(self) -> Mapping[str, str]:
        """The label keys that were left out, and why."""
        return self._rules.dropped

    def labels(self, labels: Mapping[str, object] | None, *, strict: bool = False) -> Pairs:
        """A caller's labels as they are kept; see ``LabelRules.apply``."""
        return self._rules.apply(labels, strict=strict) if labels else ()

    def series(self, base: Pairs, own: Pairs, *, strict: bool = False) -> Series:
        """The series with these attributes, or the one that takes them in where a bound keeps them out.

        The overflow series carries the attribute that the OpenTelemetry specification gives it
        (metrics/sdk.md, "Overflow attribute").

        Raises:
            CardinalityError: With ``strict``, for a value that looks like one of a number without bound.
        """
        base, own = _split(base, own)
        found = self.by_identity.get((identity(base), identity(own)))
        if found is not None and found.owner:
            return found
        with self.store.lock:
            placed = self._kept(base, own) or self._place(base, own, strict=strict)
        self._say()
        return placed

    def _say(self) -> None:
        """Log what the guard has to say; without the lock, since the host's handlers may wait for other threads."""
        if not self.guard.notices:
            return
        with self.store.lock:
            notices, self.guard.notices = self.guard.notices, []
        for key, text in notices:
            warn_once(key, text)

    def _kept(self, base: Pairs, own: Pairs) -> Series | None:
        found = self.by_identity.get((identity(base), identity(own)))
        if found is not None and not found.owner:
            self.store.lives.use_again(found)
        return found

    def _place(self, base: Pairs, own: Pairs, *, strict: bool) -> Series:
        """What takes in attributes that no series has. They stay as they are, or with labels collapsed, or are lost."""
        self.guard.inspect(own, strict=strict)
        collapses = self.store.bounds.policy == "collapse"
        while True:
            placed = self.guard.collapse(base), self.guard.collapse(own)
            if placed != (base, own):
                if self.store.lives.make_room():
                    continue
                if not collapses:
                    return self._refuse()
                found = self._kept(*placed)
                if found is not None:
                    return found
            if not self._is_full(base + own):
                return self._add(*placed)
            if self.store.lives.make_room():
                continue
            if not collapses:
                return self._refuse()
            if not self.guard.close_next(base + own):
                return self._into_overflow()

    def _is_full(self, pairs: Pairs) -> bool:
        if self.store.is_full and not self.spec.is_about_ourselves:
            return True
        count = len(self.by_identity)
        if self.store.bounds.policy != "collapse":
            return count >= self.guard.max_series
        if count < self.guard.looks_at:
            return False
        return not self.guard.has_room(count, [one.base + one.own for one in list(self.by_identity.values())], pairs)

    def _add(self, base: Pairs, own: Pairs) -> Series:
        own = tuple([_shared(*pair) if pair[1].__class__ is str else pair for pair in own])
        key = identity(base), identity(own)
        made = self._new(base, own)
        found = self.by_identity.setdefault(key, made)
        if found is made:
            self.guard.admit(base)
            self.guard.admit(own)
            self.store.count += 1
            self.store.lives.used(found)
        return found

    def _new(self, base: Pairs, own: Pairs) -> Series:
        if self.spec.kind == "gauge":
            return GaugeSeries(self, base, own)
        if self.spec.kind == "histogram":
            return HistogramSeries(self, base, own, self.spec.bounds)
        return SumSeries(self, base, own)

    def _into_overflow(self) -> Series:
        if _OVERFLOWED not in self._beside:
            self._beside.setdefault(_OVERFLOWED, self._new((), _OVERFLOW))
            self._notice(
                "overflow",
                f"claude_monitoring: {self.spec.name} has reached its bound of {self.guard.max_series} series (or all "
                f"metrics together theirs of {self.store.bounds.max_total_series}) and no label is left to collapse; "
                "what is new goes to one series with otel.metric.overflow=true: sums stay right, labels are lost. "
                "monitor.cardinality_report() says what fills it",
            )
        return self._beside[_OVERFLOWED]

    def _refuse(self) -> Series:
        """The series that takes in what the policies ``drop`` and ``raise`` keep out; it is never exported."""
        if _REFUSED not in self._beside:
            self._beside.setdefault(_REFUSED, self._new((), ()))
            self._notice(
                "refused",
                f"claude_monitoring: {self.spec.name}: a bound is reached, and by the policy "
                f"{self.store.bounds.policy!r} what would need a new series is not recorded. "
                "monitor.cardinality_report() says which label it is",
            )
        self.refused += 1
        return self._beside[_REFUSED]

    def _notice(self, what: str, text: str) -> None:
        self.guard.notices.append(((what, self.spec.name), text))

    def is_overflow(self, series: Series) -> bool:
        """Whether ``series`` is the one that took in what passed every bound."""
        return series is self._beside.get(_OVERFLOWED)

    def is_refused(self, series: Series) -> bool:
        """Whether ``series`` stands for what is not recorded."""
        return series is self._beside.get(_REFUSED)

    def takes_anything(self, series: Series) -> bool:
        """Whether ``series`` says nothing about the labels for which it was given."""
        return self.is_overflow(series) or self.is_refused(series)

    def all_series(self) -> list[Series]:
        """All series in the order of their making, the overflow series last."""
        found = list(self.by_identity.values())
        if _OVERFLOWED in self._beside:
            found.append(self._beside[_OVERFLOWED])
        return found

    def count(self) -> int:
        """How many there are."""
        return len(self.by_identity) + (_OVERFLOWED in self._beside)

    def chunks(self) -> Sequence[Sequence[Series]]:
        """All series in the same order, in lists that are kept until there is another series or one less.

        New lists on each reading would be work for the garbage collector, which looks at every item of every new
        list, and stops all threads meanwhile.
        """
        now = len(self.by_identity), self.retired, len(self._beside)
        are_of, chunks = self._chunked
        if are_of != now:
            found = self.all_series()
            chunks = [found[first : first + CHUNK] for first in range(0, len(found), CHUNK)]
            self._chunked = now, chunks  # at once, since several threads read
        return chunks

    def let_go(self, series: Series) -> None:
        """Forget a series whose last value was delivered; under the store's lock, ``series.final`` is set."""
        self.by_identity.pop((identity(series.base), identity(series.own)), None)
        self.store.count -= 1
        self.retired += 1
        for pairs in (series.base, series.own):
            self.guard.release(pairs, len(self.by_identity))

    def settle(self, series: Series) -> None:
        """A writer found no owner after it wrote: what came after the series was let go moves to a new one."""
        if self.store.closed:
            return
        with self.store.lock:
            if series.final is None:
                self.store.lives.written_late(series)
                return
            place = series.base, series.own
            series.move_late(self._kept(*place) or self._place(*place, strict=False))
        self._say()


class Places:
    """The places that all stores of a process have together.

    Series are counted over all stores only where there may be too many: else each new series would take as long as
    there are stores, and a program with many the square of that.

    Args:
        stores: Gives the stores.
    """

    def __init__(self, stores: Callable[[], Collection[Store]]) -> None:
        self._stores = stores
        self._asked = count()
        self._counted = 0, 0  # when, in questions, and how many

    def are_taken(self, bound: int) -> bool:
        """Whether there are ``bound`` series; to be asked before each new one."""
        now = next(self._asked)
        then, found = self._counted
        if found + now - then < bound:  # each question was one more series at most
            return False
        found = sum(store.count for store in self._stores())
        self._counted = now, found
        return found >= bound


class Store:
    """All instruments of one pipeline.

    Args:
        bounds: How much is kept.
        series_ttl_s: Seconds after which a series that nobody writes to is let go; ``None`` keeps it.
        shared: The places of all stores of this process, this one among them; ``None`` if it is alone.
    """

    def __init__(
        self, bounds: Bounds | None = None, series_ttl_s: float | None = None, shared: Places | None = None
    ) -> None:
        self.bounds = bounds or Bounds()
        self._shared = shared or Places(lambda: (self,))
        self.lock = threading.RLock()
        self.lives = Lives(self, series_ttl_s)
        self.count = 0
        """How many series there are, overflow series left out."""
        self.closed = False
        self.report_more: Callable[[], None] = _nothing
        """Reports what others than the guard have to say about themselves."""
        self.companions: dict[str, Any] = {}
        """What others keep for as long as there is this store."""
        self._places = self.bounds.max_total_series - max(1, self.bounds.max_total_series // 10)
        self._instruments: dict[str, Instrument] = {}
        self._on_new: Callable[[Instrument], None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether the metrics of this process together have what they may.

        A tenth is left for the overflow series, one a metric, and for what the guard tells about itself.
        """
        return self._shared.are_taken(self._places)

    def on_new_instrument(self, callback: Callable[[Instrument], None]) -> None:
        """Call ``callback`` with each instrument that is made from now on."""
        self._on_new = callback

    def instrument(self, spec: MetricSpec, allowed: Collection[str] | None = None) -> Instrument:
        """The instrument of ``spec``, which takes only labels in ``allowed``; the first spec of a name stays."""
        found = self._instruments.get(spec.name)
        if found is not None:
            return found
        with self.lock:
            made = Instrument(spec, self, allowed)
            found = self._instruments.setdefault(spec.name, made)
            if found is made and self._on_new is not None:
                self._on_new(found)
        return found

    def instruments(self) -> list[Instrument]:
        """All instruments that were ever used."""
        return list(self._instruments.values())

    def all_series(self) -> Iterator[Series]:
        """Every series of every instrument."""
        return (series for instrument in self.instruments() for series in instrument.all_series())

    def series_count(self) -> int:
        """How many series of the host's are kept."""
        return sum(one.count() for one in self.instruments() if not one.spec.is_about_ourselves)

    def report_itself(self) -> None:
        """Bring the metrics about ourselves up to date."""
        for instrument in self.instruments():
            if instrument.spec.is_about_ourselves:
                continue
            metric = instrument.spec.name
            self.report("series.kept", instrument.count(), metric=metric)
            self.report("series.retired", instrument.retired, metric=metric)
            self.report("series.refused", instrument.refused, metric=metric)
            for key, label in list(instrument.guard.labels.items()):
                self.report("series.collapsed", label.folded.estimate(), metric=metric, label=key)
            pause()
        self.report_more()

    def report(self, what: str, value: int, **labels: str) -> None:
        """Set a metric about ourselves, ``claude.monitoring.<what>``."""
        instrument = self.instrument(CATALOG[f"claude.monitoring.{what}"])
        pairs = tuple(sorted(labels.items()))
        if not value and ((), pairs) not in instrument.by_identity:
            return  # nothing to say yet
        series = instrument.series((), pairs)
        if isinstance(series, SumSeries | GaugeSeries):
            series.value = value

    def abandon(self) -> None:
        """In a forked child: as ``close``, without waiting for a thread of the parent that held the lock."""
        self.lock = threading.RLock()
        self.close()

    def close(self) -> None:
        """Send every writer back to the look-up; nothing is let go or moved any more."""
        self.closed = True
        for series in self.all_series():
            series.send_back()


def _nothing() -> None:
    """Nobody else reports."""
