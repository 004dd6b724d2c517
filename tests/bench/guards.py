"""Rows about the guard: labels that explode for millions of calls, and sessions that come and go."""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from typing import Any

from bulk import run_child
from harness import Effort, Reading, Sample, Side

__all__ = ["explosion_memory", "explosion_time", "sessions", "sessions_slope", "two_million_calls"]

_KNOWN = 100
_ROUND = 50_000
_WARM_UP = 10_000
_EXPORT_EVERY = 100
_METRIC = "bench_explosion"


def _rss_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def two_million_calls(calls: int) -> dict[str, float]:
    """For ``child.py``: ``calls`` calls with a new value each, and as many with known ones, round by round.

    Returns:
        Seconds a call of both kinds once the bound is reached, the growth of resident memory in bytes from the bound
        on, and the most series that the metric ever had.
    """
    from claude_monitoring import AgentMonitor

    monitor = AgentMonitor("bench", enabled=True)
    known = [{"user": f"known-{number}"} for number in range(_KNOWN)]
    times: dict[str, list[float]] = {"new": [], "known": []}
    for labels in known:
        monitor.increment("bench_known", 1, labels)
    for number in range(2 * _KNOWN, 3 * _KNOWN + 200):
        monitor.increment(_METRIC, 1, {"user": f"first-{number}"})
    _round(monitor, _METRIC, [{"user": f"warm-{number}"} for number in range(_ROUND)])
    gc.collect()
    at_the_bound, most = _rss_bytes(), 0
    for first in range(0, calls, _ROUND):
        times["new"].append(_round(monitor, _METRIC, [{"user": f"u-{first + number}"} for number in range(_ROUND)]))
        again = [{"user": f"known-{number % _KNOWN}"} for number in range(_ROUND)]
        times["known"].append(_round(monitor, "bench_known", again))
        report = {one.name: one.series for one in monitor.cardinality_report().metrics}
        most = max(most, report[f"claude.{_METRIC}"])
    del again
    gc.collect()
    seconds = {kind: statistics.median(samples) / _ROUND for kind, samples in times.items()}
    return {**seconds, "growth_bytes": _rss_bytes() - at_the_bound, "most_series": most}


def _round(monitor: Any, metric: str, items: list[dict[str, str]]) -> float:
    start = time.perf_counter()
    for labels in items:
        monitor.increment(metric, 1, labels)
    return time.perf_counter() - start


_measured: dict[int, dict[str, float]] = {}


def _explosion(effort: Effort) -> dict[str, float]:
    """One process serves the two rows."""
    if effort.explosion not in _measured:
        _measured[effort.explosion] = run_child("explosion", effort.explosion)
    return _measured[effort.explosion]


def explosion_time(kind: str) -> Side:
    """Seconds a call; ``kind`` is ``new`` or ``known``."""

    @contextmanager
    def side(effort: Effort) -> Iterator[Sample]:
        note = f"{effort.explosion:,} calls with a new value" if kind == "new" else ""
        yield lambda: Reading(_explosion(effort)[kind], note)

    return side


@contextmanager
def explosion_memory(effort: Effort) -> Iterator[Sample]:
    """Bytes of resident memory that all those calls leave behind, from the bound on."""

    def sample() -> Reading:
        found = _explosion(effort)
        return Reading(found["growth_bytes"], f"{found['most_series']:,.0f} series at most")

    yield sample


def sessions_slope(sessions: int) -> dict[str, Any]:
    """For ``child.py``: sessions one after another with ten series each, an export now and then.

    Returns:
        The median of the slopes between any two samples of the live heap, in bytes a session; after the first ten
        thousand and at the end: sessions, live bytes, resident bytes; and the most series there ever were.
    """
    from claude_monitoring import AgentMonitor
    from claude_monitoring.exporters import CustomExporter

    class Sink(CustomExporter):
        """Takes everything."""

        def export_metric(self, metric: Any) -> None:
            """Nothing to do with it."""

    monitor = AgentMonitor("bench", enabled=True, exporters=[Sink()], interval_s=3600)
    samples: list[tuple[int, int, int]] = []
    most = 0
    tracemalloc.start()  # resident memory alone moves by more than what is looked for
    for number in range(1, sessions + 1):
        with monitor.session():
            monitor.record_usage("claude-sonnet-4-5", 10, 5, cost_usd=0.1)
            monitor.record_commit()
            monitor.record_pull_request()
            monitor.record_active_time(1)
            monitor.record_edit_decision("accept")
        if number % _EXPORT_EVERY == 0:
            most = max(most, monitor.health().series)
            if not monitor.flush(10):
                raise RuntimeError("the export took more than 10 s")
        if number >= _WARM_UP and number % max(1_000, sessions // 50) == 0:
            gc.collect()
            samples.append((number, tracemalloc.get_traced_memory()[0], _rss_bytes()))
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(samples, 2)]
    return {"slope": statistics.median(slopes), "ends": (samples[0], samples[-1]), "most_series": most}


@contextmanager
def sessions(effort: Effort) -> Iterator[Sample]:
    """Bytes that a session leaves behind after the first ten thousand."""

    def sample() -> Reading:
        found = run_child("sessions", effort.sessions, timeout_s=3_600)
        said = [f"{live / 1e6:.2f} MB live, {rss / 1e6:.1f} MB resident after {n:,}" for n, live, rss in found["ends"]]
        note = f"{'; '.join(said)} sessions; {found['most_series']:,} series at most"
        return Reading(max(0.0, found["slope"]), note)

    yield sample
