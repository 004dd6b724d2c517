"""An event on its way out, with the ids of the span that it happened in."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from claude_monitoring._version import __version__
from claude_monitoring.types import AttributeValue, EventRecord

__all__ = ["emit_to", "iso_time", "make_event"]


_SAMPLED = 1
"""Of the trace's flags Claude Code sends this one alone; OpenTelemetry has another for random ids."""


def make_event(body: str, time_unix_nano: int, attributes: Mapping[str, AttributeValue], scope: str) -> EventRecord:
    """The event for our own exporters; inside a span it carries the span's ids (reference section 5)."""
    trace_id = span_id = flags = 0
    if "opentelemetry.trace" in sys.modules:  # not loaded: there can be no current span
        from opentelemetry.trace import get_current_span

        context = get_current_span().get_span_context()
        trace_id, span_id, flags = context.trace_id, context.span_id, int(context.trace_flags) & _SAMPLED
    return EventRecord(body, time_unix_nano, attributes, scope, trace_id, span_id, flags)


def emit_to(
    provider: Any, body: str, time_unix_nano: int, attributes: Mapping[str, AttributeValue], scope: str
) -> None:
    """Give the event to a host's logger provider; the span's ids are its business."""
    provider.get_logger(scope, __version__).emit(
        timestamp=time_unix_nano, observed_timestamp=time_unix_nano, body=body, attributes=dict(attributes)
    )


def iso_time(unix_nano: int) -> str:
    """ISO 8601 with milliseconds and ``Z``, as Claude Code writes ``event.timestamp``."""
    milliseconds = unix_nano // 1_000_000
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(milliseconds // 1000))}.{milliseconds % 1000:03d}Z"
