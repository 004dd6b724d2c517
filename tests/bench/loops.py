"""The loop around a statement that is timed, with the standard library alone: processes of peers use it, too."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import repeat
from typing import Any

from harness import Effort, Reading, Sample, Side

__all__ = ["Names", "Surroundings", "calibrate", "statement"]

Names = dict[str, Any]
Surroundings = Callable[[], AbstractContextManager[Names]]
"""The global names that a statement uses."""

_HEADER = "def loop(items, clock):\n    start = clock()\n    for item in items:\n        "
_FOOTER = "\n    return clock() - start\n"


def _nothings(count: int) -> Iterable[Any]:
    return repeat(None, count)


def statement(
    text: str, surroundings: Surroundings, items: Callable[[int], Iterable[Any]] = _nothings, *, is_async: bool = False
) -> Side:
    """A side whose sample is the mean time of ``text`` over a calibrated number of turns.

    Args:
        text: One statement; ``item`` is what the turn gets from ``items``.
        surroundings: Where its names come from.
        items: Makes what the turns get, before the clock starts.
        is_async: Whether it awaits.
    """

    @contextmanager
    def side(effort: Effort) -> Iterator[Sample]:
        event_loop = asyncio.new_event_loop() if is_async else None
        try:
            with surroundings() as names:
                compiled = _compile(text, names, is_async=is_async)

                def run(count: int) -> float:
                    prepared = items(count)
                    gc.collect()  # else one side pays for the other's garbage
                    elapsed: Any = compiled(prepared, time.perf_counter)
                    return float(event_loop.run_until_complete(elapsed) if event_loop is not None else elapsed)

                count = calibrate(run, effort.sample_s)
                yield lambda: Reading(run(count) / count)
        finally:
            if event_loop is not None:
                event_loop.close()

    return side


def _compile(text: str, names: Mapping[str, Any], *, is_async: bool) -> Callable[..., Any]:
    # A loop around the bare statement: a lambda's call would cost as much as the fastest rows do.
    namespace = dict(names)
    exec(("async " if is_async else "") + _HEADER + text + _FOOTER, namespace)  # the text is ours
    loop: Callable[..., Any] = namespace["loop"]
    return loop


def calibrate(run: Callable[[int], float], sample_s: float) -> int:
    """How many turns take about ``sample_s``; warms up as well."""
    run(1)  # the first use may import half a library
    count = 1
    while True:
        elapsed = min(run(count), run(count))  # one of the two may have been interrupted
        if elapsed >= sample_s / 2:
            return max(1, round(count * sample_s / elapsed))
        count *= 2
