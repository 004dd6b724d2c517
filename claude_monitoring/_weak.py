"""Sets of what may go at any moment."""

from __future__ import annotations

from typing import TypeVar
from weakref import WeakSet

__all__ = ["members"]

T = TypeVar("T")


def members(of: WeakSet[T]) -> list[T]:
    """Those that are alive. Other threads may add some meanwhile, for which Python's own iteration raises."""
    while True:
        try:
            return list(of)
        except RuntimeError:  # "Set changed size during iteration"
            continue
