"""What is under way here: the innermost monitor, session and task of this thread or coroutine."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from claude_monitoring._core import MonitorCore
    from claude_monitoring._scopes import Session
    from claude_monitoring._task import Task

__all__ = ["Frame", "current_frame", "current_task", "enter", "leave", "leave_block", "reset", "tasks_here"]


class Frame(Protocol):
    """One level of nesting: a scope, or a monitor in a ``with``.

    ``session`` and ``task`` are ``None`` where the monitor's own session, or no task, is meant.
    """

    @property
    def monitor(self) -> MonitorCore:
        """Whose level it is."""
        ...

    @property
    def session(self) -> Session | None:
        """The explicit session that it belongs to."""
        ...

    @property
    def task(self) -> Task | None:
        """The innermost task."""
        ...


_current: ContextVar[Frame | None] = ContextVar("claude_monitoring_frame", default=None)

current_frame = _current.get
"""The innermost frame, or ``None``."""

enter = _current.set
"""Make a frame the innermost; give the token to ``leave`` or ``reset``."""

reset = _current.reset
"""Undo ``enter``. Raises if that happened in another context, where there is nothing to undo."""


def leave(token: Token[Frame | None]) -> bool:
    """As ``reset``, but ``False`` instead of an exception."""
    try:
        reset(token)
    except (ValueError, RuntimeError, LookupError):
        return False
    return True


def leave_block(frame: Frame, token: Token[Frame | None]) -> list[Any] | None:
    """Undo ``enter(frame)`` at the end of a ``with``, which in a generator may come in the middle of something else.

    A forgotten generator is closed by the garbage collector at any moment; what is current then stays so.

    Returns:
        ``None`` if ``frame`` was not current. Else the frames around it, from the inside, that were left meanwhile; the
        nearest one that was not becomes current.
    """
    if _current.get() is not frame or not leave(token):
        return None
    skipped: list[Any] = []
    here: Any = _current.get()
    if here is not None and here.was_left_out_of_turn:
        while here is not None and here.was_left_out_of_turn:
            skipped.append(here)
            here = here.outer_frame
        _current.set(here)
    return skipped


def current_task() -> Task | None:
    """The innermost task under way here, or ``None``."""
    frame = _current.get()
    return frame.task if frame is not None else None


def tasks_here() -> Iterator[Task]:
    """The tasks under way here, the innermost first."""
    task = current_task()
    while task is not None:
        yield task
        task = task.parent
