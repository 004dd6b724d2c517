"""Puts a scope around every call of a callable of any kind, and leaves it looking and behaving as before.

Which kind it is (plain, coroutine, generator, async generator) is decided once, at decoration. A scope is current only
while the callable's own code runs: between the steps of a generator the caller sees what it would see without us.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from claude_monitoring._once import once

__all__ = ["Begin", "Scope", "wrap"]

P = ParamSpec("P")
R = TypeVar("R")
_Run = TypeVar("_Run", bound=Callable[..., Any])
_Call = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]


class Steps(Protocol):
    """What goes step by step, between which other code runs. No method raises."""

    def start(self) -> None:
        """Begin, without becoming current. Called once, when the callable's code is about to run."""

    def resume(self) -> None:
        """Become current in this context, with all that was current inside at the latest ``pause``."""

    def pause(self) -> None:
        """Undo ``resume`` between two steps of a generator, in the same context."""

    def suspend(self) -> None:
        """Undo ``resume``, in the same context, but for a coroutine that is closed from elsewhere."""

    def finish(self, exc: BaseException | None, result: object = None) -> None:
        """End, once, with what the call raised or returned. A generator that is closed early raised nothing."""


class Scope(Steps, Protocol):
    """One tracked call."""

    def open(self) -> None:
        """``start`` and ``resume``."""

    def shut(self, exc: BaseException | None, result: object = None) -> None:
        """``suspend`` and ``finish``; also after an interrupt that came in the middle of ``open``."""


Begin = Callable[[tuple[Any, ...], dict[str, Any]], "Scope | None"]
"""Makes the scope of a call from its arguments, or ``None`` to let the call through untouched.

The positional arguments are those of the decorated function's own signature: with ``self`` or ``cls`` where it has one.
It runs at the call, so a coroutine that nobody awaits gets a scope that never starts.
"""


def wrap(function: Callable[P, R], begin: Begin) -> Callable[P, R]:
    """Return ``function`` with a scope from ``begin`` around each call.

    Raises:
        TypeError: For a class, a property, or anything else that is no function or method.
    """
    _refuse_what_cannot_be_tracked(function)
    # wrapt brings asyncio, which takes longer to import than all of ours.
    with once:
        from claude_monitoring._proxies import Tracked, TrackedFunction, TrackedObject

    if inspect.ismethod(function):
        begin = _without_instance(begin)
    is_plain = type(function) is types.FunctionType
    kind = TrackedFunction if is_plain else Tracked if hasattr(type(function), "__get__") else TrackedObject
    return cast("Callable[P, R]", kind(function, _caller(function, begin)))


def _refuse_what_cannot_be_tracked(function: object) -> None:
    if inspect.isclass(function):
        raise TypeError(
            f"the class {function.__qualname__} can't be tracked as a whole: "
            f"decorate its methods that do the work, such as {function.__qualname__}.run"
        )
    if isinstance(function, property | functools.cached_property):
        raise TypeError(
            f"a {type(function).__name__} can't be tracked: "
            f"put the tracking decorator below @{type(function).__name__}, on the function itself"
        )
    if not callable(function) and not isinstance(function, classmethod | functools.partialmethod):
        raise TypeError(f"expected a function or method to decorate, got {type(function).__name__}: {function!r:.100}")


def _without_instance(begin: Begin) -> Begin:
    # wrapt gives the instance of a method that was bound before it was decorated, though its signature has none.
    return lambda args, kwargs: begin(args[1:], kwargs)


def _caller(function: object, begin: Begin) -> _Call:
    inner = _implementation(function)
    if _is(inspect.isasyncgenfunction, inner):
        return _generator_call(_named(_generate_async, inner), begin)
    if _is(inspect.iscoroutinefunction, inner) or _is(_is_generator_based_coroutine, inner):
        return _coroutine_call(_named(_await, inner), begin)
    if _is(inspect.isgeneratorfunction, inner):
        return _generator_call(_named(_generate, inner), begin)
    return _plain_call(begin)


def _implementation(function: object) -> object:
    """Return what runs in the end, without partials and without what binds a method."""
    while True:
        if isinstance(function, functools.partial | functools.partialmethod):
            function = function.func
        elif isinstance(function, classmethod | staticmethod):
            function = function.__func__
        else:
            return function


def _is(kind: Callable[[object], bool], function: object) -> bool:
    return kind(function) or kind(type(function).__call__)


def _is_generator_based_coroutine(function: object) -> bool:
    return inspect.isgeneratorfunction(function) and bool(function.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE)


