"""Keeps our faults away from the host: one line a fault, everything counted, nothing raised.

Tests swap ``on_internal_error`` for a hook that collects and re-raises, so that our own bugs stay visible to us.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ["Sealed", "log", "renew_lock", "report_internal_error", "set_internal_error_hook", "warn_once"]

log = logging.getLogger("claude_monitoring")

_MAX_WARNED = 10_000
_warned: set[object] = set()
_lock = threading.Lock()
_hook: Callable[[BaseException], None] | None = None


def renew_lock() -> None:
    """In a forked child: another thread of the parent may have held it."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


def set_internal_error_hook(hook: Callable[[BaseException], None] | None) -> None:
    """Give internal faults to ``hook`` as well; ``None`` takes it away. For test suites."""
    global _hook  # noqa: PLW0603 - one hook a process, as with sys.excepthook
    _hook = hook


def warn_once(key: object, message: str, *, level: int = logging.WARNING) -> bool:
    """Log ``message`` the first time that ``key`` is seen in this process.

    Returns:
        Whether the line was written.
    """
    # A reader that finds the key never needs the lock; the bound keeps a host's odd names from filling memory.
    if key in _warned or len(_warned) >= _MAX_WARNED:
        return False
    if not _lock.acquire(timeout=0.1):  # a signal handler may have interrupted the holder
        return False
    try:
        if key in _warned:
            return False
        _warned.add(key)
    finally:
        _lock.release()
    log.log(level, message)
    return True


def report_internal_error(exc: BaseException) -> None:
    """Count and tell a fault of our own, once for each place and type."""
    if _hook is not None:
        _hook(exc)
    trace = exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "unknown"
    warn_once(
        ("internal", where, type(exc)),
        f"claude_monitoring: internal error, please report it; your program is not affected: "
        f"{type(exc).__name__}: {str(exc)[:200]} ({where})",
    )


class Sealed:
    """A block whose exceptions are reported and swallowed; ``KeyboardInterrupt`` and the like pass."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(exc, Exception):
            return False
        report_internal_error(exc)
        return True
