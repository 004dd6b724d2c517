"""The row about a host's threads while a collection is under way: how much later a thread that sleeps 1 ms comes back.

Each sample is a process of its own. Its heartbeat runs in the main thread, first alone, then beside a thread that
collects, encodes and serialises all series over and over.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import bulk
from harness import Effort, Reading, Sample, Side

__all__ = ["heartbeat", "lateness"]

_BEAT_S = 0.001
_IDLE_BEATS = 2_000
_BUSY_S = 2.0
_SERIES = 5
"""Times as many series as in the row ``encode``: 100,000."""


def heartbeat(which: str) -> Side:
    """The 99th percentile of the lateness meanwhile, less that of an idle process.

    ``which`` is ``ours`` or ``sdk`` for collections, ``scrape`` or ``prometheus_client`` for scrapes.
    """

    @contextmanager
    def side(effort: Effort) -> Iterator[Sample]:
        def sample() -> Reading:
            found = bulk.run_child("heartbeat", which, _SERIES * effort.series)
            return Reading(
                found["busy_p99_s"] - found["idle_p99_s"], f"{which}: longest {found['longest_s'] * 1e3:.1f} ms"
            )

        yield sample

    return side


def lateness(which: str, size: int) -> dict[str, float]:
    """What one process sees; for ``child.py``."""
    recording, encode = {
        "ours": (bulk.our_recording, bulk.encode_ours),
        "sdk": (bulk.sdk_recording, bulk.encode_sdk),
        "scrape": (bulk.our_recording, bulk.scrape_ours),
        "prometheus_client": (bulk.prometheus_recording, bulk.scrape),
    }[which]
    source, record = recording(size)
    record()
    encode(source)
    gc.collect()
    idle = _beats(lambda beats: beats >= _IDLE_BEATS)
    done = threading.Event()

    def work() -> None:
        try:
            end = time.perf_counter() + _BUSY_S
            while time.perf_counter() < end:
                encode(source)
        finally:
            done.set()

    thread = threading.Thread(target=work)
    thread.start()
    busy = _beats(lambda _: done.is_set())
    thread.join()
    return {"idle_p99_s": _p99(idle), "busy_p99_s": _p99(busy), "longest_s": max(busy), "beats": len(busy)}


def _beats(is_over: Callable[[int], bool]) -> list[float]:
    late: list[float] = []
    while not is_over(len(late)):
        start = time.perf_counter()
        time.sleep(_BEAT_S)
        late.append(time.perf_counter() - start - _BEAT_S)
    return late


def _p99(values: Any) -> float:
    return float(sorted(values)[int(len(values) * 0.99)])
