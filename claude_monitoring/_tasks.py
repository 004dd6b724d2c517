"""What a finished task leaves in the metrics and on its span."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from claude_monitoring._labels import Pairs
from claude_monitoring._series import HistogramSeries, SumSeries
from claude_monitoring._usage import UsageRecorder
from claude_monitoring.types import AttributeValue

if TYPE_CHECKING:
    from claude_monitoring._scopes import Session
    from claude_monitoring._task import Task

__all__ = ["TaskMeters", "TaskRecorder"]


_MAX_CACHED = 1_000


class TaskMeters:
    """The series that one type of task writes to, looked up once; ``ended`` maps an outcome to count and duration."""

    __slots__ = ("_look_up", "active", "ended")

    def __init__(self, active: SumSeries, look_up: Callable[[str], tuple[SumSeries, HistogramSeries]]) -> None:
        self.active = active
        self.ended: dict[str, tuple[SumSeries, HistogramSeries]] = {}
        self._look_up = look_up

    def make(self, status: str) -> tuple[SumSeries, HistogramSeries]:
        """Look up the two series of an outcome, and remember them."""
        found = self._look_up(status)
        if not any(series.home.takes_anything(series) for series in found):  # what is lost is counted each time
            self.ended[status] = found
        return found


class TaskRecorder(UsageRecorder):
    """The part of a monitor that tasks report to."""

    _framework_base: Pairs
    _meters: dict[str, TaskMeters]

    def _span_attributes(self, session: Session | None, task_type: str = "") -> dict[str, AttributeValue]:
        raise NotImplementedError

    def _root(self) -> object:
        raise NotImplementedError

    def _task_meters(self, task_type: str) -> TaskMeters | None:
        if not self._live():
            return None

        def sums(name: str, **labels: str) -> Any:
            instrument = self._registry.of(name)
            return self._counted_series(instrument, self._framework_base, instrument.labels(labels))

        found = TaskMeters(
            sums("claude.tasks.active", task_type=task_type),
            lambda status: (
                sums("claude.tasks", task_type=task_type, status=status),
                sums("claude.task.duration", task_type=task_type, status=status),
            ),
        )
        if len(self._meters) < _MAX_CACHED and not found.active.home.takes_anything(found.active):
            self._meters[task_type] = found
        return found

    def _delivered(self, task: Task) -> None:
        if task.complexity:
            self._add("claude.story_points.delivered", task.complexity)
            tokens = task.input_tokens + task.output_tokens
            if tokens:
                self._add("claude.agent.efficiency_score", task.complexity / tokens)
        if task.task_type == "feature":
            self._add("claude.features.delivered", 1)

    def _task_gauges(self, task: Task) -> None:
        if task.items is not None and task.duration_s > 0:
            self._add("claude.task.throughput", task.items / task.duration_s, task_type=task.task_type)
        if task.quality is not None:
            self._add("claude.agent.quality_score", task.quality)

    def _describe_task(self, task: Task) -> None:
        if task.span is not None:
            if task.complexity:
                task.span.set_attribute("task.complexity", task.complexity)
            if task.status != "ok":
                task.span.set_attribute("task.status", task.status)
            for key in ("input_tokens", "output_tokens", "tool_calls", "cost_usd"):
                value = getattr(task, key)
                if value:
                    task.span.set_attribute(f"task.{key}", value)
