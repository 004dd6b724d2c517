"""A transport that plays what a Claude Code might say, for what the real one can't be made to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from claude_monitoring import AgentMonitor
from claude_monitoring.integrations.claude_agent_sdk import instrument, uninstrument
from claude_monitoring.receiver import OtlpReceiver

__all__ = ["Hook", "Played", "assistant", "hook", "result", "text", "turn", "watched"]

sdk: Any = pytest.importorskip("claude_agent_sdk")  # not in every environment
_ids = count(1)
SESSION = "11111111-2222-4333-8444-555555555555"
USAGE = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}


@dataclass(frozen=True)
class Hook:
    """The program calls a hook and waits for what it says."""

    name: str
    given: dict[str, Any]


def hook(name: str, **given: Any) -> Hook:
    """A call of a hook with what the program always says."""
    always = {"hook_event_name": name, "session_id": SESSION, "transcript_path": "/nonexistent/session.jsonl"}
    return Hook(name, {**always, **given})


def text(words: Any = "Hello.") -> dict[str, Any]:
    """A block."""
    return {"type": "text", "text": words}


def assistant(*content: Any, usage: Any = USAGE, model: Any = "claude-sonnet-4-5", **more: Any) -> dict[str, Any]:
    """One answer of the model."""
    message = {"id": f"msg_{next(_ids)}", "model": model, "content": list(content) or [text()], "usage": usage, **more}
    return {"type": "assistant", "message": message, "parent_tool_use_id": None, "session_id": SESSION}


def result(count_: int = 1, model: str = "claude-sonnet-4-5", **more: Any) -> dict[str, Any]:
    """The end of a turn: the program's totals are those of so many answers."""
    total = {"inputTokens": 10 * count_, "outputTokens": 5 * count_, "costUSD": 0.000105 * count_}
    return {
        "type": "result", "subtype": "success", "duration_ms": 1, "duration_api_ms": 1, "is_error": False,
        "num_turns": 1, "session_id": SESSION, "usage": USAGE, "modelUsage": {model: total}, **more,
    }  # fmt: skip


def turn(*between: Any, number: int = 1, prompt: str = "go") -> list[Any]:
    """A turn: its prompt, what happens, its end."""
    said = between or (assistant(),)
    return [hook("UserPromptSubmit", prompt=prompt), *said, hook("Stop"), result(number)]


class Played(sdk.Transport):  # type: ignore[misc]
    """Plays one of ``turns`` for each prompt.

    Args:
        turns: What is said: messages, ``Hook``s, exceptions to raise, seconds to wait.
        stays: Whether the program is there after the last of them.
    """

    def __init__(self, *turns: list[Any], stays: bool = False) -> None:
        self._turns = list(turns)
        self._stays = stays
        self._out: asyncio.Queue[Any] = asyncio.Queue()
        self._waited: dict[str, asyncio.Event] = {}
        self.hooks: dict[str, Any] = {}
        self.written: list[dict[str, Any]] = []
        self.closed = False

    async def connect(self) -> None:
        """Nothing to connect."""

    async def write(self, data: str) -> None:
        said = json.loads(data)
        self.written.append(said)
        if said["type"] == "control_request":
            if said["request"]["subtype"] == "initialize":
                self.hooks = said["request"]["hooks"] or {}
            answer = {"subtype": "success", "request_id": said["request_id"], "response": {}}
            await self._out.put({"type": "control_response", "response": answer})
        elif said["type"] == "control_response":
            self._waited[said["response"]["request_id"]].set()
        elif said["type"] == "user":
            for step in self._turns.pop(0) if self._turns else ():
                await self._out.put(step)
            if not self._turns and not self._stays:
                await self._out.put(None)

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        while (step := await self._out.get()) is not None:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, Hook):
                async for request in self._asked(step):
                    yield request
            elif isinstance(step, float):
                await asyncio.sleep(step)
            else:
                yield step

    async def _asked(self, step: Hook) -> AsyncIterator[dict[str, Any]]:
        for matcher in self.hooks.get(step.name, ()):
            for callback_id in matcher["hookCallbackIds"]:
                request_id = f"cli_{next(_ids)}"
                request = {"subtype": "hook_callback", "callback_id": callback_id, "input": step.given}
                self._waited[request_id] = asyncio.Event()
                yield {"type": "control_request", "request_id": request_id, "request": request}
                await self._waited[request_id].wait()

    async def close(self) -> None:
        self.closed = True
        await self._out.put(None)

    def is_ready(self) -> bool:
        return not self.closed

    async def end_input(self) -> None:
        """The program doesn't mind."""


class Watched:
    """A monitor that is told, and what arrived of it."""

    def __init__(self, otlp: OtlpReceiver, monitor: AgentMonitor) -> None:
        self.otlp, self.monitor = otlp, monitor

    def total(self, metric: str, **attributes: Any) -> float:
        """By now."""
        self.monitor.flush()
        return self.otlp.total(metric, attributes)

    def tokens(self) -> float:
        """Of all types."""
        return self.total("claude_code.token.usage")


@contextmanager
def watched(mode: Any = "observe", **settings: Any) -> Iterator[Watched]:
    """Instrumented, with a monitor that sends to a receiver."""
    with OtlpReceiver(grpc=False) as otlp:
        given = {"enabled": True, "endpoint": otlp.http_endpoint, "protocol": "http/json", "export_to_grafana": True}
        monitor = AgentMonitor("backend", **{**given, **settings})
        instrument(monitor, mode=mode)
        try:
            yield Watched(otlp, monitor)
        finally:
            uninstrument()
            monitor.close()
