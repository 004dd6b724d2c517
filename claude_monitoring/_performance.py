"""How fast a function was: time, items per second, items per token."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sized
from numbers import Real
from typing import Any

from claude_monitoring._health import DropReason
from claude_monitoring._recorder import number
from claude_monitoring._scopes import status_of
from claude_monitoring._sealed import warn_once
from claude_monitoring._task import Task, TaskSpec

__all__ = ["ItemsFrom", "PerformanceScope", "count_items"]

ItemsFrom = str | int | Callable[..., Any] | None
"""Name or position of an argument, ``"return"``, a callable given the returned value, or ``None`` to look for it."""


def _size(value: object) -> float | None:
    if not isinstance(value, bool) and isinstance(value, Real):
        return number(value)
    return len(value) if isinstance(value, Sized) else None


def _arguments(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
    try:
        bound = inspect.signature(getattr(function, "__func__", function)).bind(*args, **kwargs)
    except (TypeError, ValueError):  # a builtin without a signature, or a method that is not bound yet
        return kwargs
    bound.apply_defaults()
    return bound.arguments


def count_items(
    source: ItemsFrom,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    result: object,
) -> float | None:
    """How many items one call processed; ``None`` if that can't be told."""
    if callable(source):
        return _size(source(result))
    if source == "return":
        return _size(result)
    if isinstance(source, int):
        return _size(args[source]) if -len(args) <= source < len(args) else None
    arguments = _arguments(function, args, kwargs)
    if source is not None:
        return _size(arguments.get(source))
    if "items" in arguments:
        return _size(arguments["items"])
    return next((float(len(value)) for value in arguments.values() if isinstance(value, list | tuple | set)), None)


class PerformanceScope(Task):
    """One call under ``track_performance``: measured like a task, but not counted as one."""

    __slots__ = ("_args", "_function", "_kwargs", "_source")

    def __init__(
        self,
        spec: TaskSpec,
        function: Callable[..., Any],
        source: ItemsFrom,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        super().__init__(spec)
        self._started = 0.0
        self._function = function
        self._source = source
        self._args = args
        self._kwargs = kwargs

    def _begin(self) -> None:
        monitor = self._spec.monitor
        if monitor._live():
            self._look_around()
            if monitor._tracing is not None:
                self._open_span(self.name, monitor._span_attributes(self._session, self._spec.task_type))
            self._started = time.perf_counter()

    def _end(self, exc: BaseException | None, result: object) -> None:
        if not self._started:
            return
        self.duration_s = time.perf_counter() - self._started
        self.status = status_of(exc)
        monitor = self._spec.monitor
        try:
            monitor._add("claude.task.duration", self.duration_s, task_type=self.task_type, status=self.status)
            if exc is None:
                self._measure(result)
        finally:
            if self.span is not None:
                monitor._describe_task(self)
                self._close_span(exc, self.status)

    def _measure(self, result: object) -> None:
        monitor = self._spec.monitor
        try:
            items = count_items(self._source, self._function, self._args, self._kwargs, result)
            if items is not None and items < 0:
                raise ValueError(f"a number of items is not negative, got {items}")
        except Exception as exc:  # noqa: BLE001 - the host's own len() or callable
            monitor._health.drop(DropReason.INVALID_VALUE)
            warn_once(
                ("items", self.name),
                f"claude_monitoring: the items of {self.name} can't be counted: {type(exc).__name__}: {exc}; "
                "its throughput is not recorded",
            )
            return
        self.items = items
        if self.items is None:
            return
        monitor._task_gauges(self)
        tokens = self.input_tokens + self.output_tokens
        if tokens:
            monitor._add("claude.agent.efficiency_score", self.items / tokens)
