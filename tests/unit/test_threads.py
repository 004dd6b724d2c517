"""What several threads do at the same time is exact, with the interpreter's global lock and without it.

Threads change places as often as Python lets them. Sums over threads are in ``tests/properties/test_store.py`` and
``tests/integration/test_exact_totals.py``; here is what lies beside the cells.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from claude_monitoring import AgentMonitor, _series
from claude_monitoring._catalog import MetricSpec
from claude_monitoring._instruments import registry_of
from claude_monitoring._labels import LabelRules
from claude_monitoring._pipeline import Pipeline
from claude_monitoring._series import Cell, HistogramSeries
from claude_monitoring._settings import Settings
from claude_monitoring._store import Store
from claude_monitoring.exporters import CustomExporter, Metric
from claude_monitoring.types import EventRecord

THREADS = 6


@pytest.fixture(autouse=True)
def threads_change_places_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*work: Callable[[], object]) -> None:
    """Run all of ``work`` at the same time, each in a copy of this context; what one raises is raised here."""
    barrier = threading.Barrier(len(work))
    raised: list[BaseException] = []

    def run(one: Callable[[], object]) -> None:
        barrier.wait()
        try:
            one()
        except BaseException as exc:  # noqa: BLE001 - raised below
            raised.append(exc)

    threads = [threading.Thread(target=contextvars.copy_context().run, args=(run, one)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


class Keep(CustomExporter):
    """Keeps the latest of each series, and every event."""

    def __init__(self) -> None:
        self.latest: dict[tuple[str, str], Metric] = {}
        self.events: list[EventRecord] = []

    def export_metric(self, metric: Metric) -> None:
        self.latest[metric.name, repr(sorted(metric.attributes.items()))] = metric

    def export_event(self, event: EventRecord) -> None:
        self.events.append(event)

    def total(self, name: str) -> float:
        return sum(metric.value for metric in self.latest.values() if metric.name == name)


def test_whatever_threads_record_while_it_is_exported_adds_up() -> None:
    keep, rounds = Keep(), 400
    with AgentMonitor("agent", enabled=True, exporters=[keep], interval_s=3600) as monitor:
        shared = monitor.counter("shared")
        tracked = monitor.track_task(task_type="step")(lambda: None)

        def work(number: int) -> None:
            for turn in range(rounds):
                monitor.increment("known", 1, {"kind": "a"})
                monitor.increment("new", 2, {"turn": f"{number}-{turn % 50}"})
                shared.add(0.5)
                monitor.histogram("size", turn, {"kind": "a"})
                tracked()
                monitor.event("turn")

        def export() -> None:
            for _ in range(10):
                assert monitor.flush(20)

        together(*[partial(work, number) for number in range(THREADS)], export)
        assert monitor.flush(20)
        assert monitor.health().ok
    calls = THREADS * rounds
    expected = {
        "claude.known": calls,
        "claude.new": 2 * calls,
        "claude.shared": calls / 2,
        "claude.size": THREADS * sum(range(rounds)),
        "claude.tasks": calls,
        "claude.tasks.active": 0,
    }
    assert {name: keep.total(name) for name in expected} == expected
    of_histograms = [
        metric for metric in keep.latest.values() if metric.name in {"claude.size", "claude.task.duration"}
    ]
    assert {metric.count for metric in of_histograms} == {calls}
    assert sorted(event.attributes["event.sequence"] for event in keep.events) == list(range(calls))


def test_what_is_recorded_while_a_threads_cell_is_made_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a signal handler, or by ``__del__`` when making the cell makes the garbage collector run."""
    store = Store()
    series = store.instrument(MetricSpec("claude.own", "histogram", "", "", bounds=(1.0,))).series((), ())
    assert isinstance(series, HistogramSeries)
    interruptions = [2.0]

    class InterruptedCell(Cell):
        __slots__ = ()

        def __init__(self, size: int) -> None:
            super().__init__(size)
            while interruptions:
                series.record(interruptions.pop())

    monkeypatch.setattr(_series, "Cell", InterruptedCell)
    together(partial(series.record, 5.0))
    assert series.read().sum == 7


def test_threads_of_one_task_add_to_its_totals_without_losing_any() -> None:
    with AgentMonitor("agent", enabled=True) as monitor, monitor.track_task("task") as task:

        def work() -> None:
            for _ in range(2_000):
                monitor.record_tool_call("Bash")

        together(*[work] * THREADS)
        assert task.tool_calls == THREADS * 2_000


def test_a_monitor_can_be_closed_while_other_threads_make_handles() -> None:
    for _ in range(100):
        monitor = AgentMonitor("agent", enabled=True)

        def work(monitor: AgentMonitor = monitor) -> None:
            kept = [monitor.counter("requests") for _ in range(300)]
            assert len(kept) == 300

        together(monitor.close, work, work, work)


def test_every_measurement_that_overflows_is_counted() -> None:
    monitor = AgentMonitor("agent", enabled=True, max_series=2)
    monitor.increment("requests", 1, {"user": "a"})

    def work() -> None:
        for _ in range(2_000):
            monitor.increment("requests", 1, {})

    before = monitor.health().overflowed
    together(*[work] * THREADS)
    monitor.close()
    assert monitor.health().overflowed - before == THREADS * 2_000


def test_turns_that_begin_at_the_same_time_have_numbers_of_their_own() -> None:
    numbers: list[int] = []
    monitor = AgentMonitor("agent", enabled=True)
    together(*[lambda: numbers.extend([monitor._next_interaction() for _ in range(20_000)])] * THREADS)
    assert sorted(numbers) == list(range(1, THREADS * 20_000 + 1))


def test_scrapes_at_the_same_time_are_all_counted() -> None:
    pipeline = Pipeline(Settings.load(enabled=True, metrics_exporters=("prometheus",), prometheus_port=0))
    try:
        pipeline.start()
        instrument = registry_of(pipeline.store).resolve("requests", "counter")
        instrument.series((), ()).add(1)  # type: ignore[attr-defined]
        pipeline.collect()
        size = pipeline._collected.batch.size

        def work() -> None:
            pipeline.collect()
            for _ in range(500):
                pipeline._scraped()

        together(*[work] * THREADS)
        assert pipeline._scrapes.sent == THREADS * 500 * size
    finally:
        pipeline.close(1)


def test_two_spellings_of_a_label_that_come_first_at_the_same_time_become_one() -> None:
    for _ in range(200):
        rules = LabelRules(MetricSpec("claude.own", "counter", "", ""), "redact", None)
        together(
            partial(rules.apply, {"tenant.id": "a"}),
            partial(rules.apply, {"tenant_id": "a"}),
        )
        assert rules.apply({"tenant.id": "a"}) == rules.apply({"tenant_id": "a"})
