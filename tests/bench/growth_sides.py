"""What grows, and what is measured at each size; each dimension in a process of its own, by ``child.py``.

Times are of the processor, so that who else is busy on the machine counts little. Memory is what tracemalloc sees, in
another process, since tracing makes everything slower.
"""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any, NamedTuple

import bulk

from claude_monitoring import AgentMonitor

__all__ = ["DIMENSIONS", "Dimension", "grow"]

_HUGE = 1_000_000
_MOST = 10 * _HUGE
_CALLS = 20_000
_REPEATS = 5
_WIDE = 500
_LABELS = {"model": "model-0", "tool": "tool-0", "status": "ok", "shard": "0"}

Found = dict[str, float]


class Dimension(NamedTuple):
    """One thing that grows."""

    sizes: tuple[int, ...]
    fast: tuple[int, ...]
    times: Callable[[tuple[int, ...]], Iterator[Found]]
    """Seconds of each cost at each size."""
    memory: Callable[[tuple[int, ...]], Iterator[float | None]]
    """Bytes at each size; tracing is on."""


def grow(name: str, sizes: tuple[int, ...], *, memory: bool) -> list[Found]:
    """What each size costs, in this process."""
    dimension = DIMENSIONS[name]
    _warm_up()
    if not memory:
        return list(dimension.times(sizes))
    tracemalloc.start()
    return [{"memory": found} if found is not None else {} for found in dimension.memory(sizes)]


def _cpu(work: Callable[[], object], times: int = 1, repeats: int = _REPEATS) -> float:
    """Seconds of the processor that one of the ``times`` things in ``work`` takes, the least of a few.

    Not the median: sizes are measured one after the other, and a shared machine is slow for a while now and then.
    """
    samples = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        samples.append((time.process_time() - start) / times)
    return min(samples)


def _warm_up() -> None:
    """What is imported and kept once is not what is looked for."""
    with _monitor() as monitor:
        _use(monitor)
        with monitor.track_task("bench"):
            bulk.encode_ours(monitor)


def _traced(before: int = 0) -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] - before


def _monitor(agent_id: str = "bench", **options: Any) -> AgentMonitor:
    bounds = {"max_total_series": _MOST, "max_series": _HUGE, "max_label_values": _HUGE}
    return AgentMonitor(agent_id, project_name="bench", enabled=True, **{**bounds, **options})


def _calls(monitor: AgentMonitor, name: str, labels: dict[str, str], calls: int = _CALLS) -> Callable[[], None]:
    monitor.increment(name, 1, labels)

    def work() -> None:
        for _ in range(calls):
            monitor.increment(name, 1, labels)

    return work


def _collection(monitor: AgentMonitor) -> float:
    bulk.encode_ours(monitor)  # from now on the attributes are serialised
    gc.collect()
    return _cpu(lambda: bulk.encode_ours(monitor))


# -- series ---------------------------------------------------------------------------------------


def _series(sizes: tuple[int, ...]) -> Iterator[Found]:
    monitor = _monitor(max_series=2_000, max_label_values=200)  # a thousand of each metric are well within these
    sets, made = bulk.label_sets(sizes[-1]), 0
    for size in sizes:
        spent, left = 0.0, size - made
        for batch in _batches(islice(sets, left)):
            spent += _cpu(lambda batch=batch: _record(monitor, batch), repeats=1)  # type: ignore[misc]
        made = size
        in_turn = 0.0
        for batch in _batches(bulk.label_sets(size)):
            in_turn += _cpu(lambda batch=batch: _record(monitor, batch), repeats=1)  # type: ignore[misc]
        yield {
            "call": _cpu(_calls(monitor, "bench_calls_0", _LABELS), _CALLS),
            "in turn": in_turn / size,
            "new": spent / left,
            "collection": _collection(monitor),
        }


def _batches(sets: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(sets, 10_000)):
        yield batch


def _record(monitor: AgentMonitor, batch: list[tuple[str, dict[str, str]]]) -> None:
    for name, labels in batch:
        monitor.increment(name, 1, labels)


def _series_memory(sizes: tuple[int, ...]) -> Iterator[float]:
    monitor = _monitor(max_series=2_000, max_label_values=200)
    monitor.increment("bench_calls_0", 1, _LABELS)
    before, made = _traced(), 0
    sets = bulk.label_sets(sizes[-1])
    for size in sizes:
        _record(monitor, list(islice(sets, size - made)))
        made = size
        yield _traced(before)


# -- threads --------------------------------------------------------------------------------------


