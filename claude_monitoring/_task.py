"""A task: one run of something that an agent was asked to do."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from threading import get_ident
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from claude_monitoring._context import current_frame
from claude_monitoring._labels import MAX_NAME_CHARS, as_text
from claude_monitoring._recorder import number
from claude_monitoring._scopes import Scope, Session, set_attribute, status_of
from claude_monitoring._wrapping import wrap
from claude_monitoring.types import AttributeValue

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from claude_monitoring._core import MonitorCore
    from claude_monitoring._tasks import TaskMeters

__all__ = ["Task", "TaskSpec", "name_of", "renew_lock"]

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")


_lock = threading.RLock()  # a signal handler may come while it is held


def renew_lock() -> None:
    """In a forked child: another thread of the parent may have held it."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()


class _Field(Generic[V]):
    """An attribute that most tasks never touch, so that they need not carry it."""

    def __init__(self, default: V) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, task: Task, owner: type) -> V:
        values = task._values
        return self._default if values is None else values.get(self._name, self._default)

    def __set__(self, task: Task, value: V) -> None:
        with _lock:
            if task._values is None:
                task._values = {}
            task._values[self._name] = value


class _Amount(_Field[float | None]):
    """A field that takes a number from 0 to ``most``; anything else is refused, so that a gauge never holds text."""

    def __init__(self, most: float) -> None:
        super().__init__(None)
        self._most = most

    def __set__(self, task: Task, value: float | None) -> None:
        if value is not None:
            value = _amount(task.monitor, f"task.{self._name}", value, self._most)
        super().__set__(task, value)


def _amount(monitor: MonitorCore, what: str, value: object, most: float = math.inf) -> float | None:
    """``value`` as a number from 0 to ``most``; ``None`` after a refusal."""
    try:
        amount = number(value)
        if not 0 <= amount <= most:
            raise ValueError(f"expected a number from 0 to {most:g}, got {amount}")
    except (TypeError, ValueError) as exc:
        monitor._refuse(what, exc)
        return None
    return amount


def name_of(function: Callable[..., Any]) -> str:
    """What a decorated callable is called on its span."""
    return getattr(function, "__qualname__", type(function).__name__)


class TaskSpec:
    """What is the same for every run of a task."""

    __slots__ = ("complexity", "delivers", "monitor", "name", "task_type")

    def __init__(self, monitor: MonitorCore, name: str | None, task_type: str, complexity: float) -> None:
        self.monitor = monitor
        self.name = as_text(name, MAX_NAME_CHARS) or None
        self.task_type = task_type if task_type.__class__ is str and task_type else as_text(task_type) or "general"
        monitor._look_at("task_type", self.task_type)
        is_none = complexity.__class__ is int and complexity == 0
        self.complexity = 0 if is_none else _amount(monitor, "complexity", complexity) or 0
        self.delivers = bool(self.complexity) or self.task_type == "feature"