def _named(run: _Run, function: object) -> _Run:
    """Copy ``run`` so that its coroutines or generators have the function's name: asyncio and warnings show it."""
    code = cast("types.FunctionType", run)
    name = str(getattr(function, "__name__", type(function).__name__))
    copy = types.FunctionType(code.__code__, code.__globals__, name)
    copy.__qualname__ = str(getattr(function, "__qualname__", name))
    return cast("_Run", copy)


def _plain_call(begin: Begin) -> _Call:
    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scope = begin(args if instance is None else (instance, *args), kwargs)
        if scope is None:
            return wrapped(*args, **kwargs)
        try:
            scope.open()
            result = wrapped(*args, **kwargs)
        except BaseException as exc:
            scope.shut(exc)
            raise
        scope.shut(None, result)
        return result

    return call


def _coroutine_call(run: Callable[..., Any], begin: Begin) -> _Call:
    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scope = begin(args if instance is None else (instance, *args), kwargs)
        if scope is None:
            return wrapped(*args, **kwargs)
        # The inner coroutine is made on the first step: closed before that, it would warn that nobody awaited it.
        return run(wrapped, args, kwargs, scope)

    return call


def _generator_call(run: Callable[..., Any], begin: Begin) -> _Call:
    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scope = begin(args if instance is None else (instance, *args), kwargs)
        inner = wrapped(*args, **kwargs)
        return inner if scope is None else run(inner, scope)

    return call


async def _await(
    wrapped: Callable[..., Awaitable[Any]], args: tuple[Any, ...], kwargs: dict[str, Any], scope: Scope
) -> Any:
    try:
        scope.open()
        result = await wrapped(*args, **kwargs)
    except BaseException as exc:
        scope.shut(exc)
        raise
    scope.shut(None, result)
    return result


def _generate(inner: Generator[Any, Any, Any], scope: Steps) -> Generator[Any, Any, Any]:
    """Drive ``inner`` step by step, as ``yield from`` would, with the scope current in each step and never between."""
    step: Callable[[Any], Any] = inner.send
    value: Any = None
    try:
        scope.start()
        while True:
            try:
                scope.resume()
                item = step(value)
            finally:
                value = None  # an exception thrown in would keep this frame alive, and be kept by it
                scope.pause()
            try:
                value = yield item
                step = inner.send
            except BaseException as exc:  # noqa: BLE001 - the inner generator decides, also about GeneratorExit
                step, value = inner.throw, exc
            item = None  # else two large items would be alive while the next is made
    except StopIteration as stop:
        scope.finish(None, stop.value)
        return stop.value
    except GeneratorExit:
        scope.finish(None)
        raise
    except BaseException as exc:
        scope.finish(exc)
        raise


async def _generate_async(inner: AsyncGenerator[Any, Any], scope: Scope) -> AsyncGenerator[Any, Any]:
    step: Callable[[Any], Awaitable[Any]] = functools.partial(_first_step, inner)
    value: Any = None
    try:
        scope.start()
        while True:
            try:
                item = await _Step(step(value), scope)
            finally:
                value = None
            try:
                value = yield item
                step = inner.asend
            except BaseException as exc:  # noqa: BLE001 - as above
                step, value = inner.athrow, exc
            item = None
    except StopAsyncIteration:
        scope.finish(None)
    except GeneratorExit:
        scope.finish(None)
        raise
    except BaseException as exc:
        scope.finish(exc)
        raise


class _Step:
    """One step of an async generator: driven like a generator, in the task of the caller, without start or end."""

    __slots__ = ("_awaitable", "pause", "resume", "suspend")

    def __init__(self, awaitable: Awaitable[Any], scope: Scope) -> None:
        self._awaitable = awaitable
        self.resume = scope.resume
        self.pause = scope.pause
        self.suspend = scope.suspend

    def __await__(self) -> Generator[Any, Any, Any]:
        return _generate(self._awaitable.__await__(), self)

    def start(self) -> None:
        """Nothing: the generator began before."""

    def finish(self, exc: BaseException | None, result: object = None) -> None:
        """Nothing: the generator goes on."""


def _first_step(inner: AsyncGenerator[Any, Any], value: None) -> Awaitable[Any]:
    """Begin ``inner`` unseen by the event loop.

    The loop closes async generators that were left open. It knows the outer one, which closes the inner one; if it knew
    both it would close both at once, and one of the two fails with "already running".
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None, finalizer=_left_to_the_outer_one)
    try:
        return inner.asend(value)
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _left_to_the_outer_one(inner: AsyncGenerator[Any, Any]) -> None:
    """Keep the garbage collector from closing ``inner`` in the middle of its cleanup."""
