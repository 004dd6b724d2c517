"""What a fork waits for.

``once`` is around whatever is done once: the first use of a monitor, and the imports that come with it. A child forked
while another thread imports a module would find it half made, and wait for ever for a thread that does not exist there.
An import lets go of the interpreter at each file, and beside a thread that computes it waits a whole switch interval to
get it back: seconds for what takes 50 ms. So threads take turns faster as long as ``once`` is held.

``calls`` are those of gRPC, whose C core is in no state to be copied while it works: children crashed in it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from types import TracebackType

__all__ = ["calls", "import_what_registers_fork_hooks", "once"]

_FORK_WAITS_S = 5.0  # an import takes a fraction of that; longer, and something else is wrong
_TURN_S = 1e-4  # Python's own is 5e-3
_FORK_WAITS_FOR_CALLS_S = 0.5  # a collector that is there answers in a fraction of that


class _Once:
    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._held_for_fork = False
        self._hosts_turn_s = self._turn_s = 0.0

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1
        if self._depth == 1:
            self._hosts_turn_s = sys.getswitchinterval()
            sys.setswitchinterval(min(_TURN_S, self._hosts_turn_s))
            self._turn_s = sys.getswitchinterval()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if not self._depth:
            self._give_turns_back()
        self._lock.release()

    def _give_turns_back(self) -> None:
        if sys.getswitchinterval() == self._turn_s:  # else the host has set another
            sys.setswitchinterval(self._hosts_turn_s)

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
        if self._held_for_fork:
            for _ in range(self._depth):  # the thread that forks is in the middle of it itself
                self._lock.acquire()
        elif self._depth:
            self._depth = 0
            self._give_turns_back()


class _Calls:
    """Any number of threads may be in it at the same time, one call each."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._under_way: set[int] = set()

    def __enter__(self) -> None:
        with self._gate:
            self._under_way.add(threading.get_ident())

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._under_way.discard(threading.get_ident())

    def before_fork(self) -> None:
        """Let no new one begin, and wait a moment for those under way.

        One that takes longer waits for a collector that says nothing, and the core with it. It is not cut off: a core
        that closes a channel is copied in a worse state, and a child was seen to wait for it for ever.
        """
        self._gate.acquire()
        deadline = time.monotonic() + _FORK_WAITS_FOR_CALLS_S
        while self._under_way and time.monotonic() < deadline:
            time.sleep(0.0005)

    def after_in_parent(self) -> None:
        """Go on."""
        self._gate.release()

    def after_in_child(self) -> None:
        """Begin afresh."""
        self._gate = threading.Lock()
        self._under_way = set()


once = _Once()
"""Used as ``with once:``; re-entrant."""

calls = _Calls()
"""Used as ``with calls:`` around one call of gRPC."""

if hasattr(os, "register_at_fork"):  # not on Windows
    for waited in (once, calls):
        os.register_at_fork(
            before=waited.before_fork, after_in_parent=waited.after_in_parent, after_in_child=waited.after_in_child
        )


def import_what_registers_fork_hooks() -> None:
    """To be called when a monitor is made, before threads use it.

    OpenTelemetry's SDK imports ``concurrent.futures.thread``. Were that done while a fork waits for ``once``, the fork
    would run the module's hook for afterwards without the one for before, and print a traceback. In a forked child
    OpenTelemetry uses a thread pool, whose own hook has to have run.
    """
    with suppress(RuntimeError):  # the interpreter is going down, and nobody forks any more
        import concurrent.futures.thread  # noqa: F401
