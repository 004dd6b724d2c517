"""What points add up to, by the OpenTelemetry data model: streams, temporality, restarts, repeats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from claude_monitoring.receiver.model import Point

__all__ = ["Field", "Series", "matches", "series"]

Field = Literal["count", "sum"]
"""Which number of a histogram."""

Series = dict[frozenset[tuple[str, Any]], float]


def series(points: Iterable[Point], field: Field = "count") -> Series:
    """Attributes to total, over all resources and scopes that sent them.

    A stream is one resource, scope and set of attributes. Of a cumulative stream the last value counts, by the time
    of the point, and each start time (a restart) is added. Of a delta stream all values are added; a point that came
    again in a later request, with the same start, end and value, is a repeat and counts once. Of a gauge the last
    value counts. Points without a recorded value are skipped.
    """
    memo: dict[int, Any] = {}  # a resource is one object for all points of a request
    seen: dict[Any, int] = {}
    last: dict[Any, tuple[int, float]] = {}
    parts: dict[Any, list[float]] = {}
    shown: dict[Any, frozenset[tuple[str, Any]]] = {}
    for point in points:
        number = _number(point, field)
        if number is None:
            continue
        scope = point.scope
        if id(scope) not in memo:
            memo[id(scope)] = (_typed(scope.resource), scope.name, scope.version)
        key = _typed(point.attributes)
        if key not in shown:
            shown[key] = frozenset((name, _hashable(value)) for name, value in point.attributes.items())
        stream = (memo[id(scope)], key)
        if point.temporality == "delta":
            repeat = (stream, point.start_unix_nano, point.time_unix_nano, number)
            if seen.setdefault(repeat, point.request) == point.request:
                parts.setdefault(key, []).append(number)
        else:
            run = (stream, 0 if point.kind == "gauge" else point.start_unix_nano)
            if run not in last or point.time_unix_nano >= last[run][0]:
                last[run] = (point.time_unix_nano, number)
    for ((_, key), _), (_, number) in last.items():
        parts.setdefault(key, []).append(number)
    return _summed(parts, shown)


def matches(attributes: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    """Whether all of ``where`` is among the attributes; ``True`` is not 1."""
    return all(
        name in attributes
        and attributes[name] == value
        and isinstance(attributes[name], bool) is isinstance(value, bool)
        for name, value in where.items()
    )


def _summed(parts: Mapping[Any, list[float]], shown: Mapping[Any, frozenset[tuple[str, Any]]]) -> Series:
    merged: dict[frozenset[tuple[str, Any]], list[float]] = {}
    for key, numbers in parts.items():
        # in Python {1} == {True}: two series on the wire can be one key here, and must not hide each other
        merged.setdefault(shown[key], []).extend(numbers)
    return {key: math.fsum(numbers) for key, numbers in merged.items()}


def _number(point: Point, field: Field) -> float | None:
    if not point.recorded:
        return None
    if point.kind in ("sum", "gauge"):
        return point.value
    return point.sum if field == "sum" else point.count


def _typed(attributes: Mapping[str, Any]) -> frozenset[Any]:
    return frozenset((name, type(value), _hashable(value)) for name, value in attributes.items())


def _hashable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(map(_hashable, value))
    if isinstance(value, Mapping):
        return frozenset((name, _hashable(item)) for name, item in value.items())
    return value
