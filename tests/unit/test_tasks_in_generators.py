"""Tasks in generators: what is open inside stays open inside, and the caller sees none of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from opentelemetry.trace import get_current_span

from claude_monitoring._context import current_task
from claude_monitoring.testing import Captured, capture


@pytest.fixture
def seen() -> Iterator[Captured]:
    with capture("backend") as captured:
        yield captured
        assert not get_current_span().get_span_context().is_valid  # OpenTelemetry's context is as it was, too


def here() -> str:
    task = current_task()
    return task.name if task is not None else "nothing"


def test_a_task_opened_in_a_generator_stays_current_there_over_its_pauses(seen: Captured) -> None:
    log: list[str] = []

    @seen.monitor.track_task
    def steps() -> Iterator[None]:
        with seen.monitor.track_task("opened inside"):
            log.append(here())
            yield
            log.append(here())
            seen.monitor.record_usage("claude-sonnet-4-5", 10, 5)
        log.append(here().rpartition(".")[2])

    with seen.monitor.track_task("the caller"):
        for _ in steps():
            log.append(here())  # noqa: PERF401 - in the order of the steps
    assert log == ["opened inside", "the caller", "opened inside", "steps"]


def test_a_tracked_coroutine_awaited_in_a_tracked_async_generator_keeps_its_task(seen: Captured) -> None:
    log: list[str] = []

    @seen.monitor.track_task("inner")
    async def inner() -> None:
        log.append(here())
        await asyncio.sleep(0)
        log.append(here())

    @seen.monitor.track_task("outer")
    async def outer() -> AsyncIterator[None]:
        await inner()
        log.append(here())
        yield
        await asyncio.sleep(0)
        log.append(here())

    async def use() -> None:
        async for _ in outer():
            log.append(here())  # noqa: PERF401

    asyncio.run(use())
    assert log == ["inner", "inner", "outer", "nothing", "outer"]


def test_a_generators_parent_is_the_task_in_which_it_is_consumed(seen: Captured) -> None:
    parents: list[str] = []

    @seen.monitor.track_task
    def steps() -> Iterator[None]:
        task = current_task()
        assert task is not None
        parents.append(task.parent.name if task.parent is not None else "nothing")
        yield

    made = steps()
    with seen.monitor.track_task("the consumer"):
        list(made)
    assert parents == ["the consumer"]


def test_one_decorator_on_two_functions_keeps_each_ones_name(seen: Captured) -> None:
    track = seen.monitor.track_task(task_type="chore")

    @track
    def first() -> str:
        return here()

    @track
    def second() -> str:
        return here()

    assert [first().rpartition(".")[2], second().rpartition(".")[2]] == ["first", "second"]


def test_a_forgotten_generator_that_is_closed_later_takes_nothing_from_what_is_under_way(seen: Captured) -> None:
    def forgotten() -> Iterator[None]:
        with seen.monitor.track_task("forgotten"), seen.monitor.span("inside"):
            yield

    generator = forgotten()
    next(generator)
    with seen.monitor.track_task("later"):
        generator.close()  # as the garbage collector would, at any moment
        assert here() == "later"
    assert here() == "nothing"


def test_generators_that_take_turns_leave_nothing_behind(seen: Captured) -> None:
    def steps(name: str) -> Iterator[None]:
        with seen.monitor.track_task(name):
            yield

    first, second = steps("first"), steps("second")
    next(first)
    next(second)
    assert list(first) == []
    assert here() == "second"
    assert list(second) == []
    assert here() == "nothing"
    assert seen.value("claude.tasks", status="ok") == 2


def test_a_task_that_was_never_left_ends_with_the_function_around_it(seen: Captured) -> None:
    @seen.monitor.track_task
    def around() -> None:
        seen.monitor.track_task("never left").__enter__()

    around()
    assert here() == "nothing"
