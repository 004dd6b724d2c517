"""The life of a series: when what it stands for ended, it goes once its last value was delivered.

Nothing is lost on the way. First the series' writers are sent back to the look-up, so that a use of it is noticed and
keeps it. Then every far side has to confirm a value that is still the value when the series goes. What a thread writes
after that, because it was held up for so long, is moved to a new series (``Instrument.settle``).
"""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from claude_monitoring._pauses import CHUNK, pause
from claude_monitoring._series import Cell, Reading, Series
from claude_monitoring.types import AttributeValue

if TYPE_CHECKING:
    from claude_monitoring._store import Store

__all__ = ["FarSide", "Lives"]

Pair = tuple[str, AttributeValue]

_SWEEPS_WHEN_FULL_S = 1.0
_MOST_UNSWEPT = 1_000
_MOST_PAST = 10_000


def _same(a: Reading | None, b: Reading) -> bool:
    if isinstance(a, Cell) and isinstance(b, Cell):
        return a.buckets == b.buckets and a.sum == b.sum
    return a == b or (a != a and b != b)  # noqa: PLR0124 - a gauge may hold NaN, which is not equal to itself


class _Ending:
    """A series on its way out, and who has confirmed which value."""

    __slots__ = ("confirmed", "since", "value")

    def __init__(self, now: float) -> None:
        self.since = now
        self.value: Reading | None = None
        self.confirmed: Counter[FarSide] = Counter()


class FarSide:
    """One reader of the store, such as a collector, who has to have a series' last value before it is let go.

    Args:
        lives: Of the store that it reads.
        times: How often it has to get a value.
        patience_s: Seconds after which it is waited for no more.
    """

    def __init__(self, lives: Lives, times: int = 1, patience_s: float = math.inf) -> None:
        self._lives = lives
        self.times = times
        self.patience_s = patience_s

    @property
    def is_waited_for(self) -> bool:
        """Whether any series is on its way out, so that it matters what is delivered."""
        return self._lives.is_any_ending

    def delivered(self, values: Mapping[Series, Reading]) -> None:
        """It has these values."""
        self._lives.confirm(self, values)

    def leave(self) -> None:
        """It reads no more."""
        self._lives.far_sides.remove(self)


