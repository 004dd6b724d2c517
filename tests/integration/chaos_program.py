"""A program under load for ``test_chaos``: it records until a line comes on stdin, flushes, and says what it did."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from typing import Any

from claude_monitoring import AgentMonitor

THREADS = 4
PAUSE_S = 0.08  # 50 rounds a second in all threads together, each with about four records and eight timed increments
BURST = 8
AMOUNTS = (0.25, 1, 2, 3.5, 40)  # sums of these are exact
SIZES = (0.25, 0.5, 3, 7.5, 20, 75, 100, 2_000, 20_000)
DELIVER_WITHIN_S = 40.0


class Recorder:
    """One thread's work, and what it did."""

    def __init__(self, monitor: AgentMonitor, number: int, stop: threading.Event) -> None:
        self.number = number
        self.rounds = self.tasks = 0
        self.steps: Counter[str] = Counter()
        self.under_way = 0
        self.sizes: defaultdict[str, Counter[float]] = defaultdict(Counter)
        self.nanoseconds: list[int] = []
        self.thread = threading.Thread(target=self._run, args=(monitor, stop))

    def _run(self, monitor: AgentMonitor, stop: threading.Event) -> None:
        chance = random.Random(self.number)
        while not stop.wait(PAUSE_S * chance.uniform(0.5, 1.5)):
            for kind in (f"own-{self.number}", "shared"):
                amount = chance.choice(AMOUNTS)
                for _ in range(BURST // 2):
                    begun = time.perf_counter_ns()
                    monitor.increment("steps", amount, {"kind": kind})
                    self.nanoseconds.append(time.perf_counter_ns() - begun)
                    self.steps[kind] += amount  # type: ignore[assignment]
            change = chance.choice((-1, 1, 1, 2))
            monitor.increment("concurrent_requests", change)
            self.under_way += change
            kind, size = chance.choice(("small", "large")), chance.choice(SIZES)
            monitor.histogram("chaos_size", size, {"kind": kind})
            self.sizes[kind][size] += 1
            monitor.event("chaos", {"chaos.id": f"event-{self.number}-{self.rounds}"})
            self.rounds += 1
            if self.rounds % 2:
                with monitor.track_task(f"task-{self.number}-{self.tasks}", task_type="chaos"):
                    self.tasks += 1


def main() -> None:
    monitor = AgentMonitor("worker")
    stop = threading.Event()
    recorders = [Recorder(monitor, number, stop) for number in range(THREADS)]
    for recorder in recorders:
        recorder.thread.start()
    print("ready", flush=True)
    sys.stdin.readline()
    stop.set()
    for recorder in recorders:
        recorder.thread.join()
    deadline = time.monotonic() + DELIVER_WITHIN_S
    delivered = False
    while not delivered and time.monotonic() < deadline:
        delivered = monitor.flush(5)
    print(json.dumps(_report(monitor, recorders, delivered=delivered)), flush=True)


def _report(monitor: AgentMonitor, recorders: list[Recorder], *, delivered: bool) -> dict[str, Any]:
    steps: Counter[str] = Counter()
    sizes: defaultdict[str, Counter[float]] = defaultdict(Counter)
    for recorder in recorders:
        steps.update(recorder.steps)
        for kind, values in recorder.sizes.items():
            sizes[kind].update(values)
    times = sorted(took for recorder in recorders for took in recorder.nanoseconds)
    health = monitor.health()
    return {
        "delivered": delivered,
        "steps": steps,
        "under_way": sum(recorder.under_way for recorder in recorders),
        "sizes": {kind: sorted(values.elements()) for kind, values in sizes.items()},
        "events": [f"event-{r.number}-{n}" for r in recorders for n in range(r.rounds)],
        "tasks": [f"task-{r.number}-{n}" for r in recorders for n in range(r.tasks)],
        "slow_ms": times[-1 - len(times) // 1000] / 1e6,  # the 99.9th percentile
        "dropped": {row.signal: dict(row.dropped) for row in health.exporters},
        "dropped_elsewhere": dict(health.dropped),
    }


if __name__ == "__main__":
    main()
