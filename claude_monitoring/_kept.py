"""A property that is computed once, without a lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

__all__ = ["kept_property"]

V = TypeVar("V")


class kept_property(Generic[V]):  # noqa: N801 - used as ``property`` is
    """As ``functools.cached_property`` from Python 3.12 on.

    Before, that one has a lock, one for all instances: a child forked while any thread of the parent computes the
    property of any instance would wait for it for ever. Here two threads may compute it at the same time; the first
    one's value stays.
    """

    def __init__(self, make: Callable[[Any], V]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> V:
        if instance is None:  # asked of the class
            return cast("V", self)
        return cast("V", instance.__dict__.setdefault(self._name, self._make(instance)))