class Lives:
    """What ended, and the series that go because of it.

    Args:
        store: Whose series.
        ttl_s: Seconds after which a series that nobody writes to ends.
        clock: Seconds that only grow.
    """

    def __init__(self, store: Store, ttl_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.far_sides: list[FarSide] = []
        self._store = store
        self._ttl_s = ttl_s
        self._clock = clock
        self._under_way: Counter[Pair] = Counter()
        self._ended: set[Pair] = set()
        self._past: OrderedDict[Pair, None] = OrderedDict()  # what ended lately, for a use that comes late
        self._asked: list[dict[str, AttributeValue]] = []
        self._ending: dict[Series, _Ending] = {}
        self._idle: dict[Series, float] = {}
        self._swept = -math.inf
        self._aged = -math.inf

    @property
    def is_any_ending(self) -> bool:
        """Whether any series is on its way out."""
        return bool(self._ending)

    def add_far_side(self, times: int = 1, patience_s: float = math.inf) -> FarSide:
        """Wait for one more reader from now on."""
        far_side = FarSide(self, times, patience_s)
        self.far_sides.append(far_side)
        return far_side

    def begin(self, pair: Pair) -> None:
        """One more use of an attribute with an end: a session, an agent."""
        with self._store.lock:
            self._under_way[pair] += 1
            self._ended.discard(pair)
            self._past.pop(pair, None)

    def end(self, pair: Pair) -> None:
        """One use less; with the last one, all series with that attribute end."""
        with self._store.lock:
            self._under_way[pair] -= 1
            if self._under_way[pair] <= 0:
                del self._under_way[pair]
                self._ended.add(pair)
                self._past[pair] = None
                if len(self._past) > _MOST_PAST:
                    self._past.popitem(last=False)
                if len(self._ended) >= _MOST_UNSWEPT:  # nobody reads the store
                    self.sweep(pauses=False)

    def ask(self, labels: Mapping[str, AttributeValue]) -> None:
        """End all series that have these labels."""
        with self._store.lock:
            self._asked.append(dict(labels))

    def use_again(self, series: Series) -> None:
        """Somebody looked it up: it stays."""
        self._ending.pop(series, None)
        self._idle.pop(series, None)
        series.take_up()
        self.used(series)

    def used(self, series: Series) -> None:
        """It is made or looked up: if what it stands for ended before, it ends again."""
        self._ended.update(pair for pair in series.base if pair in self._past)

    def written_late(self, series: Series) -> None:
        """Somebody who holds it wrote to it: it is not idle, but it may have ended."""
        if self._idle.pop(series, None) is not None:
            series.take_up()

    def sweep(self, *, pauses: bool = True) -> None:
        """Find the series that ended, and let those go that everybody has; to be called before the store is read.

        Args:
            pauses: Whether to let others run in between; not where one of the host's threads waits with the lock.
        """
        self._swept = self._clock()
        self._find_ended(pauses=pauses)
        self._age(pauses=pauses)
        self._let_go(pauses=pauses)

    def make_room(self) -> bool:
        """Let some series go because a bound is reached; whether any went. Called by the host's threads."""
        if self._clock() - self._swept < _SWEEPS_WHEN_FULL_S:
            return False
        before = self._store.count
        self._let_go(pauses=False, enough=CHUNK)
        if self._store.count == before:
            self.sweep(pauses=False)
        return self._store.count < before

    def confirm(self, far_side: FarSide, values: Mapping[Series, Reading]) -> None:
        """``far_side`` has these values."""
        for some in self._chunks(self._ending):
            for series in some:
                ending, value = self._ending.get(series), values.get(series)
                if ending is None or value is None:
                    continue
                if not _same(ending.value, value):
                    ending.value = value
                    ending.confirmed.clear()
                ending.confirmed[far_side] += 1
        self._let_go()

    def _find_ended(self, *, pauses: bool) -> None:
        with self._store.lock:
            ended, self._ended = self._ended, set()
            asked, self._asked = self._asked, []
        if not ended and not asked:
            return
        bases: dict[int, bool] = {}  # many series share one base
        found = []
        for series in self._store.all_series():  # without the lock, which new series wait for
            of_ended = bases.get(id(series.base))
            if of_ended is None:
                of_ended = bases[id(series.base)] = not ended.isdisjoint(series.base)
            if of_ended or any(labels.items() <= series.attributes.items() for labels in asked):
                found.append(series)
        for some in self._chunks(found, pauses=pauses):
            for series in some:
                self._end(series)

    def _age(self, *, pauses: bool) -> None:
        """Send the writers of every series back now and then: one that none of them takes up again is idle."""
        now = self._clock()
        if self._ttl_s is None:
            return
        with self._store.lock:
            if now - self._aged < self._ttl_s / 4:
                return
            self._aged = now
        for some in self._chunks(self._store.all_series(), pauses=pauses):
            for series in some:
                if series in self._ending or series.final is not None or series.home.spec.is_about_ourselves:
                    continue
                since = self._idle.setdefault(series, now)
                series.send_back()
                if now - since >= self._ttl_s:
                    del self._idle[series]
                    self._end(series)

    def _chunks(self, series: Iterable[Series], *, pauses: bool = True) -> Iterator[Sequence[Series]]:
        """``series`` in parts, each under the store's lock: who wants a new one waits for one part, not for all."""
        found = list(series)
        for first in range(0, len(found), CHUNK):
            with self._store.lock:
                yield found[first : first + CHUNK]
            if pauses:
                pause()

    def _end(self, series: Series) -> None:
        if series.final is None and not series.home.is_overflow(series):
            series.send_back()
            self._ending.setdefault(series, _Ending(self._clock()))

    def _let_go(self, *, pauses: bool = True, enough: float = math.inf) -> None:
        now, before = self._clock(), self._store.count
        for some in self._chunks(self._ending, pauses=pauses):
            if before - self._store.count >= enough:
                return
            for series in some:
                ending = self._ending.get(series)
                if ending is None or not self._everybody_has(ending, now):
                    continue
                value = series.read()
                is_up_down = series.home.spec.kind == "up_down_counter"
                if (is_up_down and value != 0) or not (ending.value is None or _same(ending.value, _exported(value))):
                    continue
                series.final = value
                del self._ending[series]
                self._idle.pop(series, None)
                series.home.let_go(series)

    def _everybody_has(self, ending: _Ending, now: float) -> bool:
        waited_s = now - ending.since
        return all(
            ending.confirmed[far_side] >= far_side.times or waited_s >= far_side.patience_s
            for far_side in self.far_sides
        )


def _exported(value: Reading) -> Reading:
    return value if isinstance(value, Cell) else float(value)
