"""What ``test_chaos`` holds against each other: what a program recorded and what the far side took."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from claude_monitoring.receiver import Log, Point, Span

__all__ = ["faults_of", "repeats"]

SHOWN = 8


def faults_of(report: dict[str, Any], items: Sequence[Point | Log | Span], name: str) -> list[str]:
    """How what came differs from what was recorded."""
    instances = {item.resource["service.instance.id"] for item in items}
    faults = [] if len(instances) == 1 else [f"{len(instances)} instances"]
    series = _by_series(items)
    totals: dict[tuple[str, Any], Any] = {}
    told = []
    for key, points in series.items():
        is_delta = points[0].temporality == "delta"
        totals[key], found = (_of_deltas if is_delta else _of_totals)(points)
        told += [f"{key}: {fault}" for fault in found]
    for key, wanted in _expected(report, series).items():
        if totals.get(key) != wanted:
            faults.append(f"{key} is {totals.get(key)}, recorded was {wanted}")
    faults += told[:SHOWN] + ([f"and {len(told) - SHOWN} of that kind"] if len(told) > SHOWN else [])
    wanted_temporality = name.rpartition(" ")[2]
    shown = {points[0].temporality for (metric, _), points in series.items() if metric == "claude.steps"}
    faults += [] if shown == {wanted_temporality} else [f"claude.steps came as {shown}"]
    events = {item.attributes["chaos.id"] for item in items if isinstance(item, Log)}
    spans = {item.name for item in items if isinstance(item, Span)}
    faults += _missing("logs", set(report["events"]), events, report)
    faults += _missing("traces", set(report["tasks"]), spans, report)
    return faults


def _missing(signal_: str, recorded: set[str], seen: set[str], report: dict[str, Any]) -> list[str]:
    lost = sorted(recorded - seen)
    counted = sum(report["dropped"].get(signal_, {}).values())
    faults = [f"never recorded, but came: {sorted(seen - recorded)}"] if seen - recorded else []
    if len(lost) > counted:  # more may be counted: what was dropped may have been taken by a request without an answer
        faults.append(f"{len(lost)} of {signal_} are missing and {counted} counted as dropped: {lost[:20]}")
    return faults


def _by_series(items: Sequence[Point | Log | Span]) -> dict[tuple[str, Any], list[Point]]:
    series: defaultdict[tuple[str, Any], list[Point]] = defaultdict(list)
    for item in items:
        if isinstance(item, Point) and item.kind != "gauge":
            series[item.metric, frozenset(item.attributes.items())].append(item)
    return series


def _value(point: Point) -> Any:
    return point.value if point.kind == "sum" else (point.count, point.sum, point.bucket_counts)


def _of_totals(points: list[Point]) -> tuple[Any, list[str]]:
    """The last total; the interval begins at the same moment in all of them."""
    starts = {point.start_unix_nano for point in points}
    faults = [] if len(starts) == 1 else [f"starts at {sorted(starts)}"]
    return _value(max(points, key=lambda point: point.time_unix_nano)), faults


def _of_deltas(points: list[Point]) -> tuple[Any, list[str]]:
    """The sum, with repeats (same start, same end) counted once; repeats are equal and intervals do not overlap."""
    faults = []
    intervals: dict[tuple[int, int], Any] = {}
    for point in points:
        interval, value = (point.start_unix_nano, point.time_unix_nano), _value(point)
        if intervals.setdefault(interval, value) != value:
            faults.append(f"{interval} came as {intervals[interval]} and as {value}")
    ordered = sorted(intervals)
    faults += [f"{later} begins before {earlier} ends" for earlier, later in pairwise(ordered) if later[0] < earlier[1]]
    values = [intervals[interval] for interval in ordered]
    if points[0].kind == "sum":
        return sum(values), faults
    counts, sums, buckets = zip(*values, strict=True)
    return (sum(counts), sum(sums), tuple(map(sum, zip(*buckets, strict=True)))), faults


def _expected(report: dict[str, Any], series: dict[tuple[str, Any], list[Point]]) -> dict[tuple[str, Any], Any]:
    """What each series must have come to."""
    agent = ("agent", "worker")
    wanted: dict[tuple[str, Any], Any] = {
        ("claude.concurrent_requests", frozenset([agent])): report["under_way"],
        ("claude.tasks", frozenset([agent, ("task_type", "chaos"), ("status", "ok")])): len(report["tasks"]),
        ("claude.tasks.active", frozenset([agent, ("task_type", "chaos")])): 0,
    }
    for kind, total in report["steps"].items():
        wanted["claude.steps", frozenset([agent, ("kind", kind)])] = total
    for kind, sizes in report["sizes"].items():
        key = ("claude.chaos_size", frozenset([agent, ("kind", kind)]))
        bounds = series[key][0].bounds if key in series else ()
        buckets = [0] * (len(bounds) + 1)
        for size in sizes:
            buckets[bisect.bisect_left(bounds, size)] += 1
        wanted[key] = (len(sizes), sum(sizes), tuple(buckets))
    return wanted


def repeats(items: Sequence[Point | Log | Span]) -> int:
    """How often an interval of a delta came again."""
    series = _by_series([item for item in items if isinstance(item, Point) and item.temporality == "delta"])
    return sum(len(points) - len({point.start_unix_nano for point in points}) for points in series.values())
