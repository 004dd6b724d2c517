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

import inspect
import sys
import weakref
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import wrapt

from claude_monitoring._extras import require
from claude_monitoring._monitor import active_monitor
from claude_monitoring._once import once
from claude_monitoring._pricing import Tokens, cost_usd
from claude_monitoring._sealed import Sealed
from claude_monitoring.integrations._agent_options import watched
from claude_monitoring.integrations._agent_session import AgentSession
from claude_monitoring.integrations._patches import Patches

if TYPE_CHECKING:
    from claude_monitoring._monitor import AgentMonitor

__all__ = ["instrument", "uninstrument"]

_MODES = ("observe", "propagate")
_Wrapped = Callable[..., Any]
_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]


class _State:
    """What is instrumented in this process."""

    is_on = False
    mode: str = "observe"
    monitor: AgentMonitor | None = None


_state = _State()
_patches = Patches("claude_agent_sdk")
_sessions: dict[int, tuple[AgentSession, weakref.finalize]] = {}  # type: ignore[type-arg]
"""Of clients by ``id``, for as long as they live: one of a class of the user's own may have no hash."""


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
        was_on, _state.is_on = _state.is_on, True
        if not was_on:
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
        _patches.undo(keeps_classes=bool(_sessions))


def _patch_all(sdk: Any) -> None:
    client = getattr(sdk, "ClaudeSDKClient", None)
    wrappers = {"connect": _connect, "query": _prompt, "receive_messages": _receive, "disconnect": _disconnect}
    for name, wrapper in wrappers.items():
        _patches.wrap(client, name, wrapper, f"ClaudeSDKClient.{name}")
    holders = list(_holders_of(_patches.before(sdk, "query")))  # those that have it: `from ... import query`
    _patches.wrap(sdk, "query", _query, "query")
    for module, name in holders:
        with Sealed():
            _patches.wrap(module, name, _query, name)


def _holders_of(function: Any) -> Iterator[tuple[Any, str]]:
    for module in list(sys.modules.values()):
        names: dict[str, Any] = {}
        with suppress(Exception):  # whatever stands there; and one that loads on use is not to load now
            names = object.__getattribute__(module, "__dict__")
        for name, value in list(names.items()):
            if value is function and function is not None:
                yield module, name


# -- a session begins --------------------------------------------------------------------------------


def _begin(options: Any) -> tuple[AgentSession, Any] | None:
    """A session to watch, and the options that let us; ``None`` while telemetry is off."""
    begun = None
    with Sealed():
        monitor = _state.monitor or active_monitor()
        if _state.is_on and monitor._recording():
            if not monitor._ready:
                monitor._begins_explicitly = True
            is_watching = _state.mode == "observe"
            recorder = monitor if is_watching else monitor._without_native()
            begun = watched(options, monitor, recorder, is_watching=is_watching)
    return begun


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
        self._self_outer: Any = None
        if is_whole:
            weakref.finalize(self, session.abandon)

    def __aiter__(self) -> _Messages:
        inner = aiter(self.__wrapped__)
        if inner is self.__wrapped__:
            return self
        messages = _Messages(inner, self._self_session, is_whole=False)  # no generator of the SDK, but of somebody
        messages._self_outer = self
        return messages

    async def _next(self, step: Callable[..., Any], *args: Any) -> Any:
        try:
            message = await step(*args)
        except BaseException:
            self._self_over()
            raise
        self._self_session.message(message)
        return message

    def _self_over(self) -> None:
        if self._self_outer is not None:
            self._self_outer._self_over()
        elif self._self_is_whole and getattr(self.__wrapped__, "ag_frame", None) is None:  # else it was called wrongly
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
    messages = wrapped(*args, **{**kwargs, "options": options})
    if not inspect.isasyncgen(messages):  # not the SDK's, but what somebody made of it
        return _Messages(messages, session, is_whole=True)
    told = _told(messages, session)
    weakref.finalize(told, session.abandon)
    return told


async def _told(messages: Any, session: AgentSession) -> AsyncGenerator[Any, None]:
    """A generator around the SDK's, for the event loop closes one that the host leaves early: that is the end."""
    try:
        async for message in messages:
            session.message(message)
            yield message
    finally:
        try:
            await messages.aclose()
        finally:
            session.finish()


async def _connect(wrapped: _Wrapped, client: Any, args: _Args, kwargs: _Kwargs) -> Any:
    own = getattr(client, "options", None)
    begun = _begin(own) if _state.is_on else None
    if begun is None:
        return await wrapped(*args, **kwargs)
    session, client.options = begun
    with Sealed():
        _drop(id(client))
        _sessions[id(client)] = session, weakref.finalize(client, _drop, id(client))
    try:
        return await wrapped(*args, **kwargs)
    except BaseException:
        session.finish()
        raise
    finally:
        client.options = own


def _drop(client_id: int) -> None:
    """The client is gone, or connects anew."""
    session, finalizer = _sessions.pop(client_id, (None, None))
    if session is not None and finalizer is not None:
        finalizer.detach()
        session.abandon()


def _session_of(client: Any) -> AgentSession | None:
    return _sessions.get(id(client), (None, None))[0]


async def _prompt(wrapped: _Wrapped, client: Any, args: _Args, kwargs: _Kwargs) -> Any:
    with Sealed():
        session = _session_of(client)
        if session is not None:
            session.prompted(kwargs.get("prompt", args[0] if args else None))
    return await wrapped(*args, **kwargs)


def _receive(wrapped: _Wrapped, client: Any, args: _Args, kwargs: _Kwargs) -> Any:
    messages, session = wrapped(*args, **kwargs), _session_of(client)
    return messages if session is None else _Messages(messages, session, is_whole=False)


async def _disconnect(wrapped: _Wrapped, client: Any, args: _Args, kwargs: _Kwargs) -> Any:
    try:
        return await wrapped(*args, **kwargs)
    finally:
        with Sealed():
            session, finalizer = _sessions.pop(id(client), (None, None))
            if session is not None and finalizer is not None:
                finalizer.detach()
                session.finish()
            if not _state.is_on:
                with once:
                    _patches.undo(keeps_classes=bool(_sessions))