class Task(Scope):
    """One run of a task; what ``with monitor.track_task(...) as task`` gives.

    Tokens, cost and tool calls recorded while it is current count for it and for the tasks around it.

    Attributes:
        name: The task's name; it goes to the span, never to a metric.
        parent: The task in which this one began, or ``None``.
        items: Items processed; with it the task reports its throughput in items per second.
        quality: 0 to 1; reported as the agent's quality score.
        input_tokens, output_tokens, cost_usd, tool_calls: What was recorded inside so far.
        duration_s: Seconds from start to end; 0 while it runs.
        status: ``ok``, ``error`` or ``cancelled`` once it ended; see ``set_outcome``.
    """

    __slots__ = ("_meters", "_session", "_spec", "_started", "_values", "duration_s", "parent", "status")

    items = _Amount(math.inf)
    quality = _Amount(1)
    input_tokens = _Field[float](0)
    output_tokens = _Field[float](0)
    tool_calls = _Field[int](0)
    cost_usd = _Field[float](0.0)
    _outcome = _Field[str]("")

    def __init__(self, spec: TaskSpec) -> None:
        self._spec = spec
        self.monitor = spec.monitor
        self.parent: Task | None = None
        self._session: Session | None = None
        self.span = None
        self._inside = None
        self._token = None
        self.status = ""
        self.duration_s = 0.0
        self._values: dict[str, Any] | None = None
        self._meters: TaskMeters | None = None

    @property
    def session(self) -> Session | None:
        """The explicit session around it, or ``None``; it may be another monitor's."""
        return self._session

    @property
    def task(self) -> Task:
        """Itself."""
        return self

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Use as a decorator: each call of ``function`` is a task of its own."""
        made = self._spec
        name = made.name or name_of(function)
        spec = TaskSpec(made.monitor, name, made.task_type, made.complexity)
        return wrap(function, lambda args, kwargs: Task(spec) if spec.monitor._on else None)  # noqa: ARG005

    @property
    def name(self) -> str:
        """The task's name."""
        return self._spec.name or "task"

    @property
    def task_type(self) -> str:
        """The label that the task's metrics carry."""
        return self._spec.task_type

    @property
    def complexity(self) -> float:
        """Story points."""
        return self._spec.complexity

    def set_outcome(self, status: str) -> None:
        """Say how the task went, whatever the block does: ``ok``, ``error`` or ``cancelled``.

        Raises:
            ValueError: With ``strict=True``, for any other text.
        """
        outcome = as_text(status)
        if outcome in {"ok", "error", "cancelled"}:
            self._outcome = outcome
        else:
            self._spec.monitor._refuse(
                "claude.tasks", ValueError(f"an outcome is 'ok', 'error' or 'cancelled', got {outcome!r}")
            )

    def add_up(self, **amounts: float) -> None:
        """Add to the totals of what was recorded inside, which threads of one task may do at the same time."""
        with _lock:
            if self._values is None:
                self._values = {}
            for name, amount in amounts.items():
                self._values.setdefault(name, 0)
                self._values[name] += amount  # not by get: a signal handler may come after any call

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Add an attribute to the task's span; metrics stay as they are."""
        set_attribute(self.span, key, value)

    def _look_around(self) -> None:
        """Find the parent; at the start, since a generator may be consumed elsewhere than it was made."""
        outer = current_frame()
        if outer is not None:
            self.parent = outer.task
            self._session = outer.session

    def _begin(self) -> None:
        monitor = self.monitor
        meters = monitor._meters.get(self._spec.task_type)
        if meters is not None and meters.active.owner == get_ident():
            meters.active.value += 1  # a series that is let go at this very moment is settled at the end
        else:
            if meters is None or not meters.active.owner:
                meters = monitor._task_meters(self._spec.task_type)
                if meters is None:
                    return
            meters.active.add(1)
        self._meters = meters
        if current_frame() is not None:
            self._look_around()
        if (tracing := monitor._tracing) is not None:  # _open_span, written out
            spec, here = self._spec, tracing.current()
            attributes = monitor._span_attributes(self._session, spec.task_type)
            self.span = span = tracing.tracer.start_span(spec.name or "task", here, attributes=attributes)
            self._otel_context = tracing.in_context(span, here)
        self._started = perf_counter()

    def _end(self, exc: BaseException | None, result: object) -> None:  # noqa: ARG002 - every scope takes both
        meters = self._meters
        if meters is None:
            return
        self.duration_s = seconds = perf_counter() - self._started
        self._meters = None
        status = self.status = "ok" if exc is None and self._values is None else self._outcome or status_of(exc)
        count, duration = meters.ended.get(status) or meters.make(status)
        active = meters.active
        if active.owner == get_ident() == count.owner:
            active.value -= 1
            count.value += 1
            if not (active.owner and count.owner):
                active.settle()
                count.settle()
        else:
            if not count.owner:  # it may have been let go
                count, duration = meters.make(status)
            active.add(-1)
            count.add(1)
        duration.record(seconds)
        if status == "ok":
            if self._spec.delivers:
                self.monitor._delivered(self)
        elif status == "error":
            self.monitor._count_error(exc)
        if self._values is not None:
            self.monitor._task_gauges(self)
        if self.span is not None:
            self._end_span(self.span, exc, status)

    def _end_span(self, span: Span, exc: BaseException | None, status: str) -> None:
        if self._values is None and status == "ok" and not self._spec.complexity:
            span.end()
        else:
            self.monitor._describe_task(self)
            self._close_span(exc, status)
