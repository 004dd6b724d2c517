"""One Claude Code that the SDK started, watched from the first prompt to its end.

Hooks say what happens and when, messages what the model said, the transcript what is final of both, results what the
program counted itself. They come in any order, from the SDK's tasks, the user's loop and a timer: each is put into a
box that one of them empties, and becomes a step of a queue that is told in its order.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from claude_monitoring._events import iso_time
from claude_monitoring._labels import as_text
from claude_monitoring._sealed import Sealed
from claude_monitoring._told import subagent_id
from claude_monitoring.integrations._agent_answers import Answers
from claude_monitoring.integrations._agent_facts import BUILT_IN_AGENTS
from claude_monitoring.integrations._agent_items import (
    Actor,
    Item,
    Prompt,
    Request,
    SubagentEnd,
    ToolBegin,
    ToolEnd,
    TurnEnd,
)
from claude_monitoring.integrations._agent_steps import Prompts, Steps
from claude_monitoring.integrations._agent_tools import Tools
from claude_monitoring.integrations._agent_totals import Totals
from claude_monitoring.integrations._agent_transcript import Transcript
from claude_monitoring.integrations._anthropic_bodies import as_mapping

if TYPE_CHECKING:
    from claude_monitoring._monitor import AgentMonitor
    from claude_monitoring._scopes import Session

__all__ = ["AgentSession"]

_TRANSCRIPT_LAG_S = 0.15
_MOST_TRIES = 8
_MOST_WAIT_S = 1.0


class AgentSession:
    """What is known of one run of the program. No method raises; ``finish`` alone waits, for a thread that tells.

    Args:
        monitor: Who records.
        start_type: ``fresh``, ``continue`` or ``resume``.
        model: The model that the host asks for, if it says so.
        custom_agents: Names of subagents that the host defines, which are reported as ``custom``.
    """

    def __init__(
        self, monitor: AgentMonitor, start_type: str, *, model: str = "", custom_agents: Collection[str] = ()
    ) -> None:
        self._monitor = monitor
        self._start_type = start_type
        self._custom_agents = frozenset(custom_agents)
        self._since = iso_time(time.time_ns())
        self._box: deque[tuple[int, Callable[..., None], tuple[Any, ...]]] = deque()
        self._lock = threading.Lock()
        self._steps = Steps()
        self._answers = Answers(self._steps, model)
        self._tools = Tools(self._steps)
        self._base = copy_context()
        self._prompts = Prompts()
        self._main = Actor(monitor, context=self._base)
        self._actors: dict[str, Actor] = {"": self._main}
        self._totals = Totals(is_whole=start_type == "fresh")
        self._scope: Session | None = None
        self._turn: Prompt | None = None
        self._timer: threading.Timer | None = None
        self._is_abandoned = self._is_over = False
        self._pid = os.getpid()

    # -- what comes in ---------------------------------------------------------------------------

    def prompted(self, prompt: object) -> None:
        """The host is about to send ``prompt``; what is current here is around its turn."""
        self._prompts.sent(prompt)

    def hook(self, given: object) -> None:
        """A hook was called with ``given``."""
        self._put(self._on_hook, as_mapping(given))

    def message(self, message: object) -> None:
        """The host was given ``message``."""
        self._put(self._on_message, message)

    def answered(self, tool_use_id: str | None, source: str) -> None:
        """The host's ``can_use_tool`` decided."""
        if tool_use_id:
            self._put(self._tools.answered, tool_use_id, source)

    def finish(self) -> None:
        """The program has ended, or nobody listens any more."""
        self._put(self._on_end)
        if os.getpid() == self._pid and self._lock.acquire(timeout=_MOST_WAIT_S):  # a thread may be telling just now
            self._lock.release()
            self._work()

    def abandon(self) -> None:
        """Nobody listens any more, and the program may not have ended yet."""
        self._put(self._on_abandoned)

    def _put(self, what: Callable[..., None], *args: Any) -> None:
        if os.getpid() != self._pid:  # the session is the parent's, which tells of it
            return
        self._box.append((time.time_ns(), what, args))
        self._work()

    def _work(self) -> None:
        while self._box and self._lock.acquire(blocking=False):
            try:
                self._empty_box()
            finally:
                self._lock.release()

    def _empty_box(self) -> None:
        while self._box:
            at, what, args = self._box.popleft()
            with Sealed():
                what(at, *args)
        with Sealed():
            self._tell_what_is_known()

    # -- hooks -----------------------------------------------------------------------------------

    def _on_hook(self, at: int, given: Mapping[str, Any]) -> None:
        name = given.get("hook_event_name")
        if self._is_over:
            return
        self._open(given)
        actor = self._actor_of(as_text(given.get("agent_id")))
        effort = as_text(as_mapping(given.get("effort")).get("level"))
        actor.effort = effort or actor.effort
        if name == "UserPromptSubmit":
            self._begin_turn(at, as_text(given.get("prompt"), 10**7), as_text(given.get("prompt_id")))
        elif name == "PreToolUse":
            self._tools.begins(at, actor, given)
        elif name in {"PostToolUse", "PostToolUseFailure"}:
            self._tools.ends(at, actor, given)
        elif name == "SubagentStart":
            self._subagent_begins(at, actor, given)
        elif name == "SubagentStop":
            self._subagent_ends(at, actor, given)
        elif name == "Stop":
            self._said_last(at, actor, given)
        self._read_transcripts()

    def _open(self, given: Mapping[str, Any]) -> None:
        """What the first word of the program tells of its session."""
        self._answers.model = as_text(given.get("model")) or self._answers.model
        session_id, path = as_text(given.get("session_id")), as_text(given.get("transcript_path"), 4096)
        if session_id and self._scope is None:
            self._scope = self._monitor.session(session_id, start_type=self._start_type)  # type: ignore[arg-type]
            self._base.run(self._scope.start)
            self._base.run(self._scope.resume)
        if path and self._main.transcript is None:
            self._main.transcript = Transcript(path, self._since, is_new=self._start_type == "fresh")

    def _actor_of(self, agent_id: str) -> Actor:
        return self._actors.get(agent_id, self._main)

    def _begin_turn(self, at: int, text: str, prompt_id: str) -> None:
        actor = self._main
        context = self._prompts.context_of(text) or self._base.copy()
        if self._scope is not None:
            context.run(self._scope.resume)
        turn = Actor(
            self._monitor, transcript=actor.transcript, context=context, last_unix_nano=at, effort=actor.effort
        )
        self._main = self._actors[""] = turn
        self._steps.queue.append(Prompt(turn, at, text=text, prompt_id=prompt_id))

    # -- subagents -------------------------------------------------------------------------------

    def _subagent_begins(self, at: int, _: Actor, given: Mapping[str, Any]) -> None:
        agent_id, kind = as_text(given.get("agent_id")), as_text(given.get("agent_type"))
        if not agent_id or agent_id in self._actors:
            return
        is_built_in = kind in BUILT_IN_AGENTS and kind not in self._custom_agents
        name = kind if is_built_in else "custom"
        caller = self._tools.caller_of(kind)
        actor = self._actors[agent_id] = Actor(
            self._monitor._subagent(name),
            agent_id,
            f"agent:builtin:{kind}" if is_built_in else "agent:custom",
            kind,
            caller=caller,
            context=self._main.context,
            last_unix_nano=at,
        )
        if caller is not None:
            caller.subagent = actor

    def _subagent_ends(self, at: int, actor: Actor, given: Mapping[str, Any]) -> None:
        path = as_text(given.get("agent_transcript_path"), 4096)
        if actor is self._main:
            return
        if path and actor.transcript is None:
            actor.transcript = Transcript(path, self._since, is_new=True)
        actor.is_done = True
        self._said_last(at, actor, given)

    def _background_ends(self, at: int, message: Any) -> None:
        actor = self._actors.get(as_text(message.task_id))
        if actor is not None:
            self._steps.queue.append(SubagentEnd(actor, at, usage=as_mapping(message.usage)))

    def _said_last(self, at: int, actor: Actor, given: Mapping[str, Any]) -> None:
        """The last answer of a turn asks for no tool; the host may not have taken its message yet."""
        text = given.get("last_assistant_message")
        last = next((one for one in reversed(self._steps.pending(actor)) if not one.tool_ids), None)
        if isinstance(text, str) and text and last is None:
            self._steps.asked(actor, at).text = text

    # -- messages --------------------------------------------------------------------------------

    def _on_message(self, at: int, message: Any) -> None:
        kind = type(message).__name__
        if self._is_over:
            return
        if kind == "AssistantMessage":
            actor = self._speaker(as_text(getattr(message, "parent_tool_use_id", None)))
            if actor is not None:
                self._answers.assistant(actor, at, message)
        elif kind == "UserMessage":
            self._answers.tool_results(message)
        elif kind == "TaskNotificationMessage":
            self._background_ends(at, message)
        elif kind == "SystemMessage":
            self._on_system(as_mapping(getattr(message, "data", None)))
        elif kind == "ResultMessage":
            before = self._steps.turn_end()
            self._steps.queue.append(TurnEnd(self._main, at, result=message))
            self._read_transcripts()
            if before is not None:
                self._settle(until=before)  # a whole turn was time enough for its transcript

    def _on_system(self, data: Mapping[str, Any]) -> None:
        if data.get("subtype") == "init":
            self._open(data)
        elif data.get("subtype") == "api_retry":
            self._answers.retried(self._main, data.get("attempt"))

    def _speaker(self, parent_tool_use_id: str) -> Actor | None:
        """Who said it; ``None`` for a subagent of which no hook has told: its transcript, or the totals, will."""
        if not parent_tool_use_id:
            return self._main
        callers = ((one, one.caller) for one in self._actors.values())
        return next((one for one, call in callers if call and call.tool_use_id == parent_tool_use_id), None)

    # -- transcripts -----------------------------------------------------------------------------

    def _read_transcripts(self) -> None:
        for actor in list(self._actors.values()):
            if actor.transcript is not None:
                for entry in actor.transcript.read():
                    with Sealed():
                        self._answers.entry(actor, entry)

    # -- telling ---------------------------------------------------------------------------------

    def _tell_what_is_known(self) -> None:
        for item in self._steps.known():
            with Sealed():
                self._tell(item)
        self._look_again_later()

    def _tell(self, item: Item) -> None:
        if isinstance(item, TurnEnd):
            self._end_turn(item)
            return
        if isinstance(item, Prompt):
            if self._turn is not None:
                self._turn.end(item.at_unix_nano)
            self._turn = item
        actor = item.actor
        if actor.caller is not None and actor.caller.context is not None and not actor.is_placed:
            actor.context = actor.caller.context.copy()
            actor.context.run(subagent_id.set, actor.agent_id)
            actor.is_placed = True
        item.tell()
        if isinstance(item, Request) and item.failure is None:
            self._totals.count(item)
        if isinstance(item, Request):
            item.text = ""  # the host may take the message much later, and only its id is needed then
        elif isinstance(item, ToolBegin | ToolEnd) and item.call.is_over:
            self._steps.calls.pop(item.call.tool_use_id, None)

    def _end_turn(self, end: TurnEnd) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.end(end.at_unix_nano)
        for agent_id, actor in list(self._actors.items()):
            if actor.is_done and not self._steps.pending(actor):
                del self._actors[agent_id]
        context = turn.actor.context if turn is not None else self._base
        with Sealed():
            context.run(self._totals.reconcile, end.result, self._monitor)
        if self._is_abandoned and self._steps.turn_end() is None:
            self._on_end(end.at_unix_nano)

    def _look_again_later(self) -> None:
        """The transcript is late by a moment, and nothing else may come: look again, a few times."""
        end = self._steps.turn_end()
        if end is None or self._timer is not None or self._is_over:
            return
        timer = threading.Timer(_TRANSCRIPT_LAG_S, self._put, (self._on_timer,))
        with suppress(RuntimeError):  # there can be no further thread
            if end.tries < _MOST_TRIES and threading.main_thread().is_alive():
                timer.start()  # no daemon: a program that ends now waits for what it has paid for
                end.tries += 1
                self._timer = timer
                return
        self._settle(until=end)

    def _on_timer(self, _: int) -> None:
        self._timer = None
        self._read_transcripts()

    def _settle(self, until: TurnEnd | None) -> None:
        """Nothing more will be heard of the steps up to here."""
        steps = list(self._steps.queue)
        if until is not None:
            steps = steps[: steps.index(until)]
            self._totals.complete([one for one in steps if isinstance(one, Request)], until.result)
        for item in steps:
            item.settle()
        self._tell_what_is_known()

    def _on_abandoned(self, at: int) -> None:
        if not self._is_over and not self._is_abandoned:
            self._is_abandoned = True
            if self._steps.turn_end() is None:
                self._steps.queue.append(TurnEnd(self._main, at))

    def _on_end(self, at: int) -> None:
        if self._is_over:
            return
        self._read_transcripts()
        self._tell_what_is_known()
        while (end := self._steps.turn_end()) is not None:
            self._settle(until=end)
        self._settle(until=None)
        self._is_over = True
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if self._turn is not None:
            self._turn.end(at)
        if self._scope is not None:
            self._scope.finish(None)
