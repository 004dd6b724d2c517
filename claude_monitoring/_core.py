"""What a monitor is made of: its state, its attributes, its session. The public methods are in ``_monitor``."""

from __future__ import annotations

import logging
from itertools import count
from typing import TYPE_CHECKING, Any

from claude_monitoring import _process, _task
from claude_monitoring._catalog import MetricSpec
from claude_monitoring._context import current_frame
from claude_monitoring._health import DropReason, Health, HealthCounters
from claude_monitoring._instruments import registry_of
from claude_monitoring._labels import MAX_CONTENT_CHARS, Pairs, as_text, monitor_labels, plain
from claude_monitoring._once import import_what_registers_fork_hooks, once
from claude_monitoring._pipeline import Pipeline, import_what_recording_begins_with
from claude_monitoring._recorder import as_dict, write
from claude_monitoring._redirection import monitors, redirections
from claude_monitoring._repository import repository_attributes
from claude_monitoring._scopes import Session
from claude_monitoring._sealed import Sealed, warn_once
from claude_monitoring._settings import Settings, hint
from claude_monitoring._tasks import TaskMeters, TaskRecorder
from claude_monitoring._tracing import Tracing, forget_providers, tracing_for
from claude_monitoring._version import __version__
from claude_monitoring._weak import members
from claude_monitoring.errors import CardinalityError
from claude_monitoring.types import AttributeValue

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from claude_monitoring.exporters.custom import CustomExporter

__all__ = ["MonitorCore"]

_MAX_CACHED = 1_000
_NATIVE_ALONE = frozenset({"anthropic.provider", "anthropic.custom_base_url", "terminal.type", "user.id"})


