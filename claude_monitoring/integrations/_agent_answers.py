"""What was said: the answers of the model and of its tools, from messages and from transcripts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from claude_monitoring._labels import as_text
from claude_monitoring.integrations._agent_facts import error_of, size_of
from claude_monitoring.integrations._agent_items import Actor, ToolEnd
from claude_monitoring.integrations._agent_steps import Steps
from claude_monitoring.integrations._anthropic_bodies import as_mapping, texts_of, tokens_of

__all__ = ["Answers"]

_STOPPED = "stopped while running"  # what the model is told of a tool that the host interrupted
_SYNTHETIC = "<synthetic>"  # the model of messages that the program writes itself


class Answers:
    """Fills the steps of a session.

    A message has an answer's tokens as they were when it began; what the transcript says is final.

    Attributes:
        model: The model that was asked, as far as it is known.
    """

    def __init__(self, steps: Steps, model: str) -> None:
        self._steps = steps
        self.model = model

    def assistant(self, actor: Actor, at: int, message: Any) -> None:
        """An ``AssistantMessage``: one block, or a few, of an answer."""
        if message.model == _SYNTHETIC:
            return  # the transcript says more of what failed
        blocks = list(getattr(message, "content", ()))
        tool_ids = {as_text(block.id) for block in blocks if type(block).__name__ == "ToolUseBlock"} - {""}
        request = self._steps.request_of(actor, at, as_text(getattr(message, "message_id", None)), tool_ids)
        if not request.is_final:
            request.at_unix_nano = at
            request.model = self._asked(message.model)
            request.tokens = tokens_of(getattr(message, "usage", None))
            texts = [block.text for block in blocks if type(block).__name__ == "TextBlock"]
            request.text += "".join(text for text in texts if isinstance(text, str))

    def _asked(self, answered: object) -> str:
        """The model that was asked, as the program names it: with ``[1m]``, where the answer's name has none."""
        name = as_text(answered)
        return self.model if self.model.partition("[")[0] == name else name

    def tool_results(self, message: Any) -> None:
        """A ``UserMessage``: what the model is given of its tools."""
        blocks = getattr(message, "content", ())
        for block in blocks if isinstance(blocks, list) else ():
            call = self._steps.calls.get(as_text(getattr(block, "tool_use_id", None)))
            if call is not None and call.result_bytes is None:
                call.result_bytes = size_of(getattr(block, "content", None))

    def retried(self, actor: Actor, attempt: object) -> None:
        """An attempt failed, and there will be another."""
        if isinstance(attempt, int) and not isinstance(attempt, bool):
            actor.attempts = max(actor.attempts, attempt + 1)

    def entry(self, actor: Actor, entry: Mapping[str, Any]) -> None:
        """A line of a transcript."""
        kind, message = entry.get("type"), as_mapping(entry.get("message"))
        if kind == "system" and entry.get("subtype") == "api_error":
            self.retried(actor, entry.get("retryAttempt"))
        elif kind == "assistant" and message.get("model") == _SYNTHETIC:
            if entry.get("isApiErrorMessage"):
                self._failed(actor, entry, message)
        elif kind == "assistant":
            self._final(actor, entry, message)
        elif kind == "user":
            content = message.get("content")
            for block in content if isinstance(content, list) else ():
                self._final_result(entry, as_mapping(block))

    def _final(self, actor: Actor, entry: Mapping[str, Any], message: Mapping[str, Any]) -> None:
        content = message.get("content")
        if not (isinstance(message.get("id"), str) and isinstance(message.get("model"), str)):
            return  # no answer of a model
        blocks = [as_mapping(block) for block in content] if isinstance(content, list) else []
        tool_ids = {as_text(block.get("id")) for block in blocks if block.get("type") == "tool_use"} - {""}
        request = self._steps.request_of(actor, time.time_ns(), as_text(message.get("id")), tool_ids)
        if not request.is_final:
            request.text = ""
            request.attempts, actor.attempts = actor.attempts, 1
            request.tokens = tokens_of(message.get("usage"))
        request.text += texts_of(content)
        request.is_final = True
        request.model = self._asked(message.get("model"))
        request.stop_reason = as_text(message.get("stop_reason")) or None
        request.request_id = as_text(entry.get("requestId")) or None
        request.speed = "fast" if as_mapping(message.get("usage")).get("speed") == "fast" else "normal"

    def _failed(self, actor: Actor, entry: Mapping[str, Any], message: Mapping[str, Any]) -> None:
        status = entry.get("apiErrorStatus")
        request = self._steps.asked(actor, time.time_ns())
        request.is_final = True
        request.model = self.model
        request.attempts, actor.attempts = actor.attempts, 1
        request.request_id = as_text(entry.get("requestId")) or None
        request.failure = (error_of(texts_of(message.get("content"))), status if isinstance(status, int) else None)

    def _final_result(self, entry: Mapping[str, Any], block: Mapping[str, Any]) -> None:
        call = self._steps.calls.get(as_text(block.get("tool_use_id")))
        if call is None:
            return
        call.result_seen = True
        call.result_bytes = size_of(block.get("content"))
        content = block.get("content")
        if not call.has_started and isinstance(content, str) and _STOPPED in content:  # and no hook says so
            call.has_started = True
            self._steps.came(ToolEnd(call.actor, time.time_ns(), call=call, done=call.tool_input, error=content))
        decided = as_mapping(entry.get("permissionDecision"))
        if call.decision is None and decided.get("decision") in {"accept", "reject"}:
            call.decision = (as_text(decided["decision"]), as_text(decided.get("source")) or "config")
        call.infer()
