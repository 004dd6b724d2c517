"""track_performance: time, throughput, efficiency."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest

from claude_monitoring import AgentMonitor, track_performance
from claude_monitoring._performance import count_items
from claude_monitoring.testing import Captured


def throughput(seen: Captured, task_type: str = "performance") -> float:
    return seen.value("claude.task.throughput", task_type=task_type)


def test_time_and_throughput_of_the_items_are_recorded(seen: Captured) -> None:
    @track_performance(monitor=seen.monitor)
    def process_items(items: list[int]) -> int:
        return sum(items)

    assert process_items([1, 2, 3]) == 6
    assert seen.value("claude.task.duration", task_type="performance", status="ok") == 1
    assert throughput(seen) > 3  # three items in less than a second
    assert seen.series("claude.agent.efficiency_score") == {}


def test_what_is_measured_is_no_task_of_its_own(seen: Captured) -> None:
    @seen.monitor.track_performance(task_type="batch")
    def process(items: list[int]) -> None: ...

    process([1])
    assert seen.series("claude.tasks") == {}
    assert seen.value("claude.task.duration", task_type="batch") == 1


def test_efficiency_is_items_per_token_recorded_inside(seen: Captured) -> None:
    @track_performance(monitor=seen.monitor)
    def process(items: list[int]) -> None:
        for _ in items:
            seen.monitor.record_usage("m", input_tokens=40, output_tokens=10, cost_usd=0)

    process([1, 2, 3, 4])
    assert seen.value("claude.agent.efficiency_score") == 4 / 200


def test_tokens_inside_count_for_the_task_around_too(seen: Captured) -> None:
    @track_performance(monitor=seen.monitor)
    def process(items: list[int]) -> None:
        seen.monitor.record_usage("m", input_tokens=40, cost_usd=0)

    with seen.monitor.track_task("outer") as outer:
        process([1])
    assert outer.input_tokens == 40


def first(a: object, items: object = (1, 2), *, extra: object = None) -> object:
    return extra


class Sized:
    def __len__(self) -> int:
        return 6


@pytest.mark.parametrize(
    ("items", "args", "kwargs", "expected"),
    [
        (None, (0, [1, 2, 3]), {}, 3),
        (None, (0,), {"items": {1, 2}}, 2),
        (None, (0,), {}, 2),
        (None, (0, 12), {}, 12),
        (None, (0, "text"), {}, 4),
        (None, (0, Sized()), {}, 6),
        (None, (0, iter([1])), {}, None),
        ("a", ([1] * 5,), {}, 5),
        ("extra", (0,), {"extra": {"k": 1}}, 1),
        ("extra", (0,), {}, None),
        ("missing", (0,), {}, None),
        (0, ([1] * 4,), {}, 4),
        (-1, (0, [1]), {}, 1),
        (7, (0,), {}, None),
        ("return", (0,), {"extra": [1, 2, 3]}, 3),
        ("return", (0,), {"extra": 2.5}, 2.5),
        ("return", (0,), {"extra": None}, None),
        ("return", (0,), {"extra": True}, None),
        (lambda result: result["done"], (0,), {"extra": {"done": 8}}, 8),
    ],
)
def test_items_come_from_an_argument_the_result_or_a_callable(
    items: Any, args: tuple[Any, ...], kwargs: dict[str, Any], expected: float | None
) -> None:
    assert count_items(items, first, args, kwargs, first(*args, **kwargs)) == expected


def test_a_builtin_without_a_signature_is_no_obstacle() -> None:
    assert count_items("items", min, (), {"items": [1, 2]}, None) == 2
    assert count_items(None, min, ([1, 2],), {}, None) is None


def test_without_an_items_argument_the_first_collection_is_meant(seen: Captured) -> None:
    @track_performance(monitor=seen.monitor)
    def merge(label: str, rows: list[int], more: list[int]) -> None: ...

    merge("abc", [1, 2], [3])
    assert throughput(seen) > 0


def test_a_function_without_collections_has_time_and_no_throughput(seen: Captured) -> None:
    @track_performance(monitor=seen.monitor)
    def think(topic: str) -> None: ...

    think("x")
    assert seen.series("claude.task.throughput") == {}
    assert seen.value("claude.task.duration") == 1


class Worker:
    @track_performance
    def process(self, items: list[int]) -> int:
        return len(items)

    @classmethod
    @track_performance(task_type="class")
    def of_class(cls, items: list[int]) -> int:
        return len(items)

    @staticmethod
    @track_performance(task_type="static")
    def of_nobody(items: list[int]) -> int:
        return len(items)


def test_methods_of_every_kind_are_measured(seen: Captured) -> None:
    with AgentMonitor("active"):
        assert Worker().process([1, 2]) == 2
        assert Worker.of_class([1]) == 1
        assert Worker.of_nobody([1, 2, 3]) == 3
    for task_type in ("performance", "class", "static"):
        assert seen.value("claude.task.throughput", agent="active", task_type=task_type) > 0


def test_coroutines_and_generators_are_measured_to_their_end(seen: Captured) -> None:
    @track_performance(monitor=seen.monitor, task_type="coroutine")
    async def work(items: list[int]) -> None:
        await asyncio.sleep(0)

    @track_performance(monitor=seen.monitor, task_type="generator", items="return")
    def produce() -> Generator[int, None, int]:
        yield 1
        return 5

    @track_performance(monitor=seen.monitor, task_type="async generator", items="items")
    async def stream(items: int) -> AsyncIterator[int]:
        for item in range(items):
            yield item

    async def main() -> None:
        await work([1, 2])
        assert [item async for item in stream(2)] == [0, 1]

    asyncio.run(main())
    assert list(produce()) == [1]
    for task_type in ("coroutine", "generator", "async generator"):
        assert throughput(seen, task_type) > 0
        assert seen.value("claude.task.duration", task_type=task_type) == 1


def test_a_failure_is_timed_as_one_and_has_no_throughput(seen: Captured) -> None:
    @track_performance(monitor=seen.monitor)
    def process(items: list[int]) -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        process([1])
    assert seen.value("claude.task.duration", status="error") == 1
    assert seen.series("claude.task.throughput") == {}


class Uncountable:
    def __len__(self) -> int:
        raise RuntimeError("not today")


@pytest.mark.parametrize("items", [Uncountable(), math.nan, math.inf, -3], ids=lambda value: type(value).__name__)
def test_items_that_can_not_be_counted_are_told_and_the_time_is_kept(
    seen: Captured, caplog: pytest.LogCaptureFixture, items: Any
) -> None:
    @track_performance(monitor=seen.monitor)
    def process(items: Any) -> str:
        return "done"

    assert process(items) == process(items) == "done"
    assert seen.value("claude.task.duration", status="ok") == 2
    assert seen.series("claude.task.throughput") == {}
    assert seen.monitor.health().dropped == {"invalid_value": 2}
    assert ["can't be counted" in record.message for record in caplog.records] == [True]
    assert len(seen.spans) == 2


def test_a_callable_for_the_items_that_raises_harms_nobody(seen: Captured) -> None:
    @track_performance(monitor=seen.monitor, items=lambda result: result.count)
    def process() -> int:
        return 1

    assert process() == 1
    assert seen.monitor.health().dropped == {"invalid_value": 1}


def test_a_generator_begun_after_the_close_runs_as_if_undecorated(seen: Captured) -> None:
    monitor = AgentMonitor("m")

    @track_performance(monitor=monitor)
    def produce(items: int) -> Iterator[int]:
        yield from range(items)

    waiting = produce(3)
    monitor.close()
    assert list(waiting) == [0, 1, 2]
    assert list(produce(3)) == [0, 1, 2]


def test_off_the_function_is_let_through() -> None:
    @track_performance(monitor=AgentMonitor("m", enabled=False))
    def process(items: list[int]) -> int:
        return len(items)

    assert process([1]) == 1
