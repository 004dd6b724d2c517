"""What is told after the fact, by one who watched another program: when it happened, and in which subagent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["subagent_id", "told_at", "told_unix_nano"]

_unix_nano: ContextVar[int] = ContextVar("claude_monitoring_told_time", default=0)

told_unix_nano = _unix_nano.get
"""When it happened, in nanoseconds since 1970; 0 for now."""

subagent_id: ContextVar[str] = ContextVar("claude_monitoring_subagent_id", default="")
"""``agent_id`` of events and spans; empty outside of a subagent."""


@contextmanager
def told_at(unix_nano: int) -> Iterator[None]:
    """Inside, events and Claude Code's spans have this time."""
    token = _unix_nano.set(unix_nano)
    try:
        yield
    finally:
        _unix_nano.reset(token)
