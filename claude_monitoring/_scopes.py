"""Scopes: sessions and spans. Each is a context manager, an async one, and what the decorators start and end."""

from __future__ import annotations

import time
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING

from claude_monitoring._context import current_frame, enter, leave, leave_block, reset
from claude_monitoring._labels import MAX_CONTENT_CHARS, as_text, plain
from claude_monitoring._sealed import Sealed, report_internal_error
from claude_monitoring.errors import CardinalityError
from claude_monitoring.types import AttributeValue

if TYPE_CHECKING:
    from opentelemetry.trace import Span
    from typing_extensions import Self

    from claude_monitoring._context import Frame
    from claude_monitoring._core import MonitorCore
    from claude_monitoring._task import Task

__all__ = ["InnerScope", "MonitorFrame", "Scope", "Session", "SpanScope", "new_id", "set_attribute", "status_of"]


def status_of(exc: BaseException | None) -> str:
    """The outcome of a call: ``ok``, ``error`` or ``cancelled``.

    Leaving early is no error: a closed generator and ``sys.exit()`` with success count as ``ok``; an interrupt
    and a cancellation, which asyncio and trio raise from ``BaseException``, as ``cancelled``.
    """
    if exc is None or isinstance(exc, GeneratorExit):
        return "ok"
    if isinstance(exc, SystemExit):
        return "ok" if exc.code in {None, 0} else "error"
    if isinstance(exc, Exception):
        return "error"
    return "cancelled"


def new_id() -> str:
    """A new UUID as text."""
    from uuid import uuid4  # slow to import

    return str(uuid4())


def set_attribute(span: Span | None, key: object, value: object) -> None:
    """Add an attribute, made plain, to a span; OpenTelemetry would print a traceback for many a value."""
    if span is not None:
        with Sealed():
            fit = plain(value, MAX_CONTENT_CHARS)
            name = as_text(key)
            if fit is not None and name:
                span.set_attribute(name, fit)


def _record_exception(span: Span, exc: BaseException) -> None:
    """The event that ``span.record_exception`` makes, with texts of bounded length, whatever ``str(exc)`` does."""
    kind = type(exc)
    try:
        from traceback import format_exception

        trace = "".join(format_exception(kind, exc, exc.__traceback__))
    except Exception:  # noqa: BLE001 - the exception's own methods
        trace = ""
    name = kind.__qualname__ if kind.__module__ in {"builtins", None} else f"{kind.__module__}.{kind.__qualname__}"
    texts = {"type": name, "message": exc, "stacktrace": trace, "escaped": "True"}
    span.add_event("exception", {f"exception.{key}": as_text(text, MAX_CONTENT_CHARS) for key, text in texts.items()})


