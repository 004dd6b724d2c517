"""Renders what was expected and what was seen in the same words, so that comparing is comparing two texts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from claude_monitoring.receiver import Point
from matrix import expected

__all__ = ["Got", "attributes_text", "from_points", "from_printed", "metric_text", "number_text"]

SESSION = "session.id"


@dataclass(frozen=True)
class Got:
    """One metric as it was seen at the end: the last value of each series; ``temporality`` where it is known."""

    unit: str
    kind: str
    monotonic: bool
    temporality: str
    scope: str
    series: Mapping[expected.Key, expected.Number]


def number_text(value: Any) -> str:
    """A number to ten digits: sums of fractions differ after that, by the order in which they were added."""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.10g}"
    return json.dumps(value, default=str)


def _value_text(value: expected.Number) -> str:
    if isinstance(value, tuple):
        count, total = value
        return f"count {count}" + ("" if total is None else f", sum {number_text(float(total))}")
    return number_text(float(value))


def attributes_text(attributes: Mapping[str, Any]) -> str:
    """``key=value`` in order, with the type of a value to be seen: text is in quotes where it is not plain."""
    parts = []
    for key, value in sorted(attributes.items()):
        shown = value if isinstance(value, str) and value and not value[0].isdigit() else number_text(value)
        parts.append(f"{key}={shown}")
    return ", ".join(parts)


def metric_text(
    unit: str,
    kind: str,
    series: Mapping[expected.Key, expected.Number],
    *,
    monotonic: bool = False,
    temporality: str = "",
    scope: str = "",
) -> str:
    """A metric with all its series; what they have in common comes first."""
    head = [kind, *(["monotonic"] if monotonic else []), temporality, f"unit {unit}" if unit else "no unit"]
    head.append(f"scope {scope}" if scope else "")
    common = frozenset.intersection(*series) if series else frozenset()
    lines = [
        f"{attributes_text(dict(key - common))}: {_value_text(value)}" if key - common else _value_text(value)
        for key, value in series.items()
    ]
    shared = attributes_text(dict(common))
    return " ".join(filter(None, head)) + (f" | {shared}" if shared else "") + " | " + "; ".join(sorted(lines))


def from_points(points: Iterable[Point], sums: set[str]) -> dict[str, Got]:
    """Metrics by name, from what a receiver got.

    Of a cumulative stream and of a gauge the last value counts. Deltas are added; one that came twice, with the same
    start and end, counts once. Of histograms in ``sums`` the sum counts too.
    """
    values: dict[str, dict[expected.Key, expected.Number]] = {}
    shapes: dict[str, Point] = {}
    deltas: set[Any] = set()
    for point in sorted(points, key=lambda one: one.time_unix_nano):
        key = frozenset((name, value) for name, value in point.attributes.items() if name != SESSION)
        series = values.setdefault(point.metric, {})
        shapes[point.metric] = point
        number = _number(point, with_sum=point.metric in sums)
        if point.temporality == "delta":
            interval = (point.metric, key, point.start_unix_nano, point.time_unix_nano)
            if interval in deltas:
                continue
            deltas.add(interval)
            number = _added(series.get(key), number)
        series[key] = number
    return {
        name: Got(shape.unit, shape.kind, shape.monotonic, shape.temporality, shape.scope_name, values[name])
        for name, shape in shapes.items()
    }


def _number(point: Point, *, with_sum: bool) -> expected.Number:
    if point.kind == "histogram":
        return (point.count or 0, float(point.sum or 0) if with_sum else None)
    return float(point.value or 0)


def _added(one: expected.Number | None, other: expected.Number) -> expected.Number:
    if one is None:
        return other
    if isinstance(one, tuple) and isinstance(other, tuple):
        total = None if one[1] is None or other[1] is None else one[1] + other[1]
        return (one[0] + other[0], total)
    assert not isinstance(one, tuple)
    assert not isinstance(other, tuple)
    return one + other


def from_printed(rows: Iterable[Mapping[str, Any]], sums: set[str]) -> dict[str, Got]:
    """The same, from the lines that the exporters ``console`` and ``logging`` write."""
    found: dict[str, Got] = {}
    for row in rows:
        if row["signal"] != "metric":
            continue
        kind = {"counter": "sum", "up_down_counter": "sum"}.get(row["kind"], row["kind"])
        key = frozenset((name, value) for name, value in row["attributes"].items() if name != SESSION)
        number: expected.Number = float(row["value"])
        if kind == "histogram":
            number = (row["count"], float(row["value"]) if row["name"] in sums else None)
        got = found.setdefault(row["name"], Got(row["unit"], kind, row["kind"] == "counter", "", "", {}))
        got.series[key] = number  # type: ignore[index]  # it is a dict, made a line above
    return found