def _all_at_once(size: int, work: Callable[[], object]) -> None:
    """``work`` in ``size`` threads, none of which ends before all have worked: each has an ident of its own."""
    ready = threading.Barrier(size)

    def one() -> None:
        ready.wait()
        work()
        ready.wait()

    threads = [threading.Thread(target=one) for _ in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _wide(monitor: AgentMonitor) -> Callable[[], None]:
    def work() -> None:
        for number in range(_WIDE):
            labels = {"tool": f"tool-{number % 100}", "shard": f"{number // 100}"}
            monitor.increment("bench_calls", 1, labels)
            monitor.histogram("bench_seconds", 0.1, labels)

    return work


def _threads(sizes: tuple[int, ...]) -> Iterator[Found]:
    for size in sizes:
        monitor = _monitor()
        calls = 10 * _CALLS // size
        work = _calls(monitor, "bench_calls", _LABELS, calls)
        spent = _cpu(lambda size=size, work=work: _all_at_once(size, work), calls * size)  # type: ignore[misc]
        monitor.close()
        monitor = _monitor()
        _all_at_once(size, _wide(monitor))
        yield {"call": spent, "collection": _collection(monitor)}
        monitor.close()


def _threads_memory(sizes: tuple[int, ...]) -> Iterator[float]:
    with _monitor() as monitor:  # all stores share pairs of labels
        _wide(monitor)()
    del monitor  # a closed one holds its store
    for size in sizes:
        before = _traced()
        monitor = _monitor()
        _all_at_once(size, _wide(monitor))
        yield _traced(before)
        monitor.close()
        del monitor


# -- monitors -------------------------------------------------------------------------------------


def _more(monitors: list[AgentMonitor], size: int, **options: Any) -> None:
    while len(monitors) < size:
        monitor = _monitor(f"agent-{len(monitors)}", **options)
        monitor.increment("bench_calls", 1, _LABELS)
        monitors.append(monitor)


def _monitors(sizes: tuple[int, ...]) -> Iterator[Found]:
    monitors: list[AgentMonitor] = []
    others: list[AgentMonitor] = []

    def each() -> None:
        for monitor in monitors:
            monitor.increment("bench_calls", 1, _LABELS)

    def apart(size: int) -> None:
        while len(others) < size:
            _more(others, len(others) + 1, service_name=f"service-{len(others)}")

    for size in sizes:
        left = size - len(monitors)
        rounds = max(1, 1_000 // size)
        found = {
            "new": _cpu(lambda size=size: _more(monitors, size), left, 1),  # type: ignore[misc]
            "new, settings of its own": _cpu(lambda size=size: apart(size), left, 1),  # type: ignore[misc]
            "call": _cpu(lambda rounds=rounds: [each() for _ in range(rounds)], size * rounds),  # type: ignore[misc]
        }
        yield {**found, "collection": _collection(monitors[0])}
    for monitor in (*monitors, *others):
        monitor.close()


def _monitors_memory(sizes: tuple[int, ...]) -> Iterator[float]:
    monitors: list[AgentMonitor] = []
    before = _traced()
    for size in sizes:
        _more(monitors, size)
        yield _traced(before)


# -- nested tasks ---------------------------------------------------------------------------------


def _nest(monitor: AgentMonitor, depth: int, inside: Callable[[], object]) -> None:
    with ExitStack() as stack:
        for _ in range(depth):
            stack.enter_context(monitor.track_task("bench", task_type="bench"))
        inside()


def _nested(sizes: tuple[int, ...]) -> Iterator[Found]:
    monitor = _monitor()
    for size in sizes:
        turns = _CALLS // size
        found: Found = {}

        def tasks(size: int = size, turns: int = turns) -> None:
            for _ in range(turns):
                _nest(monitor, size, int)

        def inside(found: Found = found) -> None:
            found["call"] = _cpu(_calls(monitor, "bench_calls", _LABELS), _CALLS)
            found["usage"] = _cpu(lambda: [_use(monitor) for _ in range(500)], 500)
            found["collection"] = _cpu(lambda: [bulk.encode_ours(monitor) for _ in range(50)], 50)

        _nest(monitor, size, inside)
        yield {"task": _cpu(tasks, turns * size), **found}


def _use(monitor: AgentMonitor) -> None:
    monitor.record_usage("claude-sonnet-4-5", 10, 5, cost_usd=0.1)


def _nested_memory(sizes: tuple[int, ...]) -> Iterator[float]:
    monitor = _monitor()
    _nest(monitor, 2, lambda: _use(monitor))
    for size in sizes:
        before = _traced()
        found: list[float] = []

        def inside(before: int = before, found: list[float] = found) -> None:
            _use(monitor)
            found.append(_traced(before))

        _nest(monitor, size, inside)
        yield found[0]


# -- labels ---------------------------------------------------------------------------------------


def _labelled(monitor: AgentMonitor, size: int) -> None:
    """A thousand series with so many labels."""
    rest = {f"label_{place}": f"value-{place}" for place in range(1, size)}
    for number in range(1_000):
        monitor.increment("bench_calls", 1, {"label_0": f"value-{size}-{number}", **rest})


def _labels(sizes: tuple[int, ...]) -> Iterator[Found]:
    for size in sizes:
        monitor = _monitor()
        labels = {f"label_{place}": f"value-{place}" for place in range(size)}
        found = {"call": _cpu(_calls(monitor, "bench_calls", labels), _CALLS)}
        if size:  # else there is one series alone
            found["new"] = _cpu(lambda monitor=monitor, size=size: _labelled(monitor, size), 1_000, 1)  # type: ignore[misc]
            found["collection"] = _collection(monitor)
        yield found
        monitor.close()


def _labels_memory(sizes: tuple[int, ...]) -> Iterator[float | None]:
    for size in sizes:
        monitor = _monitor()
        monitor.increment("bench_calls")
        before = _traced()
        if size:
            _labelled(monitor, size)
        yield _traced(before) if size else None
        monitor.close()
        del monitor


DIMENSIONS = {
    "series": Dimension(
        (1_000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
        (1_000, 3_000, 10_000),
        _series,
        _series_memory,
    ),
    "threads": Dimension((1, 2, 4, 8, 16, 32, 64), (1, 4), _threads, _threads_memory),
    "monitors": Dimension((1, 10, 100, 1_000, 3_000, 10_000), (1, 10, 100), _monitors, _monitors_memory),
    "nested tasks": Dimension((1, 2, 4, 8, 16, 32, 64), (1, 4, 8), _nested, _nested_memory),
    "labels": Dimension((0, 1, 2, 4, 8, 16), (0, 1, 4), _labels, _labels_memory),
}