class Scope:
    """Something with a start and an end that can be made current and put aside again."""

    __slots__ = ("_inside", "_left", "_otel_context", "_otel_token", "_token", "monitor", "span")

    monitor: MonitorCore
    span: Span | None
    _token: Token[Frame | None] | None
    _inside: Frame | None
    _left: Token[Frame | None]

    @property
    def session(self) -> Session | None:
        """The nearest explicit session around it, of whichever monitor, or ``None``."""
        raise NotImplementedError

    @property
    def task(self) -> Task | None:
        """The innermost task, or ``None``."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin, without becoming current."""
        try:
            self._begin()
        except CardinalityError:
            pass  # counted; a scope raises nothing, whatever the policy
        except Exception as exc:  # noqa: BLE001 - our own fault is never the host's
            report_internal_error(exc)

    def resume(self) -> None:
        """Become current in this context."""
        self._token = enter(self._inside or self)
        if self.span is not None and (tracing := self.monitor._tracing) is not None:
            self._otel_token = tracing.attach(self._otel_context)

    def open(self) -> None:
        """``start`` and ``resume``, written out: each call from here would cost as much as an addition to a cell."""
        try:
            self._begin()
        except CardinalityError:
            pass
        except Exception as exc:  # noqa: BLE001 - our own fault is never the host's
            report_internal_error(exc)
        self._token = enter(self)
        if self.span is not None and (tracing := self.monitor._tracing) is not None:
            self._otel_token = tracing.attach(self._otel_context)

    def shut(self, exc: BaseException | None, result: object = None) -> None:
        """``suspend`` and ``finish``, likewise."""
        token, self._token = self._token, None
        try:
            reset(token)  # type: ignore[arg-type]
        except Exception:  # noqa: BLE001, S110 - there is none, or it is of another context: nothing to undo
            pass
        else:
            if self.span is not None and (tracing := self.monitor._tracing) is not None:
                tracing.detach(self._otel_token)
        try:
            self._end(exc, result)
        except CardinalityError:
            pass
        except Exception as internal:  # noqa: BLE001 - our own fault is never the host's
            report_internal_error(internal)

    def pause(self) -> None:
        """As ``suspend``, but what was current inside is current again after the next ``resume``."""
        inside = current_frame()
        self._inside = None if inside is self else inside
        self.suspend(is_pause=True)

    def suspend(self, *, is_pause: bool = False) -> None:
        """Undo the latest ``resume``."""
        token, self._token = self._token, None
        here = token is not None and leave(token)  # an interrupt may have come before the resume
        if here:
            self._detach(is_pause=is_pause)

    def _detach(self, *, is_pause: bool = False) -> None:
        # Elsewhere there is nothing to undo, and OpenTelemetry would log a traceback.
        if self.span is not None and (tracing := self.monitor._tracing) is not None:
            if is_pause:
                self._otel_context = tracing.current()  # a generator's body may have opened spans of its own
            tracing.detach(self._otel_token)

    @property
    def was_left_out_of_turn(self) -> bool:
        """Whether it ended while something else was current."""
        return self._token is None and hasattr(self, "_left")

    @property
    def outer_frame(self) -> Frame | None:
        """What was current before, once it was left out of turn."""
        outer = self._left.old_value
        return None if outer is Token.MISSING else outer

    def give_back(self) -> None:
        """Let that be OpenTelemetry's current context which was so before it; it was left out of turn."""
        if self.span is not None and (tracing := self.monitor._tracing) is not None:
            before = self._otel_token.old_value
            tracing.attach(tracing.nothing if before is Token.MISSING else before)

    def finish(self, exc: BaseException | None, result: object = None) -> None:
        """End, once."""
        try:
            self._end(exc, result)
        except CardinalityError:
            pass
        except Exception as internal:  # noqa: BLE001 - our own fault is never the host's
            report_internal_error(internal)

    def _begin(self) -> None:
        raise NotImplementedError

    def _end(self, exc: BaseException | None, result: object) -> None:
        raise NotImplementedError

    def _open_span(
        self, name: str, attributes: dict[str, AttributeValue], *, native: bool = False, start_time: int | None = None
    ) -> None:
        tracing = self.monitor._tracing
        if tracing is not None:
            tracer = tracing.native_tracer if native else tracing.tracer
            here = tracing.current()  # asked for once: each of the SDK's steps would ask again
            self.span = tracer.start_span(name, here, attributes=attributes, start_time=start_time)
            self._otel_context = tracing.in_context(self.span, here)

    def _close_span(self, exc: BaseException | None, status: str) -> None:
        span = self.span
        if span is None:
            return
        if status != "ok":
            from opentelemetry.trace import Status, StatusCode

            if exc is not None:
                _record_exception(span, exc)
            why = f": {type(exc).__name__}" if exc is not None else ""
            span.set_status(Status(StatusCode.ERROR, status + why))
        span.end()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        if token is not None:
            skipped = leave_block(self, token)
            if skipped is None:
                self._left = token
            else:
                self._detach()
                for scope in skipped:
                    scope.give_back()
        self.finish(exc)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, exc, trace)


class InnerScope(Scope):
    """A scope that takes its session and task from what is around it."""

    __slots__ = ("_session", "_task")

    def __init__(self, monitor: MonitorCore) -> None:
        self.monitor = monitor
        self.span = None
        self._inside = None
        self._token = None
        self._look_around()

    def _look_around(self) -> None:
        outer = current_frame()
        self._task = outer.task if outer is not None else None
        self._session = outer.session if outer is not None else None

    @property
    def session(self) -> Session | None:
        return self._session

    @property
    def task(self) -> Task | None:
        return self._task


class MonitorFrame(InnerScope):
    """A monitor in a ``with``: it is the active one inside."""

    __slots__ = ()

    def _begin(self) -> None:
        """Nothing of its own."""

    def _end(self, exc: BaseException | None, result: object) -> None:
        """Nothing of its own."""


class SpanScope(InnerScope):
    """A span of the caller's own, made with ``monitor.span``."""

    __slots__ = ("_attributes", "_name")

    def __init__(self, monitor: MonitorCore, name: str, attributes: dict[str, AttributeValue]) -> None:
        super().__init__(monitor)
        self._name = name
        self._attributes = attributes

    def _begin(self) -> None:
        self._look_around()
        if self.monitor._live():
            self._open_span(self._name, {**self.monitor._span_attributes(self.session), **self._attributes})

    def _end(self, exc: BaseException | None, result: object) -> None:  # noqa: ARG002 - every scope takes both
        self._close_span(exc, status_of(exc))

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Add an attribute to the span; without one, nothing happens."""
        set_attribute(self.span, key, value)


class Session(InnerScope):
    """One session: ``session_id`` on Claude Code's metrics and events while it is current."""

    __slots__ = ("_started", "is_open", "outer", "session_id", "start_type")

    def __init__(self, monitor: MonitorCore, session_id: str | None, start_type: str = "fresh") -> None:
        super().__init__(monitor)
        self.outer = self._session
        self.session_id = as_text(session_id) or new_id()
        self.start_type = as_text(start_type)
        self.is_open = False
        self._started = 0.0

    @property
    def session(self) -> Session | None:
        """Itself."""
        return self

    def _begin(self) -> None:
        self._look_around()
        self.outer = self._session
        if self.monitor._recording():
            self._started = time.perf_counter()
            self.is_open = True
            self.monitor._session_started(self)

    def _end(self, exc: BaseException | None, result: object) -> None:  # noqa: ARG002 - every scope takes both
        if self.is_open:
            self.is_open = False
            self.monitor._session_ended(self, time.perf_counter() - self._started)
