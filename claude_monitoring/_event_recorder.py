"""Events: any of the caller's own, and those that Claude Code names, with its attributes and its types."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal

from claude_monitoring._catalog import EVENTS_SCOPE, FRAMEWORK_SCOPE, NATIVE_EVENTS
from claude_monitoring._core import MonitorCore
from claude_monitoring._events import emit_to, iso_time, make_event
from claude_monitoring._labels import MAX_NAME_CHARS, as_text, content, content_length
from claude_monitoring._scopes import new_id
from claude_monitoring._sealed import Sealed
from claude_monitoring._told import subagent_id, told_unix_nano
from claude_monitoring._turns import REDACTED, Interaction, current_turn
from claude_monitoring.types import AttributeValue

__all__ = ["EventRecorder"]


class EventRecorder(MonitorCore):
    """``event``, and what begins a turn."""

    _latest_prompt_id = ""

    @property
    def prompt_id(self) -> str:
        """The id of the turn under way here; empty before the first prompt."""
        turn = current_turn()
        root = self._root()
        if turn is not None and turn.monitor._root() is root:
            return turn.prompt_id
        return root._latest_prompt_id if isinstance(root, EventRecorder) else ""

    def event(self, name: str, attributes: Mapping[str, object] | None = None) -> None:
        """Record an event as an OpenTelemetry log record.

        Args:
            name: One of Claude Code's event names (``tool_result``) is sent as ``claude_code.<name>``; any other as
                ``claude.<name>``.
            attributes: Beside the standard ones, ``event.name``, ``event.timestamp`` and ``event.sequence``.
        """
        own = self._content("event", attributes)
        with Sealed():
            if not self._live() or self._pipeline is None:
                return
            if not (self._pipeline.wants_events or self._logger_provider):
                return
            short = as_text(name, MAX_NAME_CHARS).removeprefix("claude_code.").removeprefix("claude.")
            native = short in NATIVE_EVENTS
            if native and not self._reports_native:
                return
            now = told_unix_nano() or time.time_ns()
            whole: dict[str, AttributeValue] = {
                **dict(self._standard_attributes(self.session_id)),
                "event.name": short,
                "event.timestamp": iso_time(now),
                "event.sequence": next(self._root()._sequence),
                **({"prompt.id": self.prompt_id} if native and self.prompt_id else {}),
                **({"agent_id": subagent_id.get()} if native and subagent_id.get() else {}),
                **own,
            }
            body = f"{'claude_code' if native else 'claude'}.{short}"
            scope = EVENTS_SCOPE if native else FRAMEWORK_SCOPE
            if self._logger_provider is not None:
                emit_to(self._logger_provider, body, now, whole, scope)
            else:
                self._pipeline.add_event(make_event(body, now, whole, scope))

    def _native_event(self, name: str, attributes: Mapping[str, object], details: Mapping[str, object] = {}) -> None:
        """An event without the attributes that are ``None``; ``details`` only where tool details may be sent."""
        given = {**attributes, **(details if self._settings.log_tool_details else {})}
        self.event(name, {key: value for key, value in given.items() if value is not None})

    def _next_interaction(self) -> int:
        root = self._root()
        return next(root._interactions)

    # -- turns -----------------------------------------------------------------------------------

    def interaction(self, prompt: str) -> Interaction:
        """A turn, as a context manager: the span ``claude_code.interaction``, the event ``user_prompt``, active time.

        Args:
            prompt: What was asked for; only its length leaves the process unless ``OTEL_LOG_USER_PROMPTS`` is set.
        """
        return Interaction(self, prompt)

    def record_user_prompt(
        self,
        prompt: str,
        *,
        command_name: str | None = None,
        command_source: Literal["builtin", "custom"] | None = None,
        message_id: str | None = None,
    ) -> None:
        """Record that a person, or a program, asked for something: a new turn begins, whose id the next events carry.

        Args:
            prompt: Its text; only its length leaves the process unless ``OTEL_LOG_USER_PROMPTS`` is set.
            command_name: The slash command, if it is one.
            command_source: Where that comes from.
            message_id: The message's UUID.
        """
        root = self._root()
        if isinstance(root, EventRecorder):
            root._latest_prompt_id = new_id()
        self._prompted(prompt, command_name=command_name, command_source=command_source, message_id=message_id)

    def _prompted(
        self, prompt: str, *, command_name: str | None = None, command_source: str | None = None,
        message_id: str | None = None,
    ) -> None:  # fmt: skip
        shown = content(prompt) if self._settings.log_user_prompts else REDACTED
        self._native_event(
            "user_prompt",
            {
                "prompt_length": str(content_length(prompt)),
                "prompt": shown,
                "prompt_text": shown,
                "message.uuid": message_id,
                "command_name": command_name,
                "command_source": command_source,
            },
        )
