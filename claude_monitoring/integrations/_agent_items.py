"""What an agent did, step by step, to be told in its order as soon as all of a step is known."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from claude_monitoring._labels import as_text
from claude_monitoring._pricing import cost_usd
from claude_monitoring._sealed import Sealed, warn_once
from claude_monitoring._told import subagent_id, told_at
from claude_monitoring.integrations._agent_facts import (
    changed_lines,
    makes_commit,
    makes_pull_request,
)
from claude_monitoring.integrations._anthropic_bodies import as_mapping, for_price

if TYPE_CHECKING:
    from claude_monitoring._monitor import AgentMonitor
    from claude_monitoring._tool_uses import ToolExecution, ToolUse
    from claude_monitoring._turns import Interaction
    from claude_monitoring.integrations._agent_transcript import Transcript

__all__ = ["Actor", "Item", "Prompt", "Request", "SubagentEnd", "ToolBegin", "ToolCall", "ToolEnd", "TurnEnd"]


@dataclass(eq=False)
class Actor:
    """The main agent of a session, or a subagent.

    Attributes:
        context: Where its spans have their parent and its records their session.
        last_unix_nano: When its last request or tool ended: the next request began then.
    """

    monitor: AgentMonitor
    agent_id: str = ""
    query_source: str = "sdk"
    kind: str = ""
    transcript: Transcript | None = None
    caller: ToolCall | None = None
    context: Context = field(default_factory=copy_context)
    last_unix_nano: int = 0
    effort: str | None = None
    model: str = ""
    attempts: int = 1
    is_placed: bool = False
    """Whether its context is inside the call of the tool that it came from."""
    is_done: bool = False
    is_completed: bool = False


@dataclass(eq=False)
class Item:
    """One step."""

    actor: Actor
    at_unix_nano: int
    is_void: bool = False

    def is_ready(self) -> bool:
        """Whether all of it is known."""
        return True

    def settle(self) -> None:
        """Nothing more will be known of it."""

    def tell(self) -> None:
        """Record it."""
        raise NotImplementedError


@dataclass(eq=False)
class Prompt(Item):
    """A turn begins."""

    text: str = ""
    prompt_id: str = ""
    interaction: Interaction | None = None

    def tell(self) -> None:
        self.actor.context.run(self._begin)

    def _begin(self) -> None:
        turn = self.interaction = self.actor.monitor.interaction(self.text)
        if self.prompt_id:
            turn.prompt_id = self.prompt_id
        with told_at(self.at_unix_nano):
            turn.__enter__()

    def end(self, at_unix_nano: int) -> None:
        """The turn is over."""
        turn, self.interaction = self.interaction, None
        if turn is not None:
            self.actor.context.run(self._leave, turn, at_unix_nano)

    @staticmethod
    def _leave(turn: Interaction, at_unix_nano: int) -> None:
        with told_at(at_unix_nano):
            turn.__exit__(None, None, None)


@dataclass(eq=False)
class TurnEnd(Item):
    """A turn is over, with the program's own totals of it."""

    result: Any = None
    tries: int = 0

    def tell(self) -> None:
        """What follows from it is the session's business."""


@dataclass(eq=False)
class Request(Item):
    """A request to the model; ``at_unix_nano`` is when its answer came."""

    began_unix_nano: int = 0
    message_id: str = ""
    model: str = ""
    text: str = ""
    tool_ids: set[str] = field(default_factory=set)
    tokens: dict[str, int] = field(default_factory=dict)
    is_final: bool = False
    request_id: str | None = None
    stop_reason: str | None = None
    speed: str = "normal"
    failure: tuple[str, int | None] | None = None
    attempts: int = 1
    cost_usd: float = 0.0

    def is_ready(self) -> bool:
        return self.is_final

    def settle(self) -> None:
        self.is_final = True
        self.is_void = self.is_void or not (self.tokens or self.failure)

    def tell(self) -> None:
        self.actor.context.run(self._tell)

    def _price(self) -> float | None:
        usd = None
        with Sealed():
            own = self.actor.monitor._prices
            name = self.model if self.model in (own or ()) else self.model.partition("[")[0]
            usd = cost_usd(name, for_price(self.tokens), own)
        if usd is None:
            warn_once(
                ("price", self.model),
                f"claude_monitoring: no price is known for model {self.model[:80]!r}: its cost is what the result of "
                "each turn says",
                level=logging.INFO,
            )
        return usd

    def _tell(self) -> None:
        actor = self.actor
        actor.model = self.model
        request = actor.monitor.llm_request(
            self.model, query_source=actor.query_source, effort=actor.effort,
            speed="fast" if self.speed == "fast" else "normal",
        )  # fmt: skip
        with told_at(self.began_unix_nano or self.at_unix_nano):
            request.start()
            for _ in range(self.attempts):
                request.attempt()
        with told_at(self.at_unix_nano):
            if self.failure is not None:
                request.failed(self.failure[0], status_code=self.failure[1], request_id=self.request_id)
            else:
                stop = self.stop_reason or ("tool_use" if self.tool_ids else "end_turn")
                usage: dict[str, Any] = dict(self.tokens)
                if (usd := self._price()) is not None:
                    usage["cost_usd"] = self.cost_usd = usd
                request.answered(text=self.text, stop_reason=stop, request_id=self.request_id, **usage)
            request.finish(None)