class MonitorCore(TaskRecorder):
    """The inner part of ``AgentMonitor``."""

    _settings: Settings
    _exporters: tuple[CustomExporter, ...]
    _tracer_provider: TracerProvider | None
    _meter_provider: MeterProvider | None
    _logger_provider: Any
    _parent: MonitorCore | None
    _on: bool
    _closed: bool
    _native_name = ""
    """What Claude Code calls this agent, where that is one of its own (``Explore``)."""
    _begins_explicitly = False
    """Whether the monitor's own session begins with the first record that is in no explicit one, not at once."""

    def _name(self, agent_id: str, project_name: str | None, sprint: str | None) -> None:
        shown = as_text(agent_id)
        if not isinstance(agent_id, str) or not shown.strip():
            self._refuse("agent_id", ValueError(f"agent_id is the agent's name, got {shown!r}; 'unknown' is used"))
            agent_id = "unknown"
        agent_id = str.__str__(agent_id)
        self._look_at("agent_id", agent_id, always=True)
        project = as_text(project_name) or dict(self._settings.resource_attributes).get("project.name")
        self.agent_id = agent_id
        self.project_name = project
        self.sprint = sprint

    def _look_at(self, what: str, value: str, *, always: bool = False) -> None:
        """With ``strict`` refuse a name that looks like one of a number without bound; else say so if ``always``."""
        if self._on and (always or self._strict):
            from claude_monitoring._looks import look_of, private_kind  # its patterns take time to build

            look = look_of(value)
            if look is None:
                return
            shown = f"({private_kind(value)})" if private_kind(value) else repr(value[:80])
            if self._strict:
                raise CardinalityError(f"{what} {shown} {look.why}")
            warn_once(("looks", what), f"claude_monitoring: {what} {shown} {look.why}; it is on every series")

    def _start_anew(self) -> None:
        """The state that is made on first use, at the beginning and again in a forked child."""
        if self._on:
            import_what_registers_fork_hooks()
            with Sealed(), once:
                import_what_recording_begins_with(
                    self._settings, custom=bool(self._exporters), spans=self._tracer_provider is None
                )
        self._ready = self._connecting = False
        self._health = HealthCounters()
        self._last_health = Health(enabled=False)
        self._pipeline: Pipeline | None = None
        self._session: Session | None = None
        self._standard: dict[str, Pairs] = {}
        self._framework_base: Pairs = ()
        self._agent_base: Pairs = ()
        self._meters: dict[str, TaskMeters] = {}
        self._on_spans: dict[tuple[str, str] | str, dict[str, AttributeValue]] = {}
        self._tracing: Tracing | None = None
        self._sequence = count()
        self._interactions = count(1)
        self._forget()
        for handle in members(self._handles):
            handle.unbind()

    def _say_settings(self) -> None:
        for problem in self._settings.problems:
            warn_once(
                ("setting", problem),
                f"claude_monitoring: {problem}",
                level=logging.WARNING if self._on else logging.DEBUG,
            )
        given = self._exporters or self._tracer_provider or self._meter_provider or self._logger_provider
        line = "" if given else hint(self._settings)
        if line:
            warn_once(("hint", line), f"claude_monitoring: {line}", level=logging.WARNING if self._on else logging.INFO)

    # -- state -----------------------------------------------------------------------------------

    def _recording(self) -> bool:
        """Whether recording goes anywhere; counts a use after ``close``."""
        if self._on:
            return True
        if self._closed:
            self._health.drop(DropReason.ALREADY_CLOSED)
            warn_once(
                ("closed", self.agent_id),
                f"claude_monitoring: the monitor of agent {self.agent_id!r} is closed and records nothing more",
            )
        return False

    def _live(self) -> bool:
        if not self._on:
            return self._recording()
        if not self._ready:
            with once:  # many threads may be the first; the session begins once
                if not self._ready and not self._connecting and self._on:
                    self._connecting = True
                    try:
                        self._connect()
                        self._ready = True
                    finally:
                        self._connecting = False
        if self._pipeline is None and self._on:  # a signal handler came in the middle of the first use
            self._health.drop(DropReason.DURING_START)
            return False
        return self._on

    def _connect(self) -> None:
        """Take a pipeline and begin the implicit session; once, and again in a forked child."""
        root = self._parent
        if root is not None:
            root._live()
        pipeline = _process.acquire(self._settings, self._exporters, self._meter_provider)
        self._use(pipeline)
        self._count_agent(begins=True)
        if root is None:
            self._session = Session(self, None)
            if not self._begins_explicitly:
                self._session.start()
        pipeline.start()

    def _use(self, pipeline: Pipeline) -> None:
        labels = {"agent": self.agent_id, "project": self.project_name, "sprint": self.sprint}
        self._framework_base = monitor_labels(labels, self._settings.private_labels)
        self._agent_base = tuple(pair for pair in self._framework_base if pair[0] == "agent")
        if self._health is not pipeline.health:
            for reason, times in self._health.dropped().items():
                pipeline.health.drop(DropReason(reason), times)
            self._health = pipeline.health
        self._registry = registry_of(pipeline.store)
        with Sealed():
            self._tracing = tracing_for(pipeline, self._tracer_provider, ask_host=not redirections)
        self._pipeline = pipeline

    @property
    def session_id(self) -> str:
        """The id of the session that recording here and now belongs to; empty before the first use."""
        frame = current_frame()
        session = self._own_session(frame.session if frame is not None else None)
        if session is None:
            return ""
        if session is self._root()._session and not session.is_open and self._ready and self._on:
            with once:  # the monitor's own, which was not needed as long as there were explicit ones
                if not session.is_open:
                    session.start()
        return session.session_id

    def _own_session(self, nearest: Session | None) -> Session | None:
        """The innermost explicit session of this monitor or its family, from ``nearest`` outwards, else its own."""
        root = self._root()
        while nearest is not None and nearest.monitor._root() is not root:
            nearest = nearest.outer
        return nearest or root._session

    def _root(self) -> MonitorCore:
        return self if self._parent is None else self._parent._root()

    # -- attributes ------------------------------------------------------------------------------

    def _base(self, spec: MetricSpec) -> Pairs:
        if spec.base == "framework":
            return self._framework_base
        if spec.base == "agent":
            return self._agent_base
        return self._standard_attributes(self.session_id)

    def _standard_attributes(self, session_id: str) -> Pairs:
        """What Claude Code puts on every point, record and span (reference section 3)."""
        found = self._standard.get(session_id)
        if found is None:
            settings = self._settings
            attributes: dict[str, object] = {}
            if settings.include_resource_attributes:
                attributes.update(settings.resource_attributes)
            attributes["user.id"] = settings.user_id
            attributes["session.id"] = session_id if settings.include_session_id and session_id else None
            attributes["app.version"] = __version__ if settings.include_version else None
            attributes["app.entrypoint"] = "claude_monitoring" if settings.include_entrypoint else None
            if settings.include_repository:
                attributes.update(repository_attributes())
            attributes["anthropic.provider"] = settings.anthropic_provider
            attributes["anthropic.custom_base_url"] = settings.custom_base_url
            attributes["terminal.type"] = settings.terminal_type
            attributes["agent.name"] = self._native_name or self.agent_id
            attributes["project.name"] = self.project_name
            if len(self._standard) >= _MAX_CACHED:  # many sessions: the oldest are not needed any more
                self._standard.clear()
            as_given = {*dict(settings.resource_attributes), "user.id", *(("agent.name",) if self._native_name else ())}
            found = self._standard[session_id] = monitor_labels(attributes, settings.private_labels, as_given)
        return found

    def _span_attributes(self, session: Session | None, task_type: str = "") -> dict[str, AttributeValue]:
        """Who, where and, for a task, its type; kept, since every span wants them.

        What is about the user, the terminal and the API stays with Claude Code's own spans, metrics and events:
        OpenTelemetry copies attribute by attribute, 0.7 us each.
        """
        found = self._on_spans.get(task_type) if session is None else None
        if found is not None:
            return found
        own = self._own_session(session)
        session_id = own.session_id if own is not None else ""
        found = self._on_spans.get((session_id, task_type))
        if found is None:
            found = {key: value for key, value in self._standard_attributes(session_id) if key not in _NATIVE_ALONE}
            if self.sprint is not None:
                found["sprint"] = self.sprint
            if task_type:
                found["task.type"] = task_type
            if len(self._on_spans) >= _MAX_CACHED:
                self._on_spans.clear()
            self._on_spans[session_id, task_type] = found
            if session is None and own is not None:
                self._on_spans[task_type] = found
        return found

    def _content(self, what: str, attributes: object) -> dict[str, AttributeValue]:
        """A caller's attributes of a span or an event as plain values; what is no mapping is refused."""
        if attributes is None:
            return {}
        try:
            given = as_dict(attributes, "attributes")
        except TypeError as exc:
            self._refuse(what, exc)
            return {}
        found = ((as_text(key), plain(raw, MAX_CONTENT_CHARS)) for key, raw in given.items())
        return {key: value for key, value in found if key and value is not None}

    def _session_started(self, session: Session) -> None:
        root = self._root()
        root._begins_explicitly = root._begins_explicitly or not (root._ready or root._connecting)
        if not self._live():
            return
        self._add("claude.sessions", 1)
        self._add("claude.sessions.active", 1)
        # Not by _add: an explicit session is not current yet, and the monitor's own is not known yet.
        standard = self._standard_attributes(session.session_id)
        self._count_life("session.id", standard, begins=True)
        if not self._reports_native:
            return
        counted = self._registry.of("claude_code.session.count")
        write(self._counted_series(counted, standard, counted.labels({"start_type": session.start_type})), 1)

    def _session_ended(self, session: Session, duration_s: float) -> None:
        self._count_life("session.id", self._standard_attributes(session.session_id), begins=False)
        self._add("claude.sessions.active", -1)
        self._add("claude.session.duration", duration_s)

    def _count_agent(self, *, begins: bool) -> None:
        self._count_life("agent", self._agent_base, begins=begins)
        self._count_life("agent.name", self._standard_attributes(""), begins=begins)

    def _count_life(self, key: str, base: Pairs, *, begins: bool) -> None:
        """One more, or one less, uses the attribute ``key`` of ``base``; with the last one its series end."""
        if self._pipeline is not None:
            lives = self._pipeline.store.lives
            for pair in base:
                if pair[0] == key:
                    (lives.begin if begins else lives.end)(pair)

    def _retire(self, labels: dict[str, object]) -> None:
        """Let the series of this agent that have these labels end."""
        if self._pipeline is None:
            return
        wanted = dict(monitor_labels(labels, self._settings.private_labels))
        agents = (*self._agent_base, *(pair for pair in self._standard_attributes("") if pair[0] == "agent.name"))
        for key, value in agents:  # one of the two is on every series
            self._pipeline.store.lives.ask({**wanted, key: value})

    def _end_session(self) -> None:
        """End the implicit session; a child's belongs to its parent."""
        if self._session is not None:
            self._session.finish(None)

    def _stop(self) -> Pipeline | None:
        """End the session and stop recording, once; what comes back is the pipeline to give back."""
        with once:
            if self._closed:
                return None
            self._end_session()
            self._count_agent(begins=False)
            pipeline, self._pipeline = self._pipeline, None
            self._closed = True
            self._on = False
            self._forget()
            self._meters.clear()
            for handle in members(self._handles):
                handle.unbind()
            return pipeline


def _in_child() -> None:
    forget_providers()
    _task.renew_lock()
    for monitor in members(monitors):
        monitor._start_anew()


def _at_exit() -> None:
    for monitor in members(monitors):
        monitor._end_session()


_process.on_fork(_in_child)
_process.before_exit(_at_exit)
