"""Pauses in long work of a thread of ours, so that the host's threads come to run in between."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from time import perf_counter, sleep  # the real ones, should gevent patch the module later
from typing import TypeVar

__all__ = ["CHUNK", "pause", "paused"]

T = TypeVar("T")

CHUNK = 250
"""How many series are worked on in one go, which takes well below a millisecond."""

_LINES = 50
_WORK_S = 0.0005
_PAUSE_S = 0.00005


class _Since(threading.local):
    paused = 0.0


_since = _Since()


def pause() -> None:
    """Let a thread that waits for the interpreter have it, if this one has had it for long enough.

    Without this it would wait for the switch interval, 5 ms, whenever it comes back from waiting for anything. A sleep
    of zero would end before the other thread is awake.
    """
    if perf_counter() - _since.paused > _WORK_S:
        sleep(_PAUSE_S)
        _since.paused = perf_counter()


def paused(items: Iterable[T]) -> Iterator[T]:
    """``items``, with pauses in between; for those that take longer than a series does: lines of a page."""
    for number, item in enumerate(items):
        if number % _LINES == 0:
            pause()
        yield item
