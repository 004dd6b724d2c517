"""What came, and what is to be answered next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from claude_monitoring.testing._answers import Block, Reply, reply_of

__all__ = ["MESSAGES", "Answerable", "Headers", "Request", "Script", "Scripted"]

MESSAGES = "/v1/messages"
_SECRET = {"authorization", "cookie", "proxy-authorization", "x-api-key"}


class Headers(dict[str, str]):
    """Headers by their lower-case names; ``repr`` hides keys and tokens, so that no log of a test run has them."""

    def __repr__(self) -> str:
        return repr({name: "***" if name in _SECRET else value for name, value in self.items()})


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """One request that came.

    Args:
        method: ``POST`` or another.
        path: Without the query.
        query: Without the question mark, such as ``beta=true``.
        headers: By lower-case names.
        body: The JSON value; None if there was none, or no JSON.
        at_unix_s: When it had come whole.
    """

    method: str
    path: str
    query: str
    headers: Headers
    body: Any
    at_unix_s: float

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path} model={self.model!r} text={self.text[:80]!r} {self.headers!r}>"

    @property
    def model(self) -> str:
        """The model that it asks for, or an empty text."""
        return str(self._get("model", ""))

    @property
    def stream(self) -> bool:
        """Whether the answer is to be a stream."""
        return self._get("stream", None) is True

    @property
    def tools(self) -> list[str]:
        """The names of the tools that the model may use."""
        return [str(tool.get("name")) for tool in _objects(self._get("tools", None))]

    @property
    def text(self) -> str:
        """The texts of the last message, one a line."""
        return "\n".join(str(block.get("text", "")) for block in self._last() if block.get("type") == "text")

    @property
    def tool_results(self) -> list[dict[str, Any]]:
        """The blocks of type ``tool_result`` in the last message."""
        return [block for block in self._last() if block.get("type") == "tool_result"]

    def _last(self) -> list[dict[str, Any]]:
        content = next((one.get("content") for one in reversed(_objects(self._get("messages", None)))), None)
        return [{"type": "text", "text": content}] if isinstance(content, str) else _objects(content)

    def _get(self, name: str, default: Any) -> Any:
        return self.body.get(name, default) if isinstance(self.body, Mapping) else default


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a JSON array; a client may send anything."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


Answerable: TypeAlias = Block | Sequence[Block] | Reply
"""A text, block, several blocks, or an answer in full."""
Scripted: TypeAlias = Answerable | Callable[[Request], Answerable | None]
"""An answer, or a function that makes it from the request; None from it is the default answer."""


@dataclass(slots=True)
class _Entry:
    value: Scripted
    path: str
    when: Callable[[Request], bool] | None
    times: int | None


class Script:
    """The answers in waiting and the requests that came, for all connections together."""

    def __init__(self, default: Scripted) -> None:
        self._default = _checked(default)
        self._changed = threading.Condition()
        self._entries: list[_Entry] = []
        self._requests: list[Request] = []
        self._numbers = 0

    def add(self, value: Scripted, path: str, when: Callable[[Request], bool] | None, times: int | None) -> None:
        """Put an answer behind those that wait."""
        entry = _Entry(_checked(value), path, when, times)
        with self._changed:
            self._entries.append(entry)

    def came(self, request: Request) -> None:
        """Keep a request, and wake who waits for it."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    def number(self) -> int:
        """The next number for ids."""
        with self._changed:
            self._numbers += 1
            return self._numbers

    def next(self, request: Request) -> Reply | None:
        """The answer to ``request``; None if the path is not that of messages and nothing is scripted for it."""
        value = self._take(request)
        if callable(value):
            value = value(request)
        if value is None and request.path == MESSAGES:
            value = self._default(request) if callable(self._default) else self._default
            value = "Hello." if value is None else value
        return None if value is None else reply_of(value)

    def _take(self, request: Request) -> Scripted | None:
        with self._changed:
            for entry in self._entries:
                if entry.path == request.path and (entry.when is None or entry.when(request)):
                    if entry.times is not None:
                        entry.times -= 1
                        if entry.times <= 0:
                            self._entries.remove(entry)
                    return entry.value
        return None

    def left(self) -> int:
        """How many answers wait; one without an end counts as none."""
        with self._changed:
            return sum(entry.times or 0 for entry in self._entries)

    def requests(self) -> tuple[Request, ...]:
        """All that came."""
        with self._changed:
            return tuple(self._requests)

    def wait_for(self, count: int, path: str, timeout_s: float) -> tuple[Request, ...]:
        """The requests of ``path`` once there are ``count`` of them."""

        def found() -> tuple[Request, ...]:
            return tuple(request for request in self._requests if request.path == path)

        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= count, timeout_s):
                came = f"{len(found())} of {count} requests of {path} came in {timeout_s:g} s; all: {self._requests}"
                raise TimeoutError(came[:2000])
            return found()


def _checked(value: Scripted) -> Scripted:
    if not callable(value):
        reply_of(value)
    return value
