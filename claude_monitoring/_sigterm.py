"""``SIGTERM``, for hosts that ask for it: what is recorded is sent before the host's own handler runs."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from claude_monitoring import _process
from claude_monitoring._sealed import Sealed, warn_once

__all__ = ["flush_on_sigterm"]


class _Handler:
    """Flushes, then does what would have been done without it."""

    def __init__(self, previous: object) -> None:
        self._previous = previous

    def __call__(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous
        if callable(previous):
            with Sealed():
                _process.flush()
            previous(number, frame)
        elif previous == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)  # a second one ends the program at once
            with Sealed():
                _process.finish()
            os.kill(os.getpid(), number)


def flush_on_sigterm() -> None:
    """Put a handler before the one that is there now; one that is set later replaces it.

    Where the program ends by the signal, this is its end: sessions end, all is flushed and closed. Where the host has a
    handler, all is flushed, and the host decides what comes next. Both take at most the shutdown timeout.
    """
    if threading.current_thread() is not threading.main_thread():
        warn_once(
            "sigterm",
            "claude_monitoring: flush_on_sigterm has no effect: only the main thread may set a signal handler; make "
            "the monitor there",
        )
        return
    previous = signal.getsignal(signal.SIGTERM)
    if isinstance(previous, _Handler):
        return
    if previous is None:
        warn_once(
            "sigterm",
            "claude_monitoring: flush_on_sigterm has no effect: the handler of SIGTERM was not set from Python",
        )
        return
    signal.signal(signal.SIGTERM, _Handler(previous))
