"""Records what a program does through the Claude Agent SDK (``claude-agent-sdk``, 0.1.81 or later).

::

    from claude_monitoring.integrations.claude_agent_sdk import instrument

    instrument()
    async for message in claude_agent_sdk.query(prompt="..."):
        ...

The SDK starts a Claude Code. Either we report what the SDK tells of it (``observe``), or it reports itself to where we
do, in our trace and with our labels (``propagate``); then we report what it doesn't. Both ``query()`` and
``ClaudeSDKClient`` are covered, their subclasses too, and ``query`` under whatever name a module has it by then.
"""

from __future__ import annotations

import copy
import functools
import json
import sys
import typing
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import wrapt

from claude_monitoring._extras import require
from claude_monitoring._labels import as_text
from claude_monitoring._monitor import active_monitor
from claude_monitoring._once import once
from claude_monitoring._pricing import Tokens, cost_usd
from claude_monitoring._sealed import Sealed, warn_once
from claude_monitoring._settings import environment
from claude_monitoring.integrations._agent_session import AgentSession

if TYPE_CHECKING:
    from claude_monitoring._monitor import AgentMonitor

__all__ = ["instrument", "uninstrument"]

_MODES = ("observe", "propagate")
_HOOKS = (
    "UserPromptSubmit", "PreToolUse", "PostToolUse", "PostToolUseFailure", "SubagentStart", "SubagentStop", "Stop",
)  # fmt: skip
_SWITCH = "CLAUDE_CODE_ENABLE_TELEMETRY"
_Wrapped = Callable[..., Any]
_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]


class _State:
    """What is instrumented in this process."""

    is_on = False
    mode: str = "observe"
    monitor: AgentMonitor | None = None
    patches: list[tuple[Any, str, Any, Any]]  # owner, name, what was there, our wrapper


_state = _State()
_state.patches = []
_sessions: weakref.WeakKeyDictionary[Any, AgentSession] = weakref.WeakKeyDictionary()


def instrument(monitor: AgentMonitor | None = None, *, mode: Literal["observe", "propagate"] = "observe") -> None:
    """Record each Claude Code that the program starts through ``claude_agent_sdk`` from now on.

    Called again, it changes the monitor and the mode and nothing else.

    Args:
        monitor: Who records; if left out, the monitor of the innermost scope at each start, else the default one.
        mode: ``observe``: we report what the SDK tells; the program's own telemetry is off, unless the ``env`` of the
            options says otherwise. ``propagate``: the program reports itself, as ``monitor.subprocess_env()`` says,
            and we the metrics ``claude.*`` alone, which it doesn't have. Its switch is set in the options' ``env`` and
            ``settings``, since a settings file wins over the environment; an ``env`` that has it is left alone.

    Raises:
        MissingExtraError: ``claude-agent-sdk`` is not installed.
        ValueError: Another ``mode``.
    """
    if mode not in _MODES:
        raise ValueError(f"mode={mode!r}: expected 'observe' or 'propagate'")
    needed_by = "claude_monitoring.integrations.claude_agent_sdk"
    sdk = require("claude_agent_sdk", extra="claude-agent-sdk", needed_by=needed_by)
    with once:
        _state.monitor, _state.mode = monitor, mode
        _state.is_on = True
        if not _state.patches:
            with Sealed():
                _patch_all(sdk)
    if monitor is not None and not monitor._ready:
        monitor._begins_explicitly = True
    if monitor is None or monitor._recording():
        with Sealed():  # the prices load now, and not in the midst of the host's event loop
            cost_usd("claude-sonnet-4-5", Tokens(), None)


def uninstrument() -> None:
    """Undo ``instrument``; without it, nothing happens. Sessions under way are recorded to their end."""
    with once:
        _state.is_on = False
        _state.monitor = None
        left = []
        for patch in _state.patches:
            owner, name, before, ours = patch
            if vars(owner).get(name) is ours:
                setattr(owner, name, before)
            else:  # somebody has wrapped ours: it stays, and lets everything through
                left.append(patch)
        _state.patches = left


