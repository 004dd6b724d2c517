"""What a decorated callable is: a transparent wrapper that also copies and pickles like a plain function or method."""

from __future__ import annotations

import copy
import pickle
import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import wrapt

__all__ = ["Tracked", "TrackedFunction", "TrackedMethod", "TrackedObject"]

if TYPE_CHECKING:
    _Bound = wrapt.BoundFunctionWrapper[..., Any]
    _Function = wrapt.FunctionWrapper[..., Any]
else:
    _Bound = wrapt.BoundFunctionWrapper
    _Function = wrapt.FunctionWrapper


class TrackedMethod(_Bound):
    """What a tracked function is when looked up on a class or an instance."""

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        owner = getattr(self.__wrapped__, "__self__", None)
        if owner is not None:
            return getattr, (owner, self.__name__)
        return pkgutil.resolve_name, (f"{self.__module__}:{_importable_name(self)}",)

    def __copy__(self) -> TrackedMethod:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        owner = getattr(self.__wrapped__, "__self__", None)
        return self if owner is None else getattr(copy.deepcopy(owner, memo), self.__name__)


class Tracked(_Function):
    """What is tracked. It pickles by its name, so the other side needs the same module and nothing of ours."""

    __bound_function_wrapper__ = TrackedMethod

    def __reduce_ex__(self, protocol: object) -> str:
        return _importable_name(self)

    def __copy__(self) -> Tracked:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Tracked:
        return self


class TrackedFunction(Tracked):
    """A tracked function as ``def`` makes it.

    Called by its name it has no instance. ``wrapt`` would look for one and find an exception: a seventh of such a call.
    """

    def __init__(self, wrapped: Callable[..., Any], wrapper: Callable[..., Any]) -> None:
        super().__init__(wrapped, wrapper)
        self._self_call = wrapper

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._self_call(self.__wrapped__, None, args, kwargs)


class TrackedObject(Tracked):
    """A tracked callable that does not bind, as the attribute of a class: ``wrapt`` before 1.17 can't tell."""

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self


def _importable_name(function: Tracked | TrackedMethod) -> str:
    name = getattr(function, "__qualname__", None)
    if name is None or "<" in name:
        raise pickle.PicklingError(
            f"can't pickle {function!r}: a tracked callable pickles by its name, and this one can't be imported by name"
        )
    return str(name)
