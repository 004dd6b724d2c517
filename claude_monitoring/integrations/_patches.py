"""Wrappers around what a library has, and how they are taken away again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wrapt

from claude_monitoring._sealed import warn_once

__all__ = ["Patches"]


class _Ours(wrapt.FunctionWrapper):  # type: ignore[type-arg]
    """Told from the wrappers of others by its type."""


class Patches:
    """What we have put around the functions of a library."""

    def __init__(self, library: str) -> None:
        self._library = library
        self._made: list[tuple[Any, str, Any, Any]] = []  # owner, name, what was there, our wrapper

    def before(self, owner: Any, name: str) -> Any:
        """What ``owner`` has by this name, without ours."""
        own = (before for holder, made, before, _ in self._made if holder is owner and made == name)
        return next(own, vars(owner).get(name))

    def wrap(self, owner: Any, name: str, wrapper: Callable[..., Any], shown: str) -> None:
        """Put ``wrapper`` around ``owner.name``, once; where there is none, one line says so.

        Args:
            owner: A class or a module; ``None`` for one that this version of the library does not have.
            name: Of its own, not one that it inherits.
            wrapper: As wrapt calls it: ``wrapper(wrapped, instance, args, kwargs)``.
            shown: What the line calls it.
        """
        if any(holder is owner and made == name for holder, made, _, _ in self._made):
            return
        before = vars(owner).get(name) if owner is not None else None
        if before is None:
            warn_once(
                (self._library, shown),
                f"claude_monitoring: this version of {self._library} has no {shown}: what goes through it is not "
                "recorded, the rest is",
            )
            return
        if type(before) is _Ours:  # somebody has put back what was there in between
            ours, before = before, before.__wrapped__
        else:
            ours = _Ours(before, wrapper)
            setattr(owner, name, ours)
        self._made.append((owner, name, before, ours))

    def undo(self, *, keeps_classes: bool = False) -> None:
        """Take ours away, but from where somebody has wrapped it: there it stays, and lets everything through.

        Args:
            keeps_classes: Leave the methods of classes as they are, which are in use.
        """
        left = []
        for patch in self._made:
            owner, name, before, ours = patch
            if not (keeps_classes and isinstance(owner, type)) and vars(owner).get(name) is ours:
                setattr(owner, name, before)
            else:
                left.append(patch)
        self._made = left
