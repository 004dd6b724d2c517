"""A message as the events of a stream, in the API's order.

``message_start``, then of each block ``content_block_start``, ``content_block_delta`` ... and ``content_block_stop``,
a ``ping`` after the first start, ``message_delta`` with cumulative usage, ``message_stop``
(https://docs.anthropic.com/en/docs/build-with-claude/streaming).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["encoded", "events"]

_PIECE_CHARACTERS = 16
# What `message_delta` repeats of the usage.
_CUMULATIVE = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
)


def events(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The events that make up ``message``."""
    usage = message.get("usage")
    started = {**message, "content": [], "stop_reason": None}
    if usage is not None:
        started["usage"] = {**usage, "output_tokens": 1} if "output_tokens" in usage else usage
    yield {"type": "message_start", "message": started}
    for index, block in enumerate(message["content"]):
        empty, deltas = _taken_apart(block)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        if index == 0:
            yield {"type": "ping"}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details") if name in message}
    last: dict[str, Any] = {"type": "message_delta", "delta": delta}
    if usage is not None:
        last["usage"] = {name: usage[name] for name in _CUMULATIVE if name in usage}
    yield last
    yield {"type": "message_stop"}


def encoded(event: Mapping[str, Any]) -> bytes:
    """One event on the wire."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _taken_apart(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The block as it starts, and the deltas that fill it; a block of another kind comes whole with its start."""
    kind = block.get("type")
    if kind == "text":
        return {**block, "text": ""}, [
            {"type": "text_delta", "text": piece} for piece in _pieces(block.get("text", ""))
        ]
    if kind == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block.get("thinking", ""))]
        signature = {"type": "signature_delta", "signature": block.get("signature", "")}
        return {**block, "thinking": "", "signature": ""}, [*deltas, signature]
    if kind in ("tool_use", "server_tool_use"):
        pieces = ["", *_pieces(json.dumps(block.get("input", {})))]  # the API's first piece is empty
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return dict(block), []


def _pieces(text: str) -> list[str]:
    return [text[at : at + _PIECE_CHARACTERS] for at in range(0, len(text), _PIECE_CHARACTERS)]
