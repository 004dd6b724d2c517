"""Bound handles: the same numbers as the calls by name, in any mix, from any thread."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_monitoring import AgentMonitor
from claude_monitoring.testing import Captured, capture


def test_a_handle_writes_to_the_series_that_the_call_by_name_writes_to(seen: Captured) -> None:
    labels = {"endpoint": "/books"}
    counter = seen.monitor.counter("requests", labels)
    gauge = seen.monitor.gauge_handle("queue_depth", labels)
    histogram = seen.monitor.histogram_handle("wait_seconds", labels)
    for amount in (1, 2.5):
        counter.add(amount)
        seen.monitor.increment("requests", amount, labels)
        gauge.set(amount)
        histogram.record(amount)
        seen.monitor.histogram("wait_seconds", amount, labels)
    counter.add()
    assert seen.series("claude.requests") == {frozenset({("agent", "backend"), ("endpoint", "/books")}): 8}
    assert seen.value("claude.queue_depth", endpoint="/books") == 2.5
    assert seen.value("claude.wait_seconds", endpoint="/books") == 4


def test_a_handle_knows_the_names_of_the_catalogue(seen: Captured) -> None:
    seen.monitor.counter("api_calls", {"model": "m"}).add(3)
    seen.monitor.gauge_handle("context_usage_percent").set(45.3)
    seen.monitor.histogram_handle("task_duration_seconds").record(3600)
    assert seen.value("claude.api.calls", model="m") == 3
    assert seen.value("claude.context.usage") == 45.3
    assert seen.value("claude.task.duration") == 1


def test_a_handle_of_a_native_metric_follows_the_session(seen: Captured) -> None:
    commits = seen.monitor.counter("claude_code.commit.count")
    for session in ("s-1", "s-2"):
        with seen.monitor.session(session):
            commits.add()
            commits.add()
    assert seen.value("claude_code.commit.count", {"session.id": "s-1"}) == 2
    assert seen.value("claude_code.commit.count", {"session.id": "s-2"}) == 2


def test_an_up_down_counter_goes_down_by_handle(seen: Captured) -> None:
    running = seen.monitor.counter("concurrent_requests")
    for change in (1, 1, 1, -1, -1):
        running.add(change)
    assert seen.value("claude.concurrent_requests") == 1


def test_labels_are_taken_when_the_handle_is_made(seen: Captured) -> None:
    labels = {"endpoint": "/books"}
    counter = seen.monitor.counter("requests", labels)
    labels["endpoint"] = "/authors"
    counter.add()
    assert seen.value("claude.requests", endpoint="/books") == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, True, "5", None], ids=repr)
@pytest.mark.parametrize("kind", ["counter", "gauge_handle", "histogram_handle"])
def test_a_bad_amount_is_refused_before_and_after_the_handle_is_bound(seen: Captured, kind: str, bad: Any) -> None:
    handle = getattr(seen.monitor, kind)("x")
    use = next(getattr(handle, name) for name in ("add", "set", "record") if hasattr(handle, name))
    use(bad)
    use(2)
    use(bad)
    assert seen.monitor.health().dropped == {"invalid_value": 2}
    assert seen.value("claude.x") == (1 if kind == "histogram_handle" else 2)


@pytest.mark.parametrize("kind", ["counter", "histogram_handle"])
def test_a_negative_amount_is_refused_where_sums_only_grow(seen: Captured, kind: str) -> None:
    handle = getattr(seen.monitor, kind)("x")
    use = handle.add if kind == "counter" else handle.record
    use(5)
    use(-1)
    assert seen.monitor.health().dropped == {"invalid_value": 1}
    assert seen.value("claude.x") == (5 if kind == "counter" else 1)


def test_a_gauge_may_be_negative(seen: Captured) -> None:
    depth = seen.monitor.gauge_handle("depth")
    depth.set(-1)
    depth.set(-2.5)
    assert seen.value("claude.depth") == -2.5


@pytest.mark.parametrize(("name", "reason"), [("1st", "invalid_name"), ("task_duration_seconds", "kind_conflict")])
def test_a_bad_name_is_counted_at_each_use(seen: Captured, name: str, reason: str) -> None:
    handle = seen.monitor.counter(name)
    handle.add()
    handle.add()
    assert seen.monitor.health().dropped == {reason: 2}


def test_strict_raises_at_the_use_of_a_handle(seen: Captured) -> None:
    monitor = AgentMonitor("strict", strict=True)
    with pytest.raises(ValueError, match="begin with a letter"):
        monitor.counter("1st").add()
    with pytest.raises(ValueError, match="negative"):
        monitor.counter("x").add(-1)
    with pytest.raises(TypeError, match="number"):
        monitor.gauge_handle("y").set("5")  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", [5, "ab", ["a"]])
def test_labels_that_are_no_mapping_are_refused_at_use(seen: Captured, labels: Any) -> None:
    seen.monitor.counter("x", labels).add()
    assert seen.monitor.health().dropped == {"invalid_value": 1}


def test_after_the_close_each_use_is_a_counted_no_op(seen: Captured) -> None:
    monitor = AgentMonitor("m")
    handles = (monitor.counter("a").add, monitor.gauge_handle("b").set, monitor.histogram_handle("c").record)
    for use in handles:
        use(1)
    monitor.close()
    before = monitor.health().dropped.get("already_closed", 0)
    for use in handles:
        use(1)
        use(1)
    assert monitor.health().dropped["already_closed"] == before + 6
    assert [seen.value(f"claude.{name}", agent="m") for name in "abc"] == [1, 1, 1]


def test_a_handle_of_a_monitor_that_is_off_does_nothing() -> None:
    monitor = AgentMonitor("m", enabled=False)
    monitor.counter("a").add(1)
    monitor.counter("1st").add(1)
    assert monitor.health().dropped == {}


def test_one_handle_in_many_threads_loses_nothing(seen: Captured) -> None:
    counter = seen.monitor.counter("jobs")
    histogram = seen.monitor.histogram_handle("wait_seconds")
    gate = threading.Barrier(8)

    def work() -> None:
        gate.wait(10)
        for _ in range(10_000):
            counter.add()
            histogram.record(0.5)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen.value("claude.jobs") == 80_000
    assert seen.value("claude.wait_seconds") == 80_000


WAYS = st.sampled_from(["handle", "other handle", "name", "thread"])
STEPS = st.lists(st.tuples(WAYS, st.integers(0, 2**40)), max_size=40)


@given(STEPS)
def test_whatever_way_the_amounts_come_the_sum_is_exact(steps: list[tuple[str, int]]) -> None:
    with capture() as seen:
        handle, other = seen.monitor.counter("jobs", {"k": "v"}), seen.monitor.counter("claude_jobs_total", {"k": "v"})
        for way, amount in steps:
            if way == "name":
                seen.monitor.increment("jobs", amount, {"k": "v"})
            elif way == "thread":
                thread = threading.Thread(target=handle.add, args=(amount,))
                thread.start()
                thread.join()
            else:
                (handle if way == "handle" else other).add(amount)
    assert seen.value("claude.jobs", k="v") == sum(amount for _, amount in steps)


def test_every_series_within_the_bounds_is_found_by_the_fast_path() -> None:
    with AgentMonitor("shop", enabled=True) as monitor:
        known = [
            (f"calls_{number // 1_000}", {"user": f"u{number % 100}", "tool": f"t{number // 100 % 10}"})
            for number in range(20_000)
        ]
        for name, labels in known:
            monitor.increment(name, 1, labels)
        assert monitor.health().series >= 20_000
        for name, labels in known:
            assert tuple(labels.items()) in monitor._counters[name]


def test_what_the_fast_path_knows_is_bounded_however_many_ways_there_are_to_say_the_same() -> None:
    with AgentMonitor("shop", enabled=True) as monitor:
        most = 0
        for number in range(20_000):
            monitor.increment("edits", 1, {"file_path": f"/src/{number}.py"})
            most = max(most, len(monitor._counters["edits"]))
        assert 8_000 <= most <= 8_100
        assert monitor.health().series < 10
