"""Nothing grows with time: each kind of work goes on until what it leaves behind would have to show.

Caches that are bounded are filled first, some of them with lower bounds than usual so that this takes no minutes.
Millions of turns are for the benchmark (rows guard-memory and guard-sessions, ``tests/bench/growth.py``).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from claude_monitoring import AgentMonitor, _core, _lanes, _lives, _process, _store
from claude_monitoring._redirection import monitors
from claude_monitoring.exporters import CustomExporter

pytestmark = [pytest.mark.slow, pytest.mark.any_python, pytest.mark.timeout(120)]


class Sink(CustomExporter):
    """Takes everything."""

    def export_metric(self, metric: Any) -> None:
        """Nothing to do with it."""


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "claude_monitoring")  # else the lines that are kept grow with time


@pytest.fixture(autouse=True)
def small_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "_MAX_CACHED", 100)
    monkeypatch.setattr(_lives, "_MOST_PAST", 100)
    monkeypatch.setattr(_lives, "_MOST_UNSWEPT", 20)
    monkeypatch.setattr(_lives, "_SWEEPS_WHEN_FULL_S", 0.05)
    monkeypatch.setattr(_lanes, "_MAX_BUFFERED", 400)
    monkeypatch.setattr(_lanes, "_MAX_BATCH", 100)


@pytest.fixture
def dead_port() -> Iterator[int]:
    """Bound and not listening: connections are refused."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield server.getsockname()[1]


def held() -> int:
    """How many blocks of memory are in use, without what all series of the process share, which is bounded."""
    _store._shared.cache_clear()
    for _ in range(3):
        gc.collect()
    return sys.getallocatedblocks()


def begun(monitor: AgentMonitor) -> AgentMonitor:
    """Its exporters' threads have imported what they need."""
    monitor.increment("started")
    monitor.flush(2)
    return monitor


