"""Where spans come from: the host's tracer provider when there is one, else ours."""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING

from claude_monitoring._catalog import FRAMEWORK_SCOPE, TRACING_SCOPE, TRACING_VERSION
from claude_monitoring._kept import kept_property
from claude_monitoring._pipeline import Pipeline
from claude_monitoring._version import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer, TracerProvider

__all__ = ["Tracing", "forget_providers", "tracing_for"]

_fed: weakref.WeakSet[Pipeline] = weakref.WeakSet()
"""The pipelines that have a provider of ours."""


class Tracing:
    """Our tracers, with what scopes need of OpenTelemetry's API, which is imported where there is a tracer alone."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.context import Context, attach, detach, get_current
        from opentelemetry.trace import set_span_in_context

        self.tracer = provider.get_tracer(FRAMEWORK_SCOPE, __version__)
        self._provider = provider
        self.in_context = set_span_in_context
        self.attach = attach
        self.detach = detach
        self.current = get_current
        self.nothing = Context()

    @kept_property
    def native_tracer(self) -> Tracer:
        """The one for Claude Code's spans."""
        return self._provider.get_tracer(TRACING_SCOPE, TRACING_VERSION)


def tracing_for(pipeline: Pipeline, given: TracerProvider | None, *, ask_host: bool = True) -> Tracing | None:
    """The tracer to use, ``None`` where spans are not wanted.

    The order: the provider that the monitor was given; the global one, if the host has set it; one of ours that
    feeds the pipeline, if an exporter for traces is configured. Globals are never set by us.
    """
    host = _host_provider() if ask_host else None
    provider = given or host or (_own_provider(pipeline) if pipeline.wants_spans else None)
    return Tracing(provider) if provider is not None else None


def _host_provider() -> TracerProvider | None:
    if "opentelemetry.trace" not in sys.modules:
        return None  # nobody can have set one
    from opentelemetry import trace

    provider = trace.get_tracer_provider()
    return None if isinstance(provider, trace.ProxyTracerProvider) else provider


def _own_provider(pipeline: Pipeline) -> TracerProvider:
    """It feeds the pipeline, whose store keeps it: a weak dictionary would keep both for ever."""
    companions = pipeline.store.companions
    found: TracerProvider | None = companions.get("tracer_provider")
    if found is None:
        from claude_monitoring._spans import make_provider

        made = make_provider(pipeline.add_span, pipeline.resource)
        found = companions.setdefault("tracer_provider", made)
        _fed.add(pipeline)
    return found


def forget_providers() -> None:
    """In a forked child, before OpenTelemetry's own hook: it would start a thread for each of the parent's."""
    for pipeline in list(_fed):
        pipeline.store.companions.pop("tracer_provider", None)
