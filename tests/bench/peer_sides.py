"""What a user of each library would write for the same: a function of one task, and a scope around a few lines.

Runs in the peer's own environment, so each import stands in the function of its library. Every peer exports to a no-op,
has its own telemetry off, and does not capture arguments or results where it can be told not to: its cheapest settings.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["SIDES", "PeerSide"]

Names = dict[str, Any]


class PeerSide(NamedTuple):
    """One library. ``ready`` gives ``task``, ``async_task`` and whatever ``scope`` names."""

    module: str
    """What its users import."""
    ready: Callable[[], Names]
    """Imports it and sets it up with an export to nowhere."""
    scope: str
    """The statement for a scope around nothing."""
    deliver: Callable[[str], None] | None = None
    """Set up with its own defaults and an OTLP endpoint, and record one task; ``None`` if it can't be sent there."""


def _nothing() -> None:
    pass


async def _nothing_async() -> None:
    pass


def _named(decorate: Callable[[Any], Any], **more: Any) -> Names:
    return {"task": decorate(_nothing), "async_task": decorate(_nothing_async), **more}


def _no_op_exporter() -> Any:
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class NoOp(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    return NoOp()


def _processor() -> Any:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    return SimpleSpanProcessor(_no_op_exporter())


def _ours() -> Names:
    from claude_monitoring import AgentMonitor
    from claude_monitoring.exporters import CustomExporter

    class NoOp(CustomExporter):
        def export_metric(self, metric: object) -> None:
            pass

    monitor = AgentMonitor("bench", project_name="bench", exporters=[NoOp()])
    return _named(monitor.track_task(task_type="bench"), monitor=monitor)


def _ours_with_spans() -> Names:
    from opentelemetry.sdk.trace import TracerProvider

    from claude_monitoring import AgentMonitor

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(_processor())
    monitor = AgentMonitor("bench", project_name="bench", enabled=True, tracer_provider=provider)
    return _named(monitor.track_task(task_type="bench"), monitor=monitor)


def _deliver_ours(endpoint: str) -> None:
    from claude_monitoring import AgentMonitor

    monitor = AgentMonitor("bench", export_to_grafana=True, endpoint=endpoint, protocol="http/protobuf")
    monitor.track_task(_nothing)()


def _prometheus() -> Names:
    import prometheus_client

    timer = prometheus_client.Histogram("bench", "Durations", registry=prometheus_client.CollectorRegistry())
    return _named(timer.time(), timer=timer)


def _opentelemetry() -> Names:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(_processor())
    meters = MeterProvider(metric_readers=[InMemoryMetricReader()], shutdown_on_exit=False)
    tracer = provider.get_tracer("bench")
    return _named(tracer.start_as_current_span("bench"), tracer=tracer, meters=meters)


def _deliver_opentelemetry(endpoint: str) -> None:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics"))
    MeterProvider(metric_readers=[reader]).get_meter("bench").create_counter("bench").add(1)
    provider.get_tracer("bench").start_as_current_span("bench")(_nothing)()


def _logfire() -> Names:
    import logfire

    logfire.configure(
        send_to_logfire=False, console=False, inspect_arguments=False, additional_span_processors=[_processor()]
    )
    return _named(logfire.instrument(extract_args=False), logfire=logfire)


def _deliver_logfire(endpoint: str) -> None:
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    import logfire

    logfire.configure(send_to_logfire=False, console=False, inspect_arguments=False)
    logfire.metric_counter("bench").add(1)
    logfire.instrument()(_nothing)()


def _no_prices() -> str:
    """A file of prices that is empty: without one openlit fetches prices from the network."""
    path = Path(sys.prefix, "prices.json")
    path.write_text("{}", encoding="utf-8")
    return str(path)


def _openlit() -> Names:
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(_processor())
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider(metric_readers=[InMemoryMetricReader()], shutdown_on_exit=False))
    import openlit

    openlit.init(
        pricing_json=_no_prices(),
        capture_message_content=False,
        disable_events=True,
        disabled_instrumentors=list(openlit.MODULE_NAME_MAP),  # as for the others, which take an empty set or a switch
    )
    return _named(openlit.trace, openlit=openlit)


