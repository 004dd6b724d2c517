"""Records what a program does through Anthropic's SDK (``anthropic``, 0.40 or later): tokens, cost, requests, errors.

::

    from claude_monitoring.integrations.anthropic import instrument

    instrument()
    anthropic.Anthropic().messages.create(...)

All ways lead through the client's public ``request``: ``create``, ``parse``, streams, ``beta``, raw responses, batches,
every subclass and proxy of a client, made before or after. So that is what is wrapped, with ``send`` of its transport,
where the attempts are counted, and the response's methods that hand out its body: we see it when the caller reads it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from claude_monitoring._extras import require
from claude_monitoring._monitor import active_monitor
from claude_monitoring._once import once
from claude_monitoring._pricing import Tokens, cost_usd
from claude_monitoring._sealed import Sealed
from claude_monitoring.integrations._anthropic_calls import Call, call_of, current_call, observed
from claude_monitoring.integrations._patches import Patches

if TYPE_CHECKING:
    from claude_monitoring._monitor import AgentMonitor

__all__ = ["instrument", "uninstrument"]

_RETRY_COUNT = "x-stainless-retry-count"  # the SDK sends it with each attempt, and with nothing else
_Wrapped = Callable[..., Any]
_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]


class _State:
    """What is instrumented in this process."""

    is_on = False
    monitor: AgentMonitor | None = None


_state = _State()
_patches = Patches("anthropic")


def instrument(monitor: AgentMonitor | None = None) -> None:
    """Record each call that the program makes through ``anthropic``; clients that exist already are included.

    Called again, it changes the monitor and nothing else.

    Args:
        monitor: Who records; if left out, the monitor of the innermost scope at each call, else the default one.

    Raises:
        MissingExtraError: ``anthropic`` is not installed.
    """
    sdk = require("anthropic", extra="anthropic", needed_by="claude_monitoring.integrations.anthropic")
    with once:
        _state.monitor = monitor
        was_on, _state.is_on = _state.is_on, True
        if not was_on:
            with Sealed():
                _patch_all(sdk)
    if monitor is None or monitor._live():
        with Sealed():  # the prices load now: a stream that is collected while they load would find them half made
            cost_usd("claude-sonnet-4-5", Tokens(), None)


def uninstrument() -> None:
    """Undo ``instrument``; without it, nothing happens. Streams under way are recorded when they are let go."""
    with once:
        _state.is_on = False
        _state.monitor = None
        _patches.undo()


def _patch_all(sdk: Any) -> None:
    _patch(getattr(sdk, "Anthropic", None), "Anthropic", request=_request)
    _patch(getattr(sdk, "AsyncAnthropic", None), "AsyncAnthropic", request=_request_async)
    transport = _owner(getattr(sdk, "DefaultHttpxClient", None), "send")
    library = importlib.import_module(transport.__module__.partition(".")[0]) if transport is not None else None
    _patch(getattr(library, "Client", None), "Client", send=_send)
    _patch(getattr(library, "AsyncClient", None), "AsyncClient", send=_send_async)
    response = getattr(library, "Response", None)
    _patch(response, "Response", iter_bytes=_iter_bytes, close=_close, aiter_bytes=_aiter_bytes, aclose=_aclose)


def _owner(kind: Any, name: str) -> type | None:
    """The class from which ``kind`` has ``name``."""
    return next((base for base in getattr(kind, "__mro__", ()) if name in vars(base)), None)


def _patch(kind: Any, kind_name: str, **wrappers: Callable[..., Any]) -> None:
    for name, wrapper in wrappers.items():
        _patches.wrap(_owner(kind, name), name, wrapper, f"{kind_name}.{name}")


def _begin(args: _Args, kwargs: _Kwargs) -> Call | None:
    """The call that a request is, begun; ``None`` for one to let through."""
    if not _state.is_on:
        return None
    call = None
    with Sealed():
        options = kwargs.get("options", args[1] if len(args) > 1 else None)
        call = call_of(_state.monitor or active_monitor(), options)
        if call is not None:
            call.begin()
    return call


def _request(wrapped: _Wrapped, _: Any, args: _Args, kwargs: _Kwargs) -> Any:
    call = _begin(args, kwargs)
    if call is None:
        return wrapped(*args, **kwargs)
    token = current_call.set(call)
    try:
        result = wrapped(*args, **kwargs)
    except BaseException as exc:
        call.leave()
        call.raised(exc)
        raise
    finally:
        current_call.reset(token)
    call.leave()
    call.returned(result)
    return result


async def _request_async(wrapped: _Wrapped, _: Any, args: _Args, kwargs: _Kwargs) -> Any:
    call = _begin(args, kwargs)
    if call is None:
        return await wrapped(*args, **kwargs)
    token = current_call.set(call)
    try:
        result = await wrapped(*args, **kwargs)
    except BaseException as exc:
        call.leave()
        call.raised(exc)
        raise
    finally:
        with suppress(ValueError):  # a coroutine that is closed elsewhere has nothing to undo
            current_call.reset(token)
    call.leave()
    call.returned(result)
    return result


def _attempt(args: _Args, kwargs: _Kwargs) -> Call | None:
    """The call that a request of the transport is an attempt of."""
    call = current_call.get()
    if call is None:
        return None
    request = kwargs.get("request", args[0] if args else None)
    return call if _RETRY_COUNT in getattr(request, "headers", ()) else None


def _send(wrapped: _Wrapped, _: Any, args: _Args, kwargs: _Kwargs) -> Any:
    call = _attempt(args, kwargs)
    if call is None:
        return wrapped(*args, **kwargs)
    call.sending()
    response = wrapped(*args, **kwargs)
    call.received(response)
    return response


async def _send_async(wrapped: _Wrapped, _: Any, args: _Args, kwargs: _Kwargs) -> Any:
    call = _attempt(args, kwargs)
    if call is None:
        return await wrapped(*args, **kwargs)
    call.sending()
    response = await wrapped(*args, **kwargs)
    call.received(response)
    return response


class _Reading:
    """The bytes of a body, each told to its call when the caller takes it. No generator: none closes another."""

    def __init__(self, inner: Any, call: Call) -> None:
        self._inner = inner
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __iter__(self) -> _Reading:
        return self

    def __next__(self) -> Any:
        call = self._call
        call.is_being_read = True
        try:
            chunk = next(self._inner)
        except StopIteration:
            call.end()
            raise
        except BaseException as exc:
            call.end(exc)
            raise
        finally:
            call.is_being_read = False
        call.feed(chunk)
        return chunk


class _AsyncReading(_Reading):
    def __aiter__(self) -> _AsyncReading:
        return self

    async def __anext__(self) -> Any:
        call = self._call
        call.is_being_read = True
        try:
            chunk = await self._inner.__anext__()
        except StopAsyncIteration:
            call.end()
            raise
        except BaseException as exc:
            call.end(exc)
            raise
        finally:
            call.is_being_read = False
        call.feed(chunk)
        return chunk


def _iter_bytes(wrapped: _Wrapped, response: Any, args: _Args, kwargs: _Kwargs) -> Any:
    call = observed.get(response)
    return wrapped(*args, **kwargs) if call is None else _Reading(wrapped(*args, **kwargs), call)


def _aiter_bytes(wrapped: _Wrapped, response: Any, args: _Args, kwargs: _Kwargs) -> Any:
    call = observed.get(response)
    return wrapped(*args, **kwargs) if call is None else _AsyncReading(wrapped(*args, **kwargs), call)


def _close(wrapped: _Wrapped, response: Any, args: _Args, kwargs: _Kwargs) -> Any:
    try:
        return wrapped(*args, **kwargs)
    finally:
        _closed(response)


async def _aclose(wrapped: _Wrapped, response: Any, args: _Args, kwargs: _Kwargs) -> Any:
    try:
        return await wrapped(*args, **kwargs)
    finally:
        _closed(response)


def _closed(response: Any) -> None:
    call = observed.get(response)
    if call is not None and not call.is_being_read:
        call.end()
