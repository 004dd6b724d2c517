"""Laws of a series' end: retiring loses nothing and doubles nothing, cumulative or delta, whatever fails meanwhile."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_monitoring._bounds import Bounds
from claude_monitoring._catalog import MetricSpec
from claude_monitoring._health import HealthCounters
from claude_monitoring._metrics_lane import MetricsLane
from claude_monitoring._series import GaugeSeries, HistogramSeries, SumSeries
from claude_monitoring._store import Store
from claude_monitoring._targets import Target
from claude_monitoring.types import AttributeValue, ExportResult, Temporality

pytestmark = pytest.mark.any_python

COUNTER = MetricSpec("claude.test", "counter", "", "")
UP_DOWN = MetricSpec("claude.test.active", "up_down_counter", "", "")
HISTOGRAM = MetricSpec("claude.test_h", "histogram", "s", "")
GAUGE = MetricSpec("claude.test_g", "gauge", "", "")

Labels = frozenset[tuple[str, Any]]


class FarSide:
    """A receiver: it adds up what it gets by the OpenTelemetry data model, and may refuse."""

    name = "test"

    def __init__(self, temporality: Temporality) -> None:
        self.temporality = temporality
        self.refuses = False
        self.steps_down: list[str] = []
        self.last: dict[tuple[str, Labels, int], tuple[float, int]] = {}
        self.added: dict[tuple[str, Labels], tuple[float, int]] = {}

    def export(self, batch: Any, resource: Mapping[str, AttributeValue], timeout_s: float) -> ExportResult:
        if self.refuses:
            return ExportResult(ok=False, retryable=True, error="not now")
        for scope in batch.resource_metrics[0].scope_metrics:
            for metric in scope.metrics:
                is_delta = getattr(metric.data, "aggregation_temporality", 2) == 1
                grows = getattr(metric.data, "is_monotonic", hasattr(metric.data, "aggregation_temporality"))
                for point in metric.data.data_points:
                    self._take(metric.name, point, is_delta=is_delta, grows=grows)
        return ExportResult(ok=True)

    def _take(self, name: str, point: Any, *, is_delta: bool, grows: bool) -> None:
        labels = frozenset(point.attributes.items())
        amount, count = (point.sum, point.count) if hasattr(point, "sum") else (point.value, 0)
        if is_delta:
            before = self.added.get((name, labels), (0, 0))
            self.added[name, labels] = (before[0] + amount, before[1] + count)
        else:
            run = (name, labels, point.start_time_unix_nano)
            known = self.last.get(run, (0, 0))
            if grows and (amount < known[0] or count < known[1]):
                self.steps_down.append(f"{name}{dict(labels)}: {known[0]} to {amount}")
            self.last[run] = (amount, count)

    def total(self, name: str, **labels: object) -> tuple[float, int]:
        wanted = labels.items()
        parts = [
            value
            for key, value in [*self.last.items(), *self.added.items()]
            if key[0] == name and wanted <= dict(key[1]).items()
        ]
        return sum(part[0] for part in parts), sum(part[1] for part in parts)

    def close(self) -> None:
        """Nothing to free."""


def lane_to(store: Store, far_side: FarSide) -> MetricsLane:
    lane = MetricsLane(store, "test", lambda: far_side, 60.0, {}, HealthCounters(), Target("test"))
    lane._failing = True  # the lines about failing are another test's
    return lane


def base_of(session: int) -> tuple[tuple[str, AttributeValue], ...]:
    return (("agent", "a"), ("session.id", f"s{session}"))


Step = tuple[Literal["record", "late", "end", "begin", "retire", "export", "lost"], int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["record", "record", "late", "end", "begin", "retire", "export", "lost"]),
        st.integers(0, 3),
        st.integers(1, 9),
    ),
    max_size=60,
)


class Program:
    """A program with sessions, and two far sides of which the first now and then refuses."""

    def __init__(self, temporality: Temporality, max_series: int) -> None:
        self.store = Store(Bounds(max_series=max_series))
        self.store.lives._clock = iter(range(10**9)).__next__  # so that a full store may sweep at any time
        self.far_sides = FarSide(temporality), FarSide("cumulative")
        self.lanes = [lane_to(self.store, far_side) for far_side in self.far_sides]
        self.held: dict[int, SumSeries] = {}
        self.truth = 0
        self.waits: list[int] = []

    def record(self, session: int, amount: int) -> None:
        series = self.held[session] = self._series_of(COUNTER, session)
        series.add(amount)
        self._series_of(HISTOGRAM, session).record(amount)
        self.truth += amount
        self.waits.append(amount)

    def late(self, session: int, amount: int) -> None:
        """By a thread that looked the series up long ago."""
        if session in self.held:
            self.held[session].add(amount)
            self.truth += amount

    def begin(self, session: int, _: int) -> None:
        self.store.lives.begin(("session.id", f"s{session}"))

    def end(self, session: int, _: int) -> None:
        self.store.lives.end(("session.id", f"s{session}"))

    def retire(self, session: int, _: int) -> None:
        self.store.lives.ask({"session.id": f"s{session}"})

    def export(self, *_: int) -> None:
        for lane in self.lanes:
            lane.attempt(1)

    def lost(self, *_: int) -> None:
        self.far_sides[0].refuses = True
        self.export()
        self.far_sides[0].refuses = False

    def _series_of(self, spec: MetricSpec, session: int) -> Any:
        return self.store.instrument(spec).series(base_of(session), ())


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@given(steps=STEPS, max_series=st.sampled_from([3, 6, 2_000]))
def test_whatever_ends_and_fails_in_between_every_far_side_has_the_exact_sums(
    temporality: Temporality, steps: list[Step], max_series: int
) -> None:
    program = Program(temporality, max_series)
    for step, session, amount in [*steps, ("export", 0, 0), ("export", 0, 0)]:
        getattr(program, step)(session, amount)
        assert len(program.store.instrument(COUNTER).all_series()) <= max_series
    for far_side in program.far_sides:
        assert far_side.total(COUNTER.name)[0] == program.truth
        assert far_side.total(HISTOGRAM.name) == (sum(program.waits), len(program.waits))
        assert far_side.steps_down == []


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_what_ended_goes_after_everybody_has_it_and_its_places_are_free(temporality: Temporality) -> None:
    store = Store(Bounds(max_series=50, max_label_values=10))
    far_side = FarSide(temporality)
    lane, slow = lane_to(store, far_side), lane_to(store, FarSide("cumulative"))
    for session in range(1_000):
        pair = ("session.id", f"s{session}")
        store.lives.begin(pair)
        for spec in (COUNTER, HISTOGRAM, UP_DOWN, GAUGE):
            series = store.instrument(spec).series(base_of(session), ())
            if isinstance(series, GaugeSeries):
                series.set(session)
            elif isinstance(series, HistogramSeries):
                series.record(1)
            elif isinstance(series, SumSeries):
                series.add(1)
        active = store.instrument(UP_DOWN).series(base_of(session), ())
        assert isinstance(active, SumSeries)
        active.add(-1)
        store.lives.end(pair)
        lane.attempt(1)
        assert store.series_count() == 4  # one far side does not have it yet
        slow.attempt(1)
        assert store.series_count() == 0
    assert far_side.total(COUNTER.name) == (1_000, 0)
    assert far_side.total(HISTOGRAM.name) == (1_000, 1_000)
    assert all(dict(key[1]).get("session.id") != "__other__" for key in [*far_side.last, *far_side.added])
    assert all(not one.guard.labels for one in store.instruments() if not one.spec.is_about_ourselves)


def test_an_up_down_counter_stays_until_it_is_back_at_zero() -> None:
    store = Store()
    far_side = FarSide("cumulative")
    lane = lane_to(store, far_side)
    series = store.instrument(UP_DOWN).series(base_of(1), ())
    assert isinstance(series, SumSeries)
    series.add(1)
    store.lives.end(("session.id", "s1"))
    for _ in range(3):
        lane.attempt(1)
    assert store.instrument(UP_DOWN).all_series() == [series]
    series.add(-1)
    lane.attempt(1)
    assert store.instrument(UP_DOWN).all_series() == []
    assert far_side.total(UP_DOWN.name)[0] == 0


def test_what_a_held_up_thread_writes_after_the_end_is_not_lost() -> None:
    store = Store()
    far_side = FarSide("delta")
    lane = lane_to(store, far_side)
    instruments = [store.instrument(spec) for spec in (COUNTER, HISTOGRAM, GAUGE)]
    late: list[Any] = [instrument.series(base_of(1), ()) for instrument in instruments]
    late[0].add(1)
    late[1].record(1)
    late[2].set(1)
    store.lives.end(("session.id", "s1"))
    lane.attempt(1)
    assert store.series_count() == 0
    thread = threading.Thread(target=lambda: (late[0].add(5), late[1].record(5), late[2].set(5)))
    thread.start()
    thread.join()
    late[0].add(2)
    lane.attempt(1)
    assert far_side.total(COUNTER.name)[0] == 8
    assert far_side.total(HISTOGRAM.name) == (6, 2)
    assert {value for (name, *_), (value, _) in far_side.last.items() if name == GAUGE.name} == {5}


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_threads_that_record_while_their_series_are_let_go_lose_nothing(
    temporality: Temporality,
) -> None:
    interval_s = sys.getswitchinterval()
    store = Store(Bounds(max_series=30, max_label_values=20))
    far_side = FarSide(temporality)
    lane = lane_to(store, far_side)
    threads, rounds, sessions = 4, 400, 25
    start = threading.Barrier(threads + 1)

    def work() -> None:
        start.wait()
        for number in range(rounds):
            pair = ("session.id", f"s{number % sessions}")
            store.lives.begin(pair)
            series = store.instrument(COUNTER).series(base_of(number % sessions), ())
            assert isinstance(series, SumSeries)
            for _ in range(3):
                series.add(1)
            store.lives.end(pair)
            series.add(1)  # it may be gone by now

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    try:
        sys.setswitchinterval(1e-5)  # so that threads are held up in the middle of everything
        while any(worker.is_alive() for worker in workers):
            lane.attempt(1)
    finally:
        sys.setswitchinterval(interval_s)
    for worker in workers:
        worker.join()
    for _ in range(2):
        lane.attempt(1)
    assert store.instrument(COUNTER).retired > 0  # it did happen meanwhile
    assert far_side.total(COUNTER.name)[0] == threads * rounds * 4


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram", "up_down_counter"])
def test_an_idle_series_is_let_go_and_one_in_use_never(kind: Any) -> None:
    now = 0.0
    store = Store(series_ttl_s=100)
    store.lives._clock = lambda: now
    far_side = FarSide("cumulative")
    lane = lane_to(store, far_side)
    instrument = store.instrument(MetricSpec("claude.ttl", kind, "", ""))
    used: Any = instrument.series((), (("who", "used"),))
    idle: Any = instrument.series((), (("who", "idle"),))
    for series in (used, idle):
        (series.add if kind in {"counter", "up_down_counter"} else series.set if kind == "gauge" else series.record)(0)
    for _ in range(40):
        now += 10
        lane.attempt(1)
        again: Any = instrument.series((), (("who", "used"),))
        assert again is used  # also where the value stays as it was
    assert instrument.all_series() == [used]
