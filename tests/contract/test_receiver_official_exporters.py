"""The official SDK and exporters, as clients that we have not written: what they send is what is read."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from claude_monitoring.receiver import OtlpReceiver

MODULES = {
    "grpc": "opentelemetry.exporter.otlp.proto.grpc",
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http",
    "http/json": "opentelemetry.exporter.otlp.json.http",
}
EACH_PROTOCOL = pytest.mark.parametrize("protocol", MODULES)
RESOURCE = Resource.create({"service.name": "official"})


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as one:
        yield one
        assert one.faults == ()


def official(protocol: str, kind: str, receiver: OtlpReceiver, **options: Any) -> Any:
    """The official exporter of a protocol; the JSON one is not on every machine."""
    signal, name = {"metric": ("metrics", "OTLPMetricExporter"), "trace": ("traces", "OTLPSpanExporter")}[kind]
    module = pytest.importorskip(f"{MODULES[protocol]}.{kind}_exporter")
    endpoint = receiver.endpoint(protocol)
    if protocol == "grpc":
        options["insecure"] = True
    else:
        endpoint += f"/v1/{signal}"
    return getattr(module, name)(endpoint=endpoint, **options)


@EACH_PROTOCOL
@pytest.mark.parametrize("temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA])
def test_what_the_sdk_counted_is_the_total(
    receiver: OtlpReceiver, protocol: str, temporality: AggregationTemporality
) -> None:
    preferred = {Counter: temporality, Histogram: temporality}
    for _ in range(2):  # two processes, or one that restarted
        reader = PeriodicExportingMetricReader(official(protocol, "metric", receiver, preferred_temporality=preferred))
        provider = MeterProvider([reader], RESOURCE)
        meter = provider.get_meter("lib", "1.2")
        tokens, wait = meter.create_counter("tokens", "{token}", "Billed"), meter.create_histogram("wait", "s")
        level, active = meter.create_gauge("level"), meter.create_up_down_counter("active")
        for step in range(3):
            tokens.add(10, {"type": "input", "big": True})
            tokens.add(1, {"type": "output"})
            wait.record(0.5)
            level.set(step)
            active.add(1 if step else 3)
            assert provider.force_flush()
        provider.shutdown()
    assert receiver.total("tokens") == 66
    assert receiver.total("tokens", type="input", big=True) == 60
    assert (receiver.total("wait"), receiver.total("wait", field="sum")) == (6, 3)
    assert receiver.total("active") == 10
    point = receiver.wait_for(lambda item: item.metric == "tokens")
    assert (point.unit, point.description, point.kind, point.monotonic) == ("{token}", "Billed", "sum", True)
    assert (point.temporality, point.scope_name, point.scope_version) == (temporality.name.lower(), "lib", "1.2")
    assert point.resource["service.name"] == "official"
    assert {request.protocol for request in receiver.requests} == {protocol}


@EACH_PROTOCOL
def test_spans_of_the_sdk_keep_ids_parents_and_errors(receiver: OtlpReceiver, protocol: str) -> None:
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(SimpleSpanProcessor(official(protocol, "trace", receiver)))
    tracer = provider.get_tracer("lib")
    with tracer.start_as_current_span("outer") as outer:
        with pytest.raises(ValueError, match="broke"), tracer.start_as_current_span("inner"):
            raise ValueError("broke")
        ids = outer.get_span_context()
    provider.shutdown()
    inner, root = receiver.spans
    assert (inner.trace_id, inner.parent_span_id) == (f"{ids.trace_id:032x}", f"{ids.span_id:016x}")
    assert (root.span_id, root.parent_span_id, root.status) == (f"{ids.span_id:016x}", "", "unset")
    assert (inner.kind, inner.status, inner.status_message) == ("internal", "error", "ValueError: broke")
    assert inner.events[0].attributes["exception.type"] == "ValueError"
    assert inner.start_unix_nano <= inner.end_unix_nano <= root.end_unix_nano


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_gzip_of_the_official_exporters_is_read(receiver: OtlpReceiver, protocol: str) -> None:
    compression = (
        importlib.import_module("grpc").Compression.Gzip
        if protocol == "grpc"
        else importlib.import_module(MODULES[protocol]).Compression.Gzip
    )
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(official(protocol, "trace", receiver, compression=compression)))
    provider.get_tracer("lib").start_span("work" * 100).end()
    provider.shutdown()
    assert receiver.spans[0].name == "work" * 100
    assert protocol == "grpc" or receiver.requests[0].headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("answer", "tries"),
    [
        ({"status": 503, "retry_after_s": 0.01, "times": 1}, 2),
        ({"status": 400, "times": 1}, 1),
        ({"partial_success": 1, "times": 1}, 1),
    ],
    ids=["unavailable", "bad request", "partial"],
)
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_official_exporters_understand_the_answers(
    receiver: OtlpReceiver,
    protocol: str,
    answer: dict[str, Any],
    tries: int,
    without_lines: Callable[[], None],
) -> None:
    receiver.answer(**answer)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(official(protocol, "trace", receiver)))
    provider.get_tracer("lib").start_span("work").end()
    provider.shutdown()
    assert len(receiver.requests) == tries
    assert receiver.requests[-1].accepted is (answer.get("status") != 400)


@pytest.fixture
def without_lines() -> Iterator[None]:
    """The stock exporters log what we provoke."""
    logger = logging.getLogger("opentelemetry")
    logger.disabled, before = True, logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.disabled = False
    logger.setLevel(before)