def _patch_all(sdk: Any) -> None:
    client = getattr(sdk, "ClaudeSDKClient", None)
    wrappers = {"connect": _connect, "query": _prompt, "receive_messages": _receive, "disconnect": _disconnect}
    for name, wrapper in wrappers.items():
        _patch(client, name, wrapper, "ClaudeSDKClient.")
    query = vars(sdk).get("query")
    _patch(sdk, "query", _query, "")
    modules = list(sys.modules.values()) if query is not None else []
    for module in modules:  # those that have it by a name already: `from claude_agent_sdk import query`
        names = getattr(module, "__dict__", None) or {}
        for name in [name for name, value in list(names.items()) if value is query]:
            _patch(module, name, _query, "")


def _patch(owner: Any, name: str, wrapper: Callable[..., Any], prefix: str) -> None:
    before = vars(owner).get(name) if owner is not None else None
    if before is None:
        warn_once(
            ("claude_agent_sdk", prefix + name),
            f"claude_monitoring: this version of claude_agent_sdk has no {prefix}{name}: what goes through it is not "
            "recorded, the rest is",
        )
        return
    ours: Any = wrapt.FunctionWrapper(before, wrapper)
    setattr(owner, name, ours)
    _state.patches.append((owner, name, before, ours))


# -- a session begins --------------------------------------------------------------------------------


def _begin(options: Any) -> tuple[AgentSession, Any] | None:
    """A session to watch, and the options that let us; ``None`` while telemetry is off."""
    begun = None
    with Sealed():
        monitor = _state.monitor or active_monitor()
        if _state.is_on and monitor._recording():
            if not monitor._ready:
                monitor._begins_explicitly = True
            sdk = sys.modules["claude_agent_sdk"]
            ours = copy.copy(options) if options is not None else sdk.ClaudeAgentOptions()
            is_watching = _state.mode == "observe"
            session = AgentSession(
                monitor if is_watching else monitor._without_native(),
                _start_type(ours),
                model=as_text(getattr(ours, "model", None)),
                custom_agents=getattr(ours, "agents", None) or (),
            )
            ours.hooks = _with_ours(getattr(ours, "hooks", None), session, sdk)
            if callable(getattr(ours, "can_use_tool", None)):
                ours.can_use_tool = _asking(ours.can_use_tool, session)
            ours.settings = _settings_for(ours, is_watching=is_watching)
            ours.env = _environment_for(monitor, getattr(ours, "env", None) or {}, is_watching=is_watching)
            begun = session, ours
    return begun


def _start_type(options: Any) -> str:
    if getattr(options, "resume", None):
        return "resume"
    return "continue" if getattr(options, "continue_conversation", False) else "fresh"


def _environment_for(monitor: AgentMonitor, given: Mapping[str, str], *, is_watching: bool) -> dict[str, str]:
    """The options' ``env``, which the SDK lays over this process' own."""
    if is_watching:
        return {_SWITCH: "0", **given}
    whole = {**environment(), **given}
    child = monitor.subprocess_env(whole)
    dropped = {name: "" for name in whole if name.startswith("OTEL_") and name not in child}
    return {**given, **{name: value for name, value in child.items() if whole.get(name) != value}, **dropped}


def _settings_for(options: Any, *, is_watching: bool) -> str | None:
    """The options' ``settings`` with the telemetry's switch, since the ``env`` of a settings file wins over ours."""
    given = getattr(options, "settings", None)
    if _SWITCH in (getattr(options, "env", None) or {}):
        return given
    try:
        text = given or "{}"
        if not text.lstrip().startswith("{"):
            text = Path(getattr(options, "cwd", None) or "", text).read_text(encoding="utf-8")
        whole = json.loads(text)
        return json.dumps({**whole, "env": {**whole.get("env", {}), _SWITCH: "0" if is_watching else "1"}})
    except (OSError, ValueError, TypeError, AttributeError):  # the program will say what is wrong with it
        return given


def _with_ours(hooks: Mapping[str, Any] | None, session: AgentSession, sdk: Any) -> dict[str, Any]:
    async def tell(given: Any, *_: Any) -> dict[str, Any]:
        session.hook(given)
        return {}

    whole = dict(hooks or {})
    for name in _known_hooks(sdk):
        whole[name] = [*whole.get(name, ()), sdk.HookMatcher(hooks=[tell])]
    return whole


