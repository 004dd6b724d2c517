"""What the bodies of Anthropic's answers say, read beside the one who reads them: JSON, a stream of events, a batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from claude_monitoring._pricing import Tokens
from claude_monitoring._sealed import warn_once

__all__ = ["Batch", "Body", "EventStream", "Whole", "as_mapping", "for_price", "texts_of", "tokens_of"]

_MOST_TOKENS = 10**9  # of one answer; no model comes near it

# https://docs.anthropic.com/en/api/errors; an error in a stream has no status of its own
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def as_mapping(given: object) -> Mapping[str, Any]:
    """``given``, or an empty mapping for anything else."""
    return given if isinstance(given, Mapping) else {}


def _count(usage: Mapping[str, Any], name: str) -> int:
    """A count of tokens; what can't be one is none, and told once."""
    value = usage.get(name)
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS:
        return value
    warn_once(
        ("anthropic usage", name),
        f"claude_monitoring: an answer of Anthropic's API says {name}={str(value)[:40]}: it is left out, and so are "
        "further ones like it",
    )
    return 0


def tokens_of(usage: object) -> dict[str, int]:
    """The token counts of ``record_api_request`` from the ``usage`` of a message, whatever that is."""
    said = as_mapping(usage)
    split = as_mapping(said.get("cache_creation"))
    short, hour = _count(split, "ephemeral_5m_input_tokens"), _count(split, "ephemeral_1h_input_tokens")
    written = max(_count(said, "cache_creation_input_tokens"), short + hour)
    return {
        "input_tokens": _count(said, "input_tokens"),
        "output_tokens": _count(said, "output_tokens"),
        "cache_read_tokens": _count(said, "cache_read_input_tokens"),
        "cache_creation_tokens": written,
        "cache_creation_5m_tokens": short,
        "cache_creation_1h_tokens": hour,
    }


def for_price(tokens: Mapping[str, int]) -> Tokens:
    """What ``tokens_of`` found, as prices are asked for."""
    return Tokens(
        tokens["input_tokens"],
        tokens["output_tokens"],
        tokens["cache_read_tokens"],
        tokens["cache_creation_tokens"],
        tokens["cache_creation_1h_tokens"],
    )


def texts_of(content: object) -> str:
    """The text of a message's content, of blocks of other kinds nothing."""
    blocks = [as_mapping(block) for block in content] if isinstance(content, list) else []
    texts = [block.get("text") for block in blocks if block.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


def _parsed(text: bytes) -> Mapping[str, Any]:
    try:
        return as_mapping(json.loads(text))
    except ValueError:  # also of bytes that are no text
        return {}


class Body:
    """One body as it comes. ``message`` is what is known of the answer so far."""

    def __init__(self) -> None:
        self.message: dict[str, Any] = {}
        self.error: tuple[str, int | None] | None = None
        self.is_complete = False

    def feed(self, chunk: bytes) -> None:
        """The next bytes, decoded."""
        raise NotImplementedError

    def end(self) -> None:
        """No more bytes will come."""


class Whole(Body):
    """A message in one piece of JSON."""

    def __init__(self) -> None:
        super().__init__()
        self._chunks: list[bytes] = []

    def feed(self, chunk: bytes) -> None:
        """The next bytes."""
        self._chunks.append(chunk)

    def end(self) -> None:
        """Read them; what is cut off says nothing."""
        self.message = dict(_parsed(b"".join(self._chunks)))
        self._chunks.clear()


class _Lines(Body):
    def __init__(self) -> None:
        super().__init__()
        self._rest: list[bytes] = []

    def feed(self, chunk: bytes) -> None:
        """The next bytes; a line is read once it is complete."""
        first, *more = chunk.split(b"\n")
        self._rest.append(first)
        for begun in more:
            self._line(b"".join(self._rest))
            self._rest = [begun]

    def end(self) -> None:
        """The last line may lack its end."""
        last, self._rest = b"".join(self._rest), []
        if last:
            self._line(last)

    def _line(self, line: bytes) -> None:
        raise NotImplementedError


class EventStream(_Lines):
    """Server-sent events. Counts in ``message_delta`` are cumulative: they replace those of ``message_start``.

    https://docs.anthropic.com/en/docs/build-with-claude/streaming
    """

    def __init__(self, first_token: Callable[[], None]) -> None:
        super().__init__()
        self._first_token = first_token
        self._texts: list[str] = []

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._texts)

    def _line(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            return
        if b"content_block_delta" in line:
            self._first_token()
            if b"text_delta" not in line:
                return  # the input of a tool, thinking: nothing of ours
        event = _parsed(line[5:])
        kind = event.get("type")
        if kind == "message_start":
            self.message = dict(as_mapping(event.get("message")))
        elif kind == "content_block_delta":
            text = as_mapping(event.get("delta")).get("text")
            self._texts.append(text if isinstance(text, str) else "")
        elif kind == "message_delta":
            self._changed(event)
        elif kind == "message_stop":
            self.is_complete = True
        elif kind == "error":
            said = as_mapping(event.get("error"))
            self.error = (str(said.get("message") or said.get("type") or "error"), _STATUSES.get(str(said.get("type"))))

    def _changed(self, event: Mapping[str, Any]) -> None:
        said = as_mapping(event.get("usage"))
        # Proxies send 0 for what they don't know.
        known = {name: it for name, it in said.items() if it or (name == "output_tokens" and it is not None)}
        self.message["usage"] = {**as_mapping(self.message.get("usage")), **known}
        reason = as_mapping(event.get("delta")).get("stop_reason")
        if reason is not None:
            self.message["stop_reason"] = reason


class Batch(_Lines):
    """The results of a batch, one a line."""

    def __init__(self, succeeded: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__()
        self._succeeded = succeeded

    def _line(self, line: bytes) -> None:
        result = as_mapping(_parsed(line).get("result"))
        if result.get("type") == "succeeded":
            self._succeeded(as_mapping(result.get("message")))