@dataclass(eq=False)
class ToolCall:
    """A call of a tool, while it is under way."""

    actor: Actor
    name: str
    tool_use_id: str
    tool_input: Mapping[str, Any]
    permission_mode: str | None
    began_unix_nano: int
    request: Request
    decision: tuple[str, str] | None = None
    answer: str | None = None  # of the host's ``can_use_tool``, as ``source``
    has_started: bool = False
    decided_unix_nano: int = 0
    worked_ms: float | None = None
    result_bytes: int | None = None
    result_seen: bool = False
    context: Context | None = None
    scope: ToolUse | None = None
    execution: ToolExecution | None = None
    subagent: Actor | None = None
    is_over: bool = False

    def infer(self) -> None:
        """Say who decided, where nothing else does."""
        if self.decision is None:
            rejected = not self.has_started or self.answer == "user_reject"
            self.decision = ("reject" if rejected else "accept", self.answer or "config")


@dataclass(eq=False, kw_only=True)
class ToolBegin(Item):
    """The model asked for a tool, and it was decided on."""

    call: ToolCall

    def is_ready(self) -> bool:
        return self.call.decision is not None

    def settle(self) -> None:
        self.call.infer()

    def tell(self) -> None:
        self.call.context = self.actor.context.copy()
        self.call.context.run(self._tell, self.call)

    def _tell(self, call: ToolCall) -> None:
        call.scope = tool = self.actor.monitor.tool_use(
            call.name, tool_use_id=call.tool_use_id, tool_input=call.tool_input, request_id=call.request.request_id
        )
        with told_at(call.began_unix_nano):
            tool.start()
        tool.resume()
        decision, source = call.decision or ("accept", "config")
        with told_at(call.decided_unix_nano or self.at_unix_nano):
            made: Literal["accept", "reject"] = "reject" if decision == "reject" else "accept"
            tool.decided(made, source=source, permission_mode=call.permission_mode)
            if decision == "reject":
                tool.finish(None)
                call.scope = None
                call.is_over = True
            else:
                call.execution = tool.execution()
                call.execution.start()
                call.execution.resume()


@dataclass(eq=False, kw_only=True)
class ToolEnd(Item):
    """A tool ended."""

    call: ToolCall
    done: Mapping[str, Any] = field(default_factory=dict)
    """The input that it was run with in the end."""
    answer: Any = None
    error: str | None = None

    def is_ready(self) -> bool:
        return self.call.result_seen

    def settle(self) -> None:
        self.call.result_seen = True

    def tell(self) -> None:
        self.call.is_over = True
        if self.call.context is not None:
            self.call.context.run(self._tell, self.call)

    def _tell(self, call: ToolCall) -> None:
        tool, execution = call.scope, call.execution
        if tool is None:
            return
        with told_at(self.at_unix_nano):
            if self.error is not None:
                tool.failed(self.error)
            tool._result_bytes = call.result_bytes
            if execution is not None:
                execution.finish(None)
            if call.worked_ms is not None:
                tool._worked_s = call.worked_ms / 1000
            if call.name in {"Agent", "Task"} and self.error is None:
                self._tell_subagent(as_mapping(self.answer))
            if self.error is None:
                self._tell_work(call)
            tool.finish(None)

    def _tell_work(self, call: ToolCall) -> None:
        monitor = self.actor.monitor
        lines = changed_lines(call.name, self.answer)
        if lines is not None:
            monitor.record_lines(*lines, file_path=self.done.get("file_path"), model=call.request.model)
        if call.name == "Read":
            monitor.increment("claude.files_read")
        if call.name == "Bash":
            command = self.done.get("command")
            if makes_commit(command):
                monitor.record_commit()
            if makes_pull_request(command):
                monitor.record_pull_request()

    def _tell_subagent(self, answer: Mapping[str, Any]) -> None:
        subagent = self.call.subagent
        if subagent is not None and answer.get("status") == "completed":  # else it has only begun, in the background
            subagent.model = as_text(answer.get("resolvedModel")) or subagent.model
            subagent.is_completed = True
            tokens, tools, duration_ms = (answer.get(f"total{key}") for key in ("Tokens", "ToolUseCount", "DurationMs"))
            _tell_completed(self.actor.monitor, subagent, tokens, tools, duration_ms, is_async=False)


@dataclass(eq=False)
class SubagentEnd(Item):
    """A subagent in the background ended; ``actor`` is the subagent."""

    usage: Mapping[str, Any] = field(default_factory=dict)

    def tell(self) -> None:
        caller = self.actor.caller
        if caller is not None and caller.is_over and not self.actor.is_completed:  # else its call tells, or has told
            self.actor.context.run(self._tell)

    def _tell(self) -> None:
        tokens, tools, duration_ms = (self.usage.get(key) for key in ("total_tokens", "tool_uses", "duration_ms"))
        with told_at(self.at_unix_nano):
            _tell_completed(self.actor.monitor, self.actor, tokens, tools, duration_ms, is_async=True)


def _tell_completed(
    monitor: AgentMonitor, subagent: Actor, tokens: object, tools: object, duration_ms: object, *, is_async: bool
) -> None:
    is_built_in = subagent.query_source.startswith("agent:builtin:")
    shown = is_built_in or monitor._settings.log_tool_details
    token = subagent_id.set(subagent.agent_id)
    monitor._native_event(
        "subagent_completed",
        {
            "agent_type": subagent.kind if shown else "custom",
            "agent.source": "built-in" if is_built_in else "flagSettings",
            "is_built_in": is_built_in,
            "is_async": is_async,
            "total_tokens": tokens,
            "total_tool_uses": tools,
            "duration_ms": duration_ms,
            "model": subagent.model,
            "final_model": subagent.model,
            "model_swapped": False,
        },
    )
    subagent_id.reset(token)
