"""AgentMonitor: the one object that a program makes."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, cast, overload

from claude_monitoring import _process
from claude_monitoring._context import current_frame
from claude_monitoring._decorators import decorate_task, performance_decorator, quality_decorator
from claude_monitoring._event_loops import run_beside_the_loop
from claude_monitoring._handles import CounterHandle, GaugeHandle, Handle, HistogramHandle
from claude_monitoring._health import Health
from claude_monitoring._labels import MAX_NAME_CHARS, as_text
from claude_monitoring._native_recorder import NativeRecorder
from claude_monitoring._once import once
from claude_monitoring._performance import ItemsFrom
from claude_monitoring._pricing import PriceTable
from claude_monitoring._quality import CoverageFrom
from claude_monitoring._recorder import as_dict
from claude_monitoring._redirection import monitors, redirect
from claude_monitoring._scopes import MonitorFrame, Session, SpanScope
from claude_monitoring._sealed import Sealed
from claude_monitoring._settings import Settings
from claude_monitoring._task import Task, TaskSpec
from claude_monitoring.types import Labels

if TYPE_CHECKING:
    from types import TracebackType

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider
    from typing_extensions import Self

    from claude_monitoring.cardinality import CardinalityReport
    from claude_monitoring.exporters.custom import CustomExporter

__all__ = ["AgentMonitor", "active_monitor"]

P = ParamSpec("P")
R = TypeVar("R")


class AgentMonitor(NativeRecorder):
    """Records what one agent does and delivers it as the environment, or the arguments, say.

    Recording never raises, waits for the network or prints more than one line for one fault, unless ``strict``.

    Args:
        agent_id: The agent's name: label ``agent``, and ``agent.name`` on Claude Code's metrics.
        agent_level: Reported as ``claude_agent_level``.
        agent_xp: Reported as ``claude_agent_xp``.
        project_name: Label ``project``; ``project.name`` of ``OTEL_RESOURCE_ATTRIBUTES`` if left out.
        sprint: Label ``sprint``.
        enabled: Turn telemetry on or off, whatever ``CLAUDE_CODE_ENABLE_TELEMETRY`` says.
        export_to_grafana: Send metrics, events and spans by OTLP to the collector that feeds Grafana: the one that
            the environment names, else ``http://localhost:4318``.
        exporters: Your own exporters, beside those of the environment.
        prices: US dollars for a million tokens by model: ``{"my-model": {"input": 3, "output": 15}}``.
        strict: Raise on misuse instead of counting and warning.
        endpoint: Base of the OTLP endpoint, for all signals.
        protocol: ``grpc``, ``http/protobuf`` or ``http/json``, for all signals.
        headers: Headers for the OTLP endpoint.
        interval_s: Seconds between exports of metrics.
        service_name: ``service.name`` of the resource.
        temporality: ``cumulative`` or ``delta``.
        max_series: Series kept of each metric (2,000). This and what follows is about labels that explode.
        max_label_values: Values kept of each label of a metric (200); later ones become ``__other__``.
        max_total_series: Series kept of all metrics together (50,000).
        cardinality_policy: What happens past a bound: ``collapse`` labels, ``drop`` measurements that would need a new
            series, or ``raise`` ``CardinalityError`` for them as well.
        labels: The only labels that a caller may use, by metric: ``{"api_calls": ["model"]}``; others are left out.
        series_ttl_s: Seconds after which a series that nobody writes to is let go; by default it stays.
        private_labels: What stands for an e-mail address or a secret in a label: ``redact`` (``__redacted__``) or
            ``hash`` (a hash that is different in every process).
        spool: A folder for what could not be delivered by the end; the next process of this service sends it.
        flush_on_sigterm: Send what is recorded when ``SIGTERM`` comes, before the handler that the host has set by now,
            or before the program ends. Only in the main thread.
        settings: Complete settings, instead of the environment and the arguments from ``strict`` on.
        tracer_provider: Where spans go; the host's global provider, if set, is found without it.
        meter_provider: Where metrics go, instead of our own exporters: they are observed through asynchronous
            instruments, so a histogram is seen as the counters ``<name>.count`` and ``<name>.sum``.
        logger_provider: Where events go, instead of our own exporters (OpenTelemetry 1.37 or later). A global one is
            not found by itself, since OpenTelemetry's logs API has no public module yet.

    Raises:
        ConfigurationError: With ``strict=True``, for a setting that can't be used.
        ValueError: With ``strict=True``, for an empty ``agent_id`` or one that looks like a uuid, a path or the like.
    """

    def __init__(  # noqa: PLR0913 - all but the first by keyword, each described above
        self,
        agent_id: str = "main",
        *,
        agent_level: float | None = None,
        agent_xp: float | None = None,
        project_name: str | None = None,
        sprint: str | None = None,
        enabled: bool | None = None,
        export_to_grafana: bool = False,
        exporters: Sequence[CustomExporter] = (),
        prices: PriceTable | None = None,
        strict: bool | None = None,
        endpoint: str | None = None,
        protocol: str | None = None,
        headers: Mapping[str, str] | str | None = None,
        interval_s: float | None = None,
        service_name: str | None = None,
        temporality: str | None = None,
        max_series: int | None = None,
        max_label_values: int | None = None,
        max_total_series: int | None = None,
        cardinality_policy: str | None = None,
        labels: Mapping[str, Collection[str]] | None = None,
        series_ttl_s: float | None = None,
        private_labels: str | None = None,
        spool: str | os.PathLike[str] | None = None,
        flush_on_sigterm: bool | None = None,
        settings: Settings | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: Any = None,
    ) -> None:
        super().__init__()
        given: dict[str, Any] = {
            "enabled": enabled,
            "export_to_grafana": export_to_grafana or None,
            "strict": strict,
            "endpoint": endpoint,
            "protocol": protocol,
            "headers": headers,
            "interval_s": interval_s,
            "service_name": service_name,
            "temporality": temporality,
            "max_series": max_series,
            "max_label_values": max_label_values,
            "max_total_series": max_total_series,
            "cardinality_policy": cardinality_policy,
            "labels": labels,
            "series_ttl_s": series_ttl_s,
            "private_labels": private_labels,
            "spool": spool,
            "flush_on_sigterm": flush_on_sigterm,
        }
        self._settings = settings or Settings.load(**{key: value for key, value in given.items() if value is not None})
        self._strict = self._settings.strict if strict is None else strict
        self._exporters = tuple(exporters)
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._logger_provider = logger_provider
        self._prices = prices
        self._query_source = "main"
        self._parent: AgentMonitor | None = None
        self._on = self._settings.enabled or (
            enabled is not False and bool(exporters or tracer_provider or meter_provider or logger_provider)
        )
        self._closed = False
        self._handles: weakref.WeakSet[Handle] = weakref.WeakSet()
        self._frames_of_with: list[MonitorFrame] = []
        self._beside: dict[str, AgentMonitor] = {}
        self._start_anew()
        redirect(self)
        self._name(agent_id, project_name, sprint)
        monitors.add(self)
        self._say_settings()
        if self._on and self._settings.flush_on_sigterm:
            from claude_monitoring._sigterm import flush_on_sigterm as install

            install()
        if agent_level is not None:
            self.gauge("claude.agent.level", agent_level)
        if agent_xp is not None:
            self.gauge("claude.agent.xp", agent_xp)

    # -- sessions and tasks ---------------------------------------------------------------------------

    def session(
        self, session_id: str | None = None, *, start_type: Literal["fresh", "continue", "resume"] = "fresh"
    ) -> Session:
        """A session of its own, as a context manager; many may be open at once in one process.

        What is recorded outside of such sessions belongs to one that begins with the first record of that kind.

        Args:
            session_id: Its id; a new UUID if left out. It is found on Claude Code's metrics, events and spans.
            start_type: Whether it begins, or goes on with an earlier one.
        """
        return Session(self, session_id, start_type)

    @overload
    def track_task(self, name: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def track_task(self, name: str | None = None, *, complexity: float = 0, task_type: str = "general") -> Task: ...
    def track_task(self, name: Any = None, *, complexity: float = 0, task_type: str = "general") -> Any:
        """Track a task: ``with monitor.track_task("name") as task:``, or as a decorator with or without parentheses.

        Records ``claude.tasks`` by outcome, the tasks under way, the duration, errors by type and, on success, the
        story points and for ``task_type="feature"`` a feature delivered; opens a span with the task's name.

        Args:
            name: What the task is called on its span; a function's own name if left out. Never a metric label.
            complexity: Story points.
            task_type: A label: keep the number of different values small.
        """
        if callable(name):
            return decorate_task(name, self, None, task_type, complexity)
        return Task(TaskSpec(self, name, task_type, complexity))

    @overload
    def track_performance(self, function: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def track_performance(
        self, *, items: ItemsFrom = None, task_type: str = "performance"
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
    def track_performance(self, function: Any = None, **options: Any) -> Any:
        """Decorate a function so that its time, throughput and efficiency are recorded; see ``track_performance``."""
        decorator = performance_decorator(self, **options)
        return decorator if function is None else decorator(function)

    @overload
    def track_quality(self, function: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def track_quality(
        self,
        *,
        test_coverage_required: float = 0.9,
        coverage: CoverageFrom = None,
        enforce: bool = False,
        gate: str = "test_coverage",
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
    def track_quality(self, function: Any = None, **options: Any) -> Any:
        """Decorate a function with a quality gate; see ``track_quality``."""
        decorator = quality_decorator(self, **options)
        return decorator if function is None else decorator(function)

    # -- spans, events, handles ------------------------------------------------------------------

    def span(self, name: str, attributes: Mapping[str, object] | None = None) -> SpanScope:
        """A span of your own, as a context manager; spans opened inside are its children."""
        return SpanScope(self, as_text(name, MAX_NAME_CHARS), self._content("span", attributes))

    def counter(self, name: str, labels: Labels | None = None) -> CounterHandle:
        """A handle for ``increment(name, ..., labels)`` in hot loops: ``handle.add(1)``."""
        return CounterHandle(self, "counter", name, labels)

    def gauge_handle(self, name: str, labels: Labels | None = None) -> GaugeHandle:
        """A handle for ``gauge(name, ..., labels)`` in hot loops: ``handle.set(1.5)``."""
        return GaugeHandle(self, "gauge", name, labels)

    def histogram_handle(self, name: str, labels: Labels | None = None) -> HistogramHandle:
        """A handle for ``histogram(name, ..., labels)`` in hot loops: ``handle.record(1.5)``."""
        return HistogramHandle(self, "histogram", name, labels)

    def child(self, agent_id: str) -> AgentMonitor:
        """A monitor for a subagent: same session and pipeline, a name of its own, ``query_source`` ``subagent``."""
        child = AgentMonitor(
            agent_id,
            project_name=self.project_name,
            sprint=self.sprint,
            exporters=self._exporters,
            prices=self._prices,
            strict=self._strict,
            settings=self._settings,
            tracer_provider=self._tracer_provider,
            meter_provider=self._meter_provider,
            logger_provider=self._logger_provider,
        )
        child._query_source = "subagent"
        child._parent = self
        child._on = self._on
        child._closed = self._closed
        return child

    def _derived(self, key: str, make: Callable[[], AgentMonitor]) -> AgentMonitor:
        """A monitor beside this one, made once; it is closed with it."""
        with once:
            if key not in self._beside:
                self._beside[key] = make()
            return self._beside[key]

    def _subagent(self, agent_id: str) -> AgentMonitor:
        child = self._derived(agent_id, lambda: self.child(agent_id.lower()))
        child._native_name = agent_id
        child._reports_native = self._reports_native
        return child

    def _without_native(self) -> AgentMonitor:
        """This agent without the metrics, events and spans that a Claude Code reports itself."""
        child = self._derived("", lambda: self.child(self.agent_id))
        child._query_source = self._query_source
        child._reports_native = False
        return child

    # -- delivery --------------------------------------------------------------------------------

    def flush(self, timeout_s: float | None = None) -> bool:
        """Send everything recorded so far.

        Args:
            timeout_s: Upper bound in seconds for all exporters together; ``CLAUDE_CODE_OTEL_FLUSH_TIMEOUT_MS``
                (5 s) if left out.

        Returns:
            Whether every exporter that pushes acknowledged all of it in time. With nothing to send, ``True``.
        """
        pipeline = self._pipeline
        return pipeline is None or pipeline.flush(self._settings.flush_timeout_s if timeout_s is None else timeout_s)

    def close(self, timeout_s: float | None = None) -> bool:
        """End the session, send everything and stop recording; a second call does nothing.

        Args:
            timeout_s: Upper bound in seconds; ``CLAUDE_CODE_OTEL_SHUTDOWN_TIMEOUT_MS`` (2 s) if left out.

        Returns:
            As for ``flush``.
        """
        for beside in list(self._beside.values()):
            beside.close(0)
        pipeline = self._stop()
        if pipeline is None:
            return True
        bound_s = self._settings.shutdown_timeout_s if timeout_s is None else timeout_s
        delivered = _process.release(pipeline, bound_s)
        self._last_health = pipeline.report(enabled=False)
        return delivered

    def retire(self, labels: Labels) -> None:
        """Say that what these labels stand for has ended: ``monitor.retire({"task_type": "import"})``.

        Series of this agent that have all of them are let go once their last values were delivered, so that their
        places are free. A session, and a monitor that is closed, retire theirs by themselves. A use that comes later
        begins a new series.
        """
        with Sealed():
            try:
                given = {as_text(key): value for key, value in as_dict(labels, "labels").items()}
            except TypeError as exc:
                self._refuse("retire", exc)
                return
            if given:
                self._retire(given)

    def cardinality_report(self) -> CardinalityReport:
        """Which labels of which metrics have how many values, and what was done about it; ``print`` it."""
        from claude_monitoring.cardinality import make_report

        return make_report(self._pipeline.store if self._pipeline is not None else None)

    def health(self) -> Health:
        """What was delivered, what was lost and why, as numbers; see ``Health``."""
        if self._pipeline is not None:
            return self._pipeline.report(enabled=self._on)
        return replace(self._last_health, enabled=self._on, dropped=self._health.dropped())

    def __enter__(self) -> Self:
        self._frames_of_with.append(MonitorFrame(self).__enter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._frames_of_with:
            self._frames_of_with.pop().__exit__(None, None, None)
        self.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._frames_of_with.pop().__exit__(None, None, None)
        await run_beside_the_loop(self.close)


_default: AgentMonitor | None = None


def active_monitor() -> AgentMonitor:
    """The monitor of the innermost scope under way here, else the default one, made from the environment."""
    frame = current_frame()
    if frame is not None:
        return cast("AgentMonitor", frame.monitor)
    global _default  # noqa: PLW0603 - one default a process
    if _default is None or _default._closed:
        _default = AgentMonitor()
    return _default
