"""An event on its way into the pipeline, with the ids of the span that it happened in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from claude_monitoring.types import AttributeValue, EventRecord

__all__ = ["emit"]


def emit(
    add: Callable[[EventRecord], None],
    body: str,
    time_unix_nano: int,
    attributes: Mapping[str, AttributeValue],
    scope: str,
) -> None:
    """Give ``add`` the event; inside a span it carries the span's ids (reference section 5)."""
    trace_id = span_id = flags = 0
    if "opentelemetry.trace" in sys.modules:  # not loaded: there can be no current span
        from opentelemetry.trace import get_current_span

        context = get_current_span().get_span_context()
        trace_id, span_id, flags = context.trace_id, context.span_id, int(context.trace_flags)
    add(EventRecord(body, time_unix_nano, attributes, scope, trace_id, span_id, flags))
