"""The decorators ``track_task``, ``track_performance`` and ``track_quality``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from claude_monitoring._performance import ItemsFrom, PerformanceScope
from claude_monitoring._quality import CoverageFrom, QualityGate, QualityScope
from claude_monitoring._scopes import Scope
from claude_monitoring._task import Task, TaskSpec, name_of
from claude_monitoring._wrapping import wrap

if TYPE_CHECKING:
    from claude_monitoring._core import MonitorCore
    from claude_monitoring._monitor import AgentMonitor

__all__ = [
    "decorate_task",
    "performance_decorator",
    "quality_decorator",
    "track_performance",
    "track_quality",
    "track_task",
]

P = ParamSpec("P")
R = TypeVar("R")


def _monitor(given: MonitorCore | None) -> MonitorCore:
    if given is not None:
        return given
    from claude_monitoring._monitor import active_monitor

    return active_monitor()


def decorate_task(
    function: Callable[P, R], monitor: AgentMonitor | None, name: str | None, task_type: str, complexity: float
) -> Callable[P, R]:
    """Wrap ``function`` so that each call is a task."""
    if monitor is not None:
        return Task(TaskSpec(monitor, name, task_type, complexity))(function)
    task_name = name or name_of(function)

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Scope | None:  # noqa: ARG001
        active = _monitor(None)
        return Task(TaskSpec(active, task_name, task_type, complexity)) if active._on else None

    return wrap(function, begin)


@overload
def track_task(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def track_task(
    *,
    monitor: AgentMonitor | None = None,
    name: str | None = None,
    task_type: str = "general",
    complexity: float = 0,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def track_task(
    function: Any = None,
    /,
    *,
    monitor: AgentMonitor | None = None,
    name: str | None = None,
    task_type: str = "general",
    complexity: float = 0,
) -> Any:
    """Decorate a function so that each call is a task, with or without parentheses.

    Serves functions, coroutine functions, generators, async generators and methods of every kind.

    Args:
        function: The function, where the decorator is used without parentheses.
        monitor: Who records; the innermost active monitor at the time of the call, else the default one, if left out.
        name: The task's name on its span; the function's qualified name if left out.
        task_type: A label: keep the number of different values small.
        complexity: Story points, delivered when the call succeeds.
    """
    if function is not None:
        return decorate_task(function, monitor, name, task_type, complexity)
    return lambda wrapped: decorate_task(wrapped, monitor, name, task_type, complexity)


def performance_decorator(
    monitor: AgentMonitor | None, *, items: ItemsFrom = None, task_type: str = "performance"
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The decorator that ``track_performance`` gives."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Scope | None:
            active = _monitor(monitor)
            if not active._on:
                return None
            spec = TaskSpec(active, name_of(function), task_type, 0)
            return PerformanceScope(spec, function, items, args, kwargs)

        return wrap(function, begin)

    return decorate


@overload
def track_performance(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def track_performance(
    *, monitor: AgentMonitor | None = None, items: ItemsFrom = None, task_type: str = "performance"
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def track_performance(
    function: Any = None,
    /,
    *,
    monitor: AgentMonitor | None = None,
    items: ItemsFrom = None,
    task_type: str = "performance",
) -> Any:
    """Decorate a function so that its time, throughput and efficiency are recorded.

    Records the time in ``claude.task.duration``, items per second in ``claude.task.throughput`` and items per token,
    where tokens were recorded inside, in ``claude.agent.efficiency_score``.

    Args:
        function: The function, where the decorator is used without parentheses.
        monitor: As for ``track_task``.
        items: Where the number of items comes from: the name or the position of an argument (0 is ``self`` in a
            method), ``"return"`` for the returned value, or a callable that is given the returned value. A number
            counts as itself, anything else by its length. If left out: the argument called ``items``, else the first
            that is a list, tuple or set.
        task_type: The label of the two task metrics.
    """
    decorate: Any = performance_decorator(monitor, items=items, task_type=task_type)
    return decorate if function is None else decorate(function)


def quality_decorator(
    monitor: AgentMonitor | None,
    *,
    test_coverage_required: float = 0.9,
    coverage: CoverageFrom = None,
    enforce: bool = False,
    gate: str = "test_coverage",
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The decorator that ``track_quality`` gives."""
    rule = QualityGate(gate, test_coverage_required, coverage, enforce=enforce)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Scope | None:  # noqa: ARG001
            return QualityScope(_monitor(monitor), name_of(function), rule)

        return wrap(function, begin)

    return decorate


@overload
def track_quality(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def track_quality(
    *,
    monitor: AgentMonitor | None = None,
    test_coverage_required: float = 0.9,
    coverage: CoverageFrom = None,
    enforce: bool = False,
    gate: str = "test_coverage",
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def track_quality(
    function: Any = None,
    /,
    *,
    monitor: AgentMonitor | None = None,
    test_coverage_required: float = 0.9,
    coverage: CoverageFrom = None,
    enforce: bool = False,
    gate: str = "test_coverage",
) -> Any:
    """Decorate a function with a quality gate on test coverage; the result goes to ``claude.quality_gate``.

    Args:
        function: The function, where the decorator is used without parentheses.
        monitor: As for ``track_task``.
        test_coverage_required: Share of lines that tests have to cover, 0 to 1.
        coverage: Where the share comes from: the path of a ``.coverage`` data file, a ``coverage.json`` or a
            ``coverage.xml``, or a callable without arguments that returns it. If left out: what the function returns
            (a mapping with the key ``coverage``), else one of these files in the working directory, if it was written
            during the call.
        enforce: Raise when the gate failed or its result is unknown.
        gate: The gate's name as a label.

    Raises:
        QualityGateError: From the decorated function, with ``enforce=True``.
        ValueError: At once, for a share outside 0 to 1.
    """
    decorate: Any = quality_decorator(
        monitor, test_coverage_required=test_coverage_required, coverage=coverage, enforce=enforce, gate=gate
    )
    return decorate if function is None else decorate(function)