def _deliver_openlit(endpoint: str) -> None:
    import openlit

    openlit.init(otlp_endpoint=endpoint, pricing_json=_no_prices())
    openlit.trace(_nothing)()


def _traceloop() -> Names:
    os.environ |= {"TRACELOOP_TELEMETRY": "false", "TRACELOOP_TRACE_CONTENT": "false"}
    from traceloop.sdk import Traceloop
    from traceloop.sdk.decorators import task
    from traceloop.sdk.tracing.manual import track_llm_call

    Traceloop.init(app_name="bench", processor=_processor(), instruments=set(), telemetry_enabled=False)
    return _named(task(name="bench"), track_llm_call=track_llm_call)


def _deliver_traceloop(endpoint: str) -> None:
    os.environ |= {"TRACELOOP_TELEMETRY": "false", "TRACELOOP_TRACE_CONTENT": "false"}
    from traceloop.sdk import Traceloop
    from traceloop.sdk.decorators import task

    Traceloop.init(app_name="bench", api_endpoint=endpoint, instruments=set(), telemetry_enabled=False)
    task(name="bench")(_nothing)()


def _agentops() -> Names:
    import agentops
    from agentops.sdk import core
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

    # It takes no exporter from its user, so those it makes are replaced.
    core.AuthenticatedOTLPExporter = lambda **_: _no_op_exporter()
    core.OTLPMetricExporter = lambda **_: ConsoleMetricExporter(out=StringIO())
    agentops.init(api_key=None, auto_start_session=False, instrument_llm_calls=False, log_level="CRITICAL")
    from agentops.sdk.decorators import operation

    return _named(operation, start_trace=agentops.start_trace)


def _langfuse() -> Names:
    from langfuse import Langfuse, observe

    client = Langfuse(public_key="pk", secret_key="sk", span_exporter=_no_op_exporter(), base_url="http://127.0.0.1:9")
    return _named(observe(capture_input=False, capture_output=False), client=client)


def _deliver_langfuse(endpoint: str) -> None:
    from langfuse import Langfuse, observe

    Langfuse(public_key="pk", secret_key="sk", base_url=endpoint)
    observe(_nothing)()


SIDES = {
    "ours": PeerSide("claude_monitoring", _ours, 'with monitor.track_task("bench"): pass', _deliver_ours),
    "ours-spans": PeerSide("claude_monitoring", _ours_with_spans, 'with monitor.track_task("bench"): pass'),
    "prometheus_client": PeerSide("prometheus_client", _prometheus, "with timer.time(): pass"),
    "opentelemetry-sdk": PeerSide(
        "opentelemetry.sdk.trace, opentelemetry.sdk.metrics",
        _opentelemetry,
        'with tracer.start_as_current_span("bench"): pass',
        _deliver_opentelemetry,
    ),
    "logfire": PeerSide("logfire", _logfire, 'with logfire.span("bench"): pass', _deliver_logfire),
    "openlit": PeerSide("openlit", _openlit, 'with openlit.start_trace("bench"): pass', _deliver_openlit),
    "traceloop-sdk": PeerSide(
        "traceloop.sdk",
        _traceloop,
        'with track_llm_call(vendor="bench", type="bench"): pass',
        _deliver_traceloop,
    ),
    "agentops": PeerSide("agentops", _agentops, 'with start_trace("bench"): pass'),
    "langfuse": PeerSide(
        "langfuse", _langfuse, 'with client.start_as_current_observation(name="bench"): pass', _deliver_langfuse
    ),
}
"""By the distribution's name; ``ours`` records metrics alone, ``ours-spans`` a span as well, as every peer does."""
