"""A metric held against its rule, or a metric of ours against the catalogue."""

from __future__ import annotations

import re
from typing import Any

from claude_monitoring._catalog import CATALOG, MetricSpec
from claude_monitoring.conformance.common import check_values
from claude_monitoring.conformance.found import Found, Shown
from claude_monitoring.conformance.items import Item, values_of
from claude_monitoring.conformance.nearest import nearest
from claude_monitoring.conformance.rules import METRICS, STANDARD

__all__ = ["check_metric", "check_own_metric"]

_DELTA, _CUMULATIVE = 1, 2
_SUM = {"counter": True, "up_down_counter": False}
_OWN_NAME = re.compile(r"claude\.[A-Za-z][\w.\-/]*")
_BEYOND_BOUNDS = "otel.metric.overflow"  # the attribute that the specification gives to what a bound kept apart


def check_metric(item: Item, found: Found) -> None:
    """A metric of Claude Code: section 4 of the reference."""
    metric = item.raw
    rule = METRICS.get(metric.name)
    if rule is None:
        found.add(
            item, "unknown name", metric.name, f"a metric of Claude Code{nearest(metric.name, METRICS)}", metric.name
        )
        return
    _check_descriptor(item, rule.spec, found)
    for point, path in _points(item):
        if getattr(point, "flags", 0):
            found.add(item, "point flags", metric.name, "none", point.flags, path=path)
        if getattr(point, "exemplars", ()):
            found.add(item, "exemplar", metric.name, "none", len(point.exemplars), path=path)
        if metric.WhichOneof("data") == "sum":
            _check_number(item, point, path, found)
        check_values(item, point.attributes, metric.name, {**STANDARD, **rule.attributes}, found, path=path)


def check_own_metric(item: Item, found: Found) -> None:
    """A metric of ours: a row of the catalogue, or a user's own, of which nothing but the name is known."""
    metric = item.raw
    spec = CATALOG.get(metric.name)
    if spec is None:
        is_ours = metric.name.startswith("claude.monitoring.")
        if is_ours or not _OWN_NAME.fullmatch(metric.name):
            expected = "a metric of the catalogue" if is_ours else "a name that begins with claude."
            found.add(item, "unknown name", metric.name, expected + nearest(metric.name, CATALOG), metric.name)
        return
    _check_descriptor(item, spec, found)
    allowed = {*spec.base_keys, *spec.keys, *item.resource_values, _BEYOND_BOUNDS}
    for point, path in _points(item):
        for key in sorted({pair.key for pair in point.attributes} - allowed):
            expected = f"one of {', '.join((*spec.base_keys, *spec.keys))}" if spec.base_keys or spec.keys else "none"
            value = values_of(point.attributes)[0][key]
            found.add(item, "extra attribute", metric.name, expected, value, attribute=key, path=path)


def _check_descriptor(item: Item, spec: MetricSpec, found: Found) -> None:
    metric = item.raw
    if metric.unit != spec.unit:
        found.add(item, "unit", spec.name, repr(spec.unit), metric.unit)
    if metric.description != spec.description:
        found.add(item, "description", spec.name, repr(spec.description), metric.description)
    kind = metric.WhichOneof("data") or "nothing"
    right = "sum" if spec.kind in _SUM else spec.kind
    if kind != right:
        found.add(item, "metric kind", spec.name, right, Shown(kind))
        return
    data = getattr(metric, kind)
    if spec.kind in _SUM and data.is_monotonic != _SUM[spec.kind]:
        words = {True: "monotonic", False: "not monotonic"}
        found.add(item, "monotonicity", spec.name, words[_SUM[spec.kind]], Shown(words[data.is_monotonic]))
    if kind != "gauge" and data.aggregation_temporality not in (_DELTA, _CUMULATIVE):
        found.add(item, "temporality", spec.name, "1 (delta) or 2 (cumulative)", data.aggregation_temporality)


def _points(item: Item) -> list[tuple[Any, str]]:
    kind = item.raw.WhichOneof("data")
    key = {"exponential_histogram": "exponentialHistogram"}.get(kind, kind)
    points = getattr(item.raw, kind).data_points if kind else ()
    return [(point, f"{item.path}.{key}.dataPoints[{index}]") for index, point in enumerate(points)]


def _check_number(item: Item, point: Any, path: str, found: Found) -> None:
    name = item.raw.name
    which = point.WhichOneof("value")
    if which != "as_double":
        shown = {"as_int": "asInt", None: "no value"}[which]
        found.add(item, "value type", name, "asDouble, for counts too", Shown(shown), path=path)
    elif not 0 <= point.as_double < float("inf"):
        found.add(item, "value", name, "a number that is not negative", point.as_double, path=path)
    if not 0 < point.start_time_unix_nano <= point.time_unix_nano:
        shown = f"{point.start_time_unix_nano} to {point.time_unix_nano}"
        found.add(item, "time", name, "startTimeUnixNano, and timeUnixNano not before it", Shown(shown), path=path)