def _known_hooks(sdk: Any) -> list[str]:
    """Those of the hooks that we use which this version of the SDK has."""
    kinds = getattr(getattr(sdk, "types", None), "HookEvent", None)
    names = {name for kind in typing.get_args(kinds) for name in typing.get_args(kind)}
    missing = [name for name in _HOOKS if names and name not in names]
    for name in missing:
        warn_once(
            ("claude_agent_sdk hook", name),
            f"claude_monitoring: this version of claude_agent_sdk has no hook {name}: what only it tells is not "
            "recorded, the rest is",
        )
    return [name for name in _HOOKS if name not in missing]


def _asking(can_use_tool: Callable[..., Any], session: AgentSession) -> Callable[..., Any]:
    @functools.wraps(can_use_tool)
    async def ask(*args: Any, **kwargs: Any) -> Any:
        result = await can_use_tool(*args, **kwargs)
        with Sealed():
            context = kwargs.get("context", args[2] if len(args) > 2 else None)  # noqa: PLR2004 - its third
            source = "user_permanent" if getattr(result, "updated_permissions", None) else "user_temporary"
            if getattr(result, "behavior", "") == "deny":
                source = "user_reject"
            session.answered(getattr(context, "tool_use_id", None), source)
        return result

    return ask


# -- its messages ------------------------------------------------------------------------------------


class _Messages(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """The SDK's messages, each told to its session when the host takes it.

    Args:
        inner: The SDK's asynchronous generator.
        session: Who is told.
        is_whole: Whether the program ends with them.
    """

    def __init__(self, inner: Any, session: AgentSession, *, is_whole: bool) -> None:
        super().__init__(inner)
        self._self_session = session
        self._self_is_whole = is_whole
        if is_whole:
            weakref.finalize(self, session.abandon)

    def __aiter__(self) -> _Messages:
        return self

    async def _next(self, step: Callable[..., Any], *args: Any) -> Any:
        try:
            message = await step(*args)
        except BaseException:
            self._self_over()
            raise
        self._self_session.message(message)
        return message

    def _self_over(self) -> None:
        if self._self_is_whole:
            self._self_session.finish()

    async def __anext__(self) -> Any:
        return await self._next(self.__wrapped__.__anext__)

    async def asend(self, value: Any) -> Any:
        return await self._next(self.__wrapped__.asend, value)

    async def athrow(self, *args: Any) -> Any:
        return await self._next(self.__wrapped__.athrow, *args)

    async def aclose(self) -> None:
        try:
            await self.__wrapped__.aclose()
        finally:
            self._self_over()


def _query(wrapped: _Wrapped, _: Any, args: _Args, kwargs: _Kwargs) -> Any:
    begun = _begin(kwargs.get("options")) if _state.is_on else None
    if begun is None:
        return wrapped(*args, **kwargs)
    session, options = begun
    return _Messages(wrapped(*args, **{**kwargs, "options": options}), session, is_whole=True)


async def _connect(wrapped: _Wrapped, client: Any, args: _Args, kwargs: _Kwargs) -> Any:
    own = getattr(client, "options", None)
    begun = _begin(own) if _state.is_on else None
    if begun is None:
        return await wrapped(*args, **kwargs)
    session, client.options = begun
    with Sealed():
        _sessions[client] = session
        weakref.finalize(client, session.abandon)
    try:
        return await wrapped(*args, **kwargs)
    except BaseException:
        session.finish()
        raise
    finally:
        client.options = own


async def _prompt(wrapped: _Wrapped, client: Any, args: _Args, kwargs: _Kwargs) -> Any:
    with Sealed():
        session = _sessions.get(client)
        if session is not None:
            session.prompted()
    return await wrapped(*args, **kwargs)


def _receive(wrapped: _Wrapped, client: Any, args: _Args, kwargs: _Kwargs) -> Any:
    messages, session = wrapped(*args, **kwargs), None
    with Sealed():
        session = _sessions.get(client)
    return messages if session is None else _Messages(messages, session, is_whole=False)


async def _disconnect(wrapped: _Wrapped, client: Any, args: _Args, kwargs: _Kwargs) -> Any:
    try:
        return await wrapped(*args, **kwargs)
    finally:
        with Sealed():
            session = _sessions.pop(client, None)
            if session is not None:
                session.finish()
