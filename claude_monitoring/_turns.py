"""Claude Code's spans (reference section 6): what they have in common, and the turn."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING

from claude_monitoring._labels import content, content_length
from claude_monitoring._scopes import InnerScope, new_id, set_attribute
from claude_monitoring._told import subagent_id, told_unix_nano
from claude_monitoring.types import AttributeValue

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from claude_monitoring._event_recorder import EventRecorder

__all__ = ["REDACTED", "Interaction", "NativeScope", "current_turn", "milliseconds"]

REDACTED = "<REDACTED>"
"""What stands for a text that no switch lets out (reference section 12)."""

_turn: ContextVar[Interaction | None] = ContextVar("claude_monitoring_turn", default=None)
current_turn = _turn.get
"""The turn under way here, or ``None``."""

_SAY_THE_SUBAGENT = frozenset({"llm_request", "tool"})
_GEN_AI_PROVIDERS = {"firstParty": "anthropic", "bedrock": "aws.bedrock", "vertex": "gcp.vertex_ai"}


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, as Claude Code counts durations."""
    return round(seconds * 1000)


class NativeScope(InnerScope):
    """A span of Claude Code's tracing scope."""

    __slots__ = ("_began_unix_nano", "_started_s")

    monitor: EventRecorder
    span_type: str
    """``span.type``: the span's name without ``claude_code.``."""

    def __init__(self, monitor: EventRecorder) -> None:
        super().__init__(monitor)
        self._started_s = 0.0
        self._began_unix_nano = 0

    @property
    def duration_s(self) -> float:
        """Seconds since it began."""
        told = told_unix_nano()
        if told:
            return max(0, told - self._began_unix_nano) / 1e9
        return time.perf_counter() - self._started_s

    def _begin(self) -> None:
        self._look_around()
        self._started_s, self._began_unix_nano = self._since()
        monitor = self.monitor
        if not monitor._live() or not monitor._reports_native:
            return
        session_id, agent_id = monitor.session_id, subagent_id.get()
        attributes: dict[str, AttributeValue] = {
            **dict(monitor._standard_attributes(session_id)),
            **({"sprint": monitor.sprint} if monitor.sprint is not None else {}),
            "span.type": self.span_type,
            "gen_ai.provider.name": _GEN_AI_PROVIDERS.get(monitor._settings.anthropic_provider, "anthropic"),
            "gen_ai.conversation.id": agent_id or session_id,
            **({"agent_id": agent_id} if agent_id and self.span_type in _SAY_THE_SUBAGENT else {}),
        }
        self._open_span(f"claude_code.{self.span_type}", attributes, native=True, start_time=self._began_unix_nano)
        self._set(**self._at_begin())

    def _since(self) -> tuple[float, int]:
        """When it began: seconds of the performance counter, nanoseconds since 1970."""
        return time.perf_counter(), told_unix_nano() or time.time_ns()

    def _at_begin(self) -> Mapping[str, object]:
        return {}

    def _set(self, **attributes: object) -> None:
        """Set the attributes that are not ``None``; keys are written with ``__`` for a dot."""
        for key, value in attributes.items():
            name = key.replace("__", ".")
            if isinstance(value, tuple) and self.span is not None:  # of text, by us
                self.span.set_attribute(name, value)
            elif value is not None:
                set_attribute(self.span, name, value)

    def _error(self, message: str) -> None:
        if self.span is not None:
            from opentelemetry.trace import Status, StatusCode

            self.span.set_status(Status(StatusCode.ERROR, message))

    def _end(self, exc: BaseException | None, result: object) -> None:  # noqa: ARG002 - every scope takes both
        self._set(duration_ms=milliseconds(self.duration_s))
        self._end_span()

    def _end_span(self) -> None:
        if self.span is not None:
            self.span.end(told_unix_nano() or None)


class Interaction(NativeScope):
    """A turn: from a prompt to the last word about it. Made with ``monitor.interaction``.

    Attributes:
        prompt_id: The id that the turn's events carry.
    """

    __slots__ = ("_prompt", "_turn_token", "prompt_id")

    span_type = "interaction"

    def __init__(self, monitor: EventRecorder, prompt: str) -> None:
        super().__init__(monitor)
        self._prompt = prompt
        self._turn_token: Token[Interaction | None] | None = None
        self.prompt_id = new_id()

    def _at_begin(self) -> Mapping[str, object]:
        return {
            "gen_ai__operation__name": "invoke_agent",
            "user_prompt": content(self._prompt) if self.monitor._settings.log_user_prompts else REDACTED,
            "user_prompt_length": content_length(self._prompt),
            "interaction__sequence": self.monitor._next_interaction(),
            "parent__source": "none",
            "queued_sends": 0,
        }

    def __enter__(self) -> Self:
        super().__enter__()
        self._turn_token = _turn.set(self)
        self.monitor._prompted(self._prompt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._turn_token is not None:
            with suppress(ValueError):  # in another context there is nothing to undo
                _turn.reset(self._turn_token)
        super().__exit__(kind, exc, trace)

    def _end(self, exc: BaseException | None, result: object) -> None:  # noqa: ARG002 - every scope takes both
        seconds = self.duration_s
        self._set(interaction__duration_ms=milliseconds(seconds))
        self._end_span()
        self.monitor.record_active_time(seconds)