def assert_flat(turn: Callable[[int], object], turns: int, warm_up: int, most: float = 0.05) -> None:
    """What ``turns`` turns leave behind after the warm-up is next to nothing; the least of three readings counts.

    A buffer may be fuller at one reading than at another; what grows is more each time.
    """
    number = 0
    readings = []
    for some in (warm_up, *[turns // 3] * 3):
        for _ in range(some):
            turn(number)
            number += 1
        readings.append(held())
    grown = min(after - before for before, after in pairwise(readings))
    assert grown <= most * (turns // 3), [after - before for before, after in pairwise(readings)]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_tasks_of_every_outcome_leave_nothing_behind() -> None:
    with begun(AgentMonitor("soak", enabled=True, exporters=[Sink()], interval_s=3600)) as monitor:

        @monitor.track_task(task_type="decorated")
        def decorated(number: int) -> None:
            if number % 3 == 0:
                raise ValueError(f"no {number}")

        def turn(number: int) -> None:
            with suppress(ValueError):
                decorated(number)
            with monitor.track_task(f"task {number}", task_type="outer") as task, monitor.track_task("inner"):
                monitor.record_usage("claude-sonnet-4-5", 10, 5, cost_usd=0.1)
                monitor.record_error(KeyError(str(number)))
                task.items = 3

        assert_flat(turn, 9_000, 500)


def test_async_tasks_that_end_or_are_cancelled_leave_nothing_behind() -> None:
    with AgentMonitor("soak", enabled=True) as monitor:

        @monitor.track_task
        async def job(number: int) -> None:
            async with monitor.track_task(f"inner {number}"):
                await asyncio.sleep(60 if number % 4 == 0 else 0)

        async def several(number: int) -> None:
            jobs = [asyncio.create_task(job(number + place)) for place in range(8)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for one in jobs:
                one.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

        async def all_of_them() -> None:
            readings = []
            for _ in range(4):
                for number in range(300):
                    await several(number)
                readings.append(held())
            # As assert_flat has it, for 300 times 8 jobs.
            assert min(after - before for before, after in pairwise(readings)) <= 0.05 * 300 * 8, readings

        asyncio.run(all_of_them())


def test_generators_that_are_left_in_the_middle_of_a_task_leave_nothing_behind() -> None:
    with AgentMonitor("soak", enabled=True) as monitor:

        @monitor.track_task
        def numbers() -> Iterator[int]:
            with monitor.track_task("inner"):
                yield from range(3)

        assert_flat(lambda _: next(numbers()), 6_000, 500)


def test_sessions_that_are_delivered_leave_nothing_behind() -> None:
    with begun(AgentMonitor("soak", enabled=True, exporters=[Sink()], interval_s=3600)) as monitor:

        def turn(number: int) -> None:
            with monitor.session():
                monitor.record_usage("claude-sonnet-4-5", 10, 5, cost_usd=0.1)
                monitor.record_commit()
            if number % 50 == 0:
                assert monitor.flush(10)

        assert_flat(turn, 3_000, 601)


def test_sessions_events_and_spans_that_no_collector_takes_leave_nothing_behind(dead_port: int) -> None:
    monitor = AgentMonitor(
        "soak",
        export_to_grafana=True,
        endpoint=f"http://127.0.0.1:{dead_port}",
        protocol="http/protobuf",
        interval_s=3600,
        max_series=100,
        max_label_values=20,
    )

    begun(monitor)

    def turn(number: int) -> None:
        with monitor.session(), monitor.track_task(f"task {number}"), monitor.span(f"span {number}"):
            monitor.record_commit()
            monitor.event("soak", {"number": number})

    try:
        assert_flat(turn, 3_000, 1_000)
        health = monitor.health()
        assert health.dropped["queue_full"] > 5_000
        assert all(one.waiting <= 2 * 400 for one in health.exporters if one.signal != "metrics")
    finally:
        monitor.close(0)


def descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()} if Path("/proc/self/fd").is_dir() else set()


KINDS = ["equal", "settings of their own", "an exporter of their own", "children", "never used"]


@pytest.mark.parametrize("kind", KINDS)
def test_monitors_that_are_made_and_closed_leave_nothing_behind(kind: str) -> None:
    around = AgentMonitor("soak", enabled=True)
    around.increment("started")
    threads, files, pipelines = threading.active_count(), len(descriptors()), len(_process._pipelines)
    before = set(monitors)  # some of another test's: the Claude Agent SDK keeps a query that is not read to its end
    last: list[weakref.ref[AgentMonitor]] = []

    def turn(number: int) -> None:
        name = f"agent-{number % 150}"
        if kind == "equal":
            monitor = AgentMonitor(name, enabled=True)
        elif kind == "settings of their own":
            monitor = AgentMonitor(name, enabled=True, service_name=f"service-{number}")
        elif kind == "an exporter of their own":
            monitor = AgentMonitor(name, enabled=True, exporters=[Sink()])
        elif kind == "children":
            monitor = around.child(name)
        else:
            monitor = AgentMonitor(name, enabled=True)
        if kind != "never used":
            monitor.increment("jobs", 1, {"tool": f"tool-{number % 10}"})
            monitor.counter("handled").add(1)
            with monitor.track_task("job"):
                monitor.record_usage("claude-sonnet-4-5", 10, 5, cost_usd=0.1)
        monitor.close()
        last[:] = [weakref.ref(monitor)]

    # Python keeps up to 4,096 names of attributes that were looked up; a monitor that leaks leaves hundreds of blocks.
    assert_flat(turn, 450, 300, most=0.5)
    gc.collect()
    assert last[0]() is None
    assert set(monitors) == before
    assert len(_process._pipelines) == pipelines
    wait_for(lambda: threading.active_count() <= threads)  # one of a test before may have been ending then
    assert len(descriptors()) <= files
    around.close()


def test_monitors_that_send_by_otlp_and_are_closed_leave_no_thread_and_no_file(dead_port: int) -> None:
    def turn(number: int) -> None:
        monitor = AgentMonitor(
            "soak",
            export_to_grafana=True,
            endpoint=f"http://127.0.0.1:{dead_port}",
            protocol="http/protobuf",
            service_name=f"service-{number}",
        )
        monitor.increment("jobs")
        monitor.event("soak")
        with monitor.span("soak"):
            pass
        monitor.close(0)

    # OpenTelemetry's SDK registers a hook for forks with each TracerProvider, which Python never forgets: 15 blocks.
    turn(0)
    threads, files = threading.active_count(), len(descriptors())
    assert_flat(turn, 90, 30, most=30)
    wait_for(lambda: threading.active_count() <= threads)
    assert len(descriptors()) <= files


def test_handles_that_are_made_used_and_dropped_leave_nothing_behind() -> None:
    with AgentMonitor("soak", enabled=True) as monitor:

        def turn(number: int) -> None:
            labels = {"tool": f"tool-{number % 20}"}
            monitor.counter("handled", labels).add(1)
            monitor.gauge_handle("handled_gauge", labels).set(1.5)
            monitor.histogram_handle("handled_seconds", labels).record(1.5)

        assert_flat(turn, 6_000, 500)
        assert not monitor._handles


def test_threads_that_come_and_go_leave_nothing_behind() -> None:
    with AgentMonitor("soak", enabled=True) as monitor:

        def work() -> None:
            monitor.increment("jobs")
            monitor.histogram("job_seconds", 0.5)
            with monitor.track_task("job"):
                pass

        def turn(_: int) -> None:
            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        assert_flat(turn, 600, 100)
        assert monitor._pipeline is not None
        cells = [len(getattr(one, "others", None) or ()) for one in monitor._pipeline.store.all_series()]
        assert max(cells) <= 16


def test_series_that_idle_away_leave_nothing_behind_although_values_are_new_each_time() -> None:
    with AgentMonitor("soak", enabled=True, exporters=[Sink()], interval_s=3600, series_ttl_s=60) as monitor:
        monitor.increment("started")
        assert monitor._pipeline is not None
        lives = monitor._pipeline.store.lives
        clock = [0.0]
        lives._clock = lambda: clock[0]

        def turn(number: int) -> None:
            for place in range(10):
                monitor.increment("jobs", 1, {"tenant": f"tenant-{number}-{place}"})
                monitor.histogram("job_seconds", 0.5, {"tenant": f"tenant-{number}-{place}"})
            monitor.increment("here")
            clock[0] += 30
            assert monitor.flush(10)

        assert_flat(turn, 450, 200)
        assert len(lives._idle) + len(lives._ending) < 200
        assert monitor.health().series < 200


def test_pairs_that_all_series_of_the_process_share_are_bounded() -> None:
    with AgentMonitor("soak", enabled=True, max_series=10_000, max_label_values=10_000) as monitor:
        for number in range(5_000):
            monitor.increment("jobs", 1, {"tenant": f"tenant-{number}"})
    assert _store._shared.cache_info().maxsize == 4_096
    assert _store._shared.cache_info().currsize <= 4_096
