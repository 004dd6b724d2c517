"""The calls of tools, as hooks and the host's ``can_use_tool`` tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from claude_monitoring._labels import as_text
from claude_monitoring.integrations._agent_items import Actor, ToolBegin, ToolCall, ToolEnd
from claude_monitoring.integrations._agent_steps import Steps
from claude_monitoring.integrations._anthropic_bodies import as_mapping

__all__ = ["Tools"]

_MOST_MS = 10**9  # of a tool


class Tools:
    """Makes the steps of tools."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._decided: dict[str, str] = {}

    def caller_of(self, kind: str) -> ToolCall | None:
        """The call that a subagent of this kind, which begins now, came from."""
        for call in self._steps.calls.values():
            is_wanted = as_text(call.tool_input.get("subagent_type")) in {kind, ""}
            if call.name in {"Agent", "Task"} and call.subagent is None and is_wanted:
                call.has_started = True
                call.infer()
                return call
        return None

    def begins(self, at: int, actor: Actor, given: Mapping[str, Any]) -> None:
        """The hook ``PreToolUse``."""
        tool_use_id = as_text(given.get("tool_use_id"))
        request = next((one for one in self._steps.pending(actor) if tool_use_id in one.tool_ids), None)
        if request is None:  # the host has not taken the message yet
            request = self._steps.asked(actor, at)
            request.tool_ids.add(tool_use_id)
        call = ToolCall(
            actor,
            as_text(given.get("tool_name")),
            tool_use_id,
            as_mapping(given.get("tool_input")),
            as_text(given.get("permission_mode")) or None,
            at,
            request,
            answer=self._decided.pop(tool_use_id, None),
        )
        self._steps.calls[tool_use_id] = call
        self._steps.queue.append(ToolBegin(actor, at, call=call))

    def ends(self, at: int, actor: Actor, given: Mapping[str, Any]) -> None:
        """The hook ``PostToolUse``, or ``PostToolUseFailure``."""
        call = self._steps.calls.get(as_text(given.get("tool_use_id")))
        if call is None:
            return
        actor.last_unix_nano = at
        call.has_started = True
        duration = given.get("duration_ms")
        if isinstance(duration, int | float) and 0 <= duration < _MOST_MS:
            call.worked_ms = duration
            call.decided_unix_nano = max(call.began_unix_nano, at - round(duration * 1e6))
        failed = given.get("hook_event_name") == "PostToolUseFailure"
        error = as_text(given.get("error"), 10**6) if failed else None
        done = as_mapping(given.get("tool_input")) or call.tool_input  # a hook or the host may have changed it
        answer = given.get("tool_response")
        self._steps.queue.append(ToolEnd(actor, at, call=call, done=done, answer=answer, error=error))

    def answered(self, _: int, tool_use_id: str, source: str) -> None:
        """The host's ``can_use_tool`` decided."""
        call = self._steps.calls.get(tool_use_id)
        if call is not None:
            call.answer = source
        else:
            self._decided[tool_use_id] = source
