"""One lock around whatever is done once: the first use of a monitor, and the imports that come with it.

A fork waits for its holder. Without that, a child forked while another thread imports a module would find it half
made, and wait for ever for a thread that does not exist there.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType

__all__ = ["once"]

_FORK_WAITS_S = 5.0  # an import takes a fraction of that; longer, and something else is wrong


class _Once:
    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._held_for_fork = False

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def before_fork(self) -> None:
        """Wait until nobody is in the middle of it."""
        self._held_for_fork = self._lock.acquire(timeout=_FORK_WAITS_S)

    def after_in_parent(self) -> None:
        """Go on."""
        if self._held_for_fork:
            self._lock.release()

    def after_in_child(self) -> None:
        """Begin afresh; who held the lock may not exist here."""
        self._lock = threading.RLock()


once = _Once()
"""Used as ``with once:``; re-entrant."""

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=once.before_fork, after_in_parent=once.after_in_parent, after_in_child=once.after_in_child
    )
