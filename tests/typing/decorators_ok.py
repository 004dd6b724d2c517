"""What users write, and what type checkers make of it; ``test_typing.py`` runs mypy over it, and the file itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any

from typing_extensions import assert_type

from claude_monitoring import AgentMonitor, Task, track_performance, track_quality, track_task

monitor = AgentMonitor("agent")


@track_task
def bare(first: int, *rest: str, key: bool = False) -> list[str]:
    return [str(first), *rest, str(key)]


@track_task(monitor=monitor, name="named", task_type="feature", complexity=5)
def with_options(first: int, *rest: str, key: bool = False) -> list[str]:
    return [str(first), *rest, str(key)]


@monitor.track_task
def by_bare_monitor(first: int) -> str:
    return str(first)


@monitor.track_task("named", complexity=3, task_type="feature")
def by_monitor(first: int) -> str:
    return str(first)


@track_performance
def bare_performance(items: list[str]) -> int:
    return len(items)


@track_performance(monitor=monitor, items="rows")
def performance(rows: list[str]) -> int:
    return len(rows)


@monitor.track_performance
def bare_performance_by_monitor(rows: list[str]) -> int:
    return len(rows)


@monitor.track_performance(items=0)
def performance_by_monitor(rows: list[str]) -> int:
    return len(rows)


@track_quality
def bare_quality() -> dict[str, float]:
    return {"coverage": 0.95}


@track_quality(monitor=monitor, test_coverage_required=0.9, coverage=lambda: 0.95, enforce=True)
def quality(path: str) -> bytes:
    return path.encode()


@monitor.track_quality
def bare_quality_by_monitor(path: str) -> dict[str, float]:
    return {"coverage": 0.95, path: 1}


@monitor.track_quality(test_coverage_required=0.8, coverage=lambda: 0.95)
def quality_by_monitor(path: str) -> bytes:
    return path.encode()


@track_task
@track_performance(items="return")
@track_quality(test_coverage_required=0.5, coverage=lambda: 0.95)
def stacked(path: str) -> list[bytes]:
    return [path.encode()]


@track_task
async def coroutine(value: int) -> str:
    return str(value)


@track_task
def generator(value: int) -> Generator[int, str, bool]:
    received = yield value
    return bool(received)


@track_task
async def async_generator(value: int) -> AsyncIterator[int]:
    yield value


@contextlib.contextmanager
@track_task
def resource(value: int) -> Iterator[str]:
    yield str(value)


class Agent:
    @track_task
    def method(self, value: int) -> str:
        return str(value)

    @monitor.track_task("named")
    async def async_method(self, value: int) -> str:
        return str(value)

    @classmethod
    @track_task
    def class_method(cls, value: int) -> str:
        return str(value)

    @staticmethod
    @track_task
    def static_method(value: int) -> str:
        return str(value)

    @property
    @track_task
    def answer(self) -> int:
        return 42


class Other(Agent):
    @track_task
    def method(self, value: int) -> str:
        return super().method(value) + "!"


def plain_functions() -> None:
    assert_type(bare(1, "a", key=True), list[str])
    assert_type(with_options(1, "a", key=True), list[str])
    assert_type(by_bare_monitor(first=1), str)
    assert_type(by_monitor(first=1), str)
    assert_type(bare_performance(["a"]), int)
    assert_type(performance(rows=["a"]), int)
    assert_type(bare_performance_by_monitor(["a"]), int)
    assert_type(performance_by_monitor(["a"]), int)
    assert_type(bare_quality(), dict[str, float])
    assert_type(quality("a"), bytes)
    assert_type(bare_quality_by_monitor("a"), dict[str, float])
    assert_type(quality_by_monitor(path="a"), bytes)
    assert_type(stacked("a"), list[bytes])
    as_value: Callable[[str], bytes] = track_task(str.encode)
    assert_type(as_value("1"), bytes)


async def other_kinds() -> None:
    pending = assert_type(coroutine(1), Coroutine[Any, Any, str])
    assert_type(await pending, str)
    assert_type(generator(1), Generator[int, str, bool])
    assert_type(async_generator(1), AsyncIterator[int])
    async for item in async_generator(1):
        assert_type(item, int)
    with resource(1) as text:
        assert_type(text, str)


async def methods() -> None:
    agent = Other()
    assert_type(agent.method(1), str)
    assert_type(Agent.method(agent, value=1), str)
    assert_type(await agent.async_method(1), str)
    assert_type(Agent.class_method(1), str)
    assert_type(agent.static_method(1), str)
    assert_type(agent.answer, int)


async def context_managers() -> None:
    with monitor.track_task("named", complexity=2) as task:
        assert_type(task, Task)
    async with monitor.track_task("named") as task:
        assert_type(task, Task)


async def main() -> None:
    plain_functions()
    await other_kinds()
    await methods()
    await context_managers()


if __name__ == "__main__":
    with monitor:
        asyncio.run(main())
