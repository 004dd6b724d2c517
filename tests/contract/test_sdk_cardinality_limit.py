"""The same exploding program on the OpenTelemetry SDK with its own limit, and on ours: what each can still tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from claude_monitoring.testing import Captured, capture

CALLS = 10_000
MODELS = ("opus", "sonnet", "haiku")
VERSION = tuple(int(part) for part in metadata.version("opentelemetry-sdk").split(".")[:2])

pytestmark = pytest.mark.skipif(VERSION < (1, 45), reason="the SDK has a limit from 1.45 on")

Rows = list[tuple[Mapping[str, Any], float]]


def calls() -> Iterable[dict[str, str]]:
    for number in range(CALLS):
        yield {
            "user": f"user-{number}",
            "model": MODELS[number % 3],
            "status": "error" if number % 20 == 0 else "ok",
        }


def by_sdk() -> Rows:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    counter = provider.get_meter("shop").create_counter("calls")
    for labels in calls():
        counter.add(1, labels)
    data = reader.get_metrics_data()
    assert data is not None
    points = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    provider.shutdown()
    return [(point.attributes or {}, point.value) for point in points if isinstance(point, NumberDataPoint)]


def by_us(seen: Captured) -> Rows:
    for labels in calls():
        seen.monitor.increment("calls", 1, labels)
    return [(dict(labels), value) for labels, value in seen.series("claude.calls").items()]


def sums(rows: Rows, key: str) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for attributes, value in rows:
        found[attributes.get(key)] += int(value)
    return found


TRUTH = {
    key: Counter(labels[key] for labels in calls())  # the program's own count
    for key in ("model", "status")
}


def test_the_sdk_keeps_the_sum_and_loses_every_breakdown() -> None:
    rows = by_sdk()
    assert sum(value for _, value in rows) == CALLS
    assert len(rows) == 2_001
    for key, truth in TRUTH.items():
        found = sums(rows, key)
        assert found[None] == CALLS - 2_000  # in the overflow point, which has no attribute of the caller's
        assert all(found[value] < truth[value] for value in truth)


def test_ours_keeps_the_sum_and_every_breakdown_but_the_one_that_explodes() -> None:
    with capture() as seen:
        rows = by_us(seen)
    assert sum(value for _, value in rows) == CALLS
    assert len(rows) <= 210
    for key, truth in TRUTH.items():
        assert sums(rows, key) == truth
    users = sums(rows, "user")
    assert users["__other__"] == CALLS - 200
    assert all(users[f"user-{number}"] == 1 for number in range(200))


def test_within_the_limits_both_say_the_same() -> None:
    few = [{"model": model, "status": status} for model in MODELS for status in ("ok", "error")] * 7
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    counter = provider.get_meter("shop").create_counter("calls")
    with capture() as seen:
        for labels in few:
            counter.add(1, labels)
            seen.monitor.increment("calls", 1, labels)
        ours = {
            frozenset(pair for pair in attributes if pair[0] != "agent"): value
            for attributes, value in seen.series("claude.calls").items()
        }
    data = reader.get_metrics_data()
    assert data is not None
    points: Any = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert ours == {frozenset(point.attributes.items()): point.value for point in points}
    provider.shutdown()
