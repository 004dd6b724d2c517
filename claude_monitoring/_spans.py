"""Our own tracer provider: ended spans go straight into the pipeline. Loaded only where spans are exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from claude_monitoring.types import AttributeValue

__all__ = ["make_provider"]


class _Feeder(SpanProcessor):
    def __init__(self, add_span: Callable[[ReadableSpan], None]) -> None:
        self._add_span = add_span

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing to do at the start."""

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        if context is not None and context.trace_flags.sampled:
            self._add_span(span)

    def shutdown(self) -> None:
        """Nothing of its own to free."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the base class's signature
        """The pipeline flushes."""
        return True


def make_provider(add_span: Callable[[ReadableSpan], None], resource: Mapping[str, AttributeValue]) -> TracerProvider:
    """A provider with our resource that gives each sampled, ended span to ``add_span``."""
    provider = TracerProvider(resource=Resource(dict(resource)), shutdown_on_exit=False)
    provider.add_span_processor(_Feeder(add_span))
    return provider
