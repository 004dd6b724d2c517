"""What the fake API can be told to answer, and how each answer looks in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeAlias

__all__ = [
    "Answer",
    "ApiError",
    "Block",
    "Drop",
    "Raw",
    "Reply",
    "StreamFault",
    "Thinking",
    "ToolUse",
    "Usage",
    "error_json",
    "message_json",
    "reply_of",
]

# https://docs.anthropic.com/en/api/errors
_ERRORS = {
    400: ("invalid_request_error", "The request is not valid."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "Not found"),
    405: ("invalid_request_error", "Method Not Allowed"),
    411: ("invalid_request_error", "A content length is needed."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your account's rate limit. Please try again later."),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "Request timed out"),
    529: ("overloaded_error", "Overloaded"),
}


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that an answer reports; by default those of the captures of Claude Code.

    Args:
        input_tokens: Without those of the cache.
        output_tokens: All of them, thinking included.
        cache_read_tokens: Read from the cache.
        cache_creation_5m_tokens: Written to the cache for 5 minutes.
        cache_creation_1h_tokens: Written to the cache for an hour.
        split: False leaves out ``cache_creation``, which says how the written ones divide. The captures were made so.
        service_tier: ``standard``, ``priority`` or ``batch``.
        more: Further members, and others in place of the above, such as ``{"speed": "fast"}``.
    """

    input_tokens: int = 1200
    output_tokens: int = 77
    cache_read_tokens: int = 4500
    cache_creation_5m_tokens: int = 300
    cache_creation_1h_tokens: int = 0
    _: KW_ONLY
    split: bool = True
    service_tier: str = "standard"
    more: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """``usage`` as a message has it."""
        split = {
            "ephemeral_5m_input_tokens": self.cache_creation_5m_tokens,
            "ephemeral_1h_input_tokens": self.cache_creation_1h_tokens,
        }
        return {
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": sum(split.values()),
            "cache_read_input_tokens": self.cache_read_tokens,
            **({"cache_creation": split} if self.split else {}),
            "output_tokens": self.output_tokens,
            "service_tier": self.service_tier,
            **self.more,
        }


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The model asks for a tool; ``id`` is made up if it is None."""

    name: str
    input: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Thinking:
    """The model thinks."""

    thinking: str
    signature: str = "c2lnbmF0dXJl"


Block: TypeAlias = str | ToolUse | Thinking | Mapping[str, Any]
"""Text, a typed block, or any other block as it stands in JSON."""


@dataclass(frozen=True, slots=True)
class ApiError:
    """An answer with an error status, and with ``type`` and ``message`` as the API has them for that status."""

    status: int
    _: KW_ONLY
    type: str | None = None
    message: str | None = None
    retry_after_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection is closed before anything was answered."""

    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Raw:
    """These bytes, whatever they are: malformed JSON, a page of a proxy, an answer of another path."""

    body: str | bytes | Mapping[str, Any]
    _: KW_ONLY
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    delay_s: float = 0.0

    @property
    def content(self) -> bytes:
        """The body on the wire."""
        if isinstance(self.body, Mapping):
            return json.dumps(dict(self.body)).encode()
        return self.body.encode() if isinstance(self.body, str) else self.body


@dataclass(frozen=True, slots=True)
class StreamFault:
    """A stream ends after so many events: with an error event, or, if there is no ``error``, with a lost connection.

    A request that doesn't stream gets the error as its answer, or loses the connection in the middle of its answer.
    """

    after_events: int = 0
    error: ApiError | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One message of the model.

    Args:
        content: A block or several.
        usage: None for a message without usage; a mapping is sent as it is.
        stop_reason: By default ``tool_use`` if a tool is asked for, else ``end_turn``.
        model: By default the one that the request names.
        request_id: Of the header ``request-id``; by default made up, a new one each time.
        headers: Further headers.
        more: Further members of the message, such as ``stop_details``.
        delay_s: Time before the headers.
        delta_delay_s: Time before each ``content_block_delta`` of a stream.
        fault: What breaks it off.
    """

    content: Block | Sequence[Block] = "Hello."
    _: KW_ONLY
    usage: Usage | Mapping[str, Any] | None = field(default_factory=Usage)
    stop_reason: str | None = None
    model: str | None = None
    request_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    delay_s: float = 0.0
    delta_delay_s: float = 0.0
    fault: StreamFault | None = None

    @property
    def blocks(self) -> Sequence[Block]:
        """The content as a list."""
        return (self.content,) if isinstance(self.content, _BLOCK) else self.content


Reply: TypeAlias = Answer | ApiError | Drop | Raw
_BLOCK = (str, ToolUse, Thinking, Mapping)
_REPLY = (Answer, ApiError, Drop, Raw)


def reply_of(value: Any) -> Reply:
    """What ``value`` stands for.

    Raises:
        TypeError: It is nothing that can be answered.
    """
    if isinstance(value, _REPLY):
        return value
    blocks = [value] if isinstance(value, _BLOCK) else value
    if isinstance(blocks, Sequence) and not isinstance(blocks, bytes) and all(isinstance(b, _BLOCK) for b in blocks):
        return Answer(blocks)
    raise TypeError(
        f"{value!r:.200} is no answer: give text, ToolUse, Thinking, a list of these, Answer, ApiError, ..."
    )


def message_json(answer: Answer, model: str, number: int) -> dict[str, Any]:
    """The whole message as the API answers it; ``number`` makes its ids."""
    blocks = [_block_json(block, f"toolu_fake_{number:04}_{at}") for at, block in enumerate(answer.blocks)]
    asks = any(block.get("type") == "tool_use" for block in blocks)
    usage = answer.usage.as_json() if isinstance(answer.usage, Usage) else answer.usage
    return {
        "id": f"msg_fake_{number:04}",
        "type": "message",
        "role": "assistant",
        "model": answer.model or model,
        "content": blocks,
        "stop_reason": answer.stop_reason or ("tool_use" if asks else "end_turn"),
        "stop_sequence": None,
        **({} if usage is None else {"usage": dict(usage)}),
        **answer.more,
    }


def error_json(error: ApiError, request_id: str) -> dict[str, Any]:
    """The body of an error, which is also the data of an error event."""
    kind, message = _ERRORS.get(error.status, ("api_error", f"status {error.status}"))
    return {
        "type": "error",
        "error": {"type": error.type or kind, "message": error.message or message},
        "request_id": request_id,
    }


def _block_json(block: Block, tool_use_id: str) -> dict[str, Any]:
    if isinstance(block, str):
        return {"type": "text", "text": block}
    if isinstance(block, ToolUse):
        return {"type": "tool_use", "id": block.id or tool_use_id, "name": block.name, "input": dict(block.input)}
    if isinstance(block, Thinking):
        return {"type": "thinking", "thinking": block.thinking, "signature": block.signature}
    return dict(block)
