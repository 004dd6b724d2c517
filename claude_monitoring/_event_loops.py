"""Blocking work beside whichever event loop is running."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["run_beside_the_loop"]


async def run_beside_the_loop(work: Callable[[], object]) -> None:
    """Do ``work`` in a thread while the loop, asyncio's or trio's, goes on; beside another one, do it here."""
    import asyncio

    trio: Any = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        with trio.CancelScope(shield=True):  # cancelled or not, the work is to be done
            await trio.to_thread.run_sync(work)
        return
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        work()
        return
    await loop.run_in_executor(None, work)
