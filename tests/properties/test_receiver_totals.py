"""Laws of the receiver: totals are the truth however it was split, encodings agree, and no bytes stop it."""

from __future__ import annotations

import gzip
import itertools
import math
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from claude_monitoring.receiver import OtlpReceiver
from claude_monitoring.receiver.decode import decode
from claude_monitoring.types import Signal
from tests.contract.receiver_parts import (
    CUMULATIVE,
    DELTA,
    JSON,
    METHODS,
    PROTOBUF,
    PROTOCOLS,
    SIGNALS,
    channel,
    counter,
    json_body,
    one_of,
    post,
    send,
    set_attributes,
)

pytestmark = pytest.mark.any_python

LIMIT = 1 << 16
REQUESTS: dict[Signal, Any] = {
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
    "traces": ExportTraceServiceRequest,
}
names = map("m{}".format, itertools.count())


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver(max_body_bytes=LIMIT) as one:
        yield one
        assert one.faults == ()


# --- totals ---


@dataclass(frozen=True)
class Run:
    """One life of a process: what it counted, cut where it exported."""

    temporality: int
    new_resource: bool
    exports: Sequence[Sequence[tuple[int, int]]]  # (series, amount)
    sent_again: int  # this export came twice, since its answer was lost


runs = st.builds(
    Run,
    st.sampled_from([CUMULATIVE, DELTA]),
    st.booleans(),
    st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1000)), max_size=4), min_size=1, max_size=4),
    st.integers(0, 3),
)


def exported(
    run: Run, metric: str, begin: int = 1, resource: str = "one", kind: str = "sum"
) -> list[ExportMetricsServiceRequest]:
    """The requests of one run, as an SDK would cut them."""
    totals: Counter[int] = Counter()
    requests = []
    for step, increments in enumerate(run.exports):
        fresh: Counter[int] = Counter()
        for series, amount in increments:
            fresh[series] += amount
        totals.update(fresh)
        delta = run.temporality == DELTA
        request = ExportMetricsServiceRequest()
        for series, value in sorted((fresh if delta else totals).items()):
            start = begin + step if delta else begin
            request.MergeFrom(point(run, kind, metric, value, (start, begin + step + 1), resource, series))
        requests.append(request)
    requests.insert(run.sent_again, requests[min(run.sent_again, len(requests) - 1)])
    return requests


def point(
    run: Run, kind: str, metric: str, value: int, times: tuple[int, int], resource: str, series: int
) -> ExportMetricsServiceRequest:
    instance = {"service.instance.id": resource}
    if kind == "sum":
        start, end = times
        return counter(
            metric, value, start=start, end=end, temporality=run.temporality, resource=instance, series=series
        )
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    set_attributes(group.resource.attributes, instance)
    histogram = group.scope_metrics.add().metrics.add(name=metric).histogram
    histogram.aggregation_temporality = run.temporality  # type: ignore[assignment]
    one = histogram.data_points.add(start_time_unix_nano=times[0], time_unix_nano=times[1], count=value, sum=value / 2)
    set_attributes(one.attributes, {"series": series})
    return request


@settings(deadline=None, max_examples=60)
@given(lives=st.lists(runs, min_size=1, max_size=4), kind=st.sampled_from(["sum", "histogram"]), protocol=st.data())
def test_totals_are_the_truth_for_any_split_into_deltas_cumulatives_and_restarts(
    receiver: OtlpReceiver, lives: list[Run], kind: str, protocol: st.DataObject
) -> None:
    metric, resource, begin = next(names), "first", 1
    truth: Counter[int] = Counter()
    for number, run in enumerate(lives):
        resource = f"process {number}" if run.new_resource else resource
        for request in exported(run, metric, begin, resource, kind):
            send(receiver, protocol.draw(st.sampled_from(PROTOCOLS[1:])), "metrics", request)
        for series, amount in itertools.chain.from_iterable(run.exports):
            truth[series] += amount
        begin += len(run.exports) + 1
    assert receiver.total(metric) == sum(truth.values())
    assert receiver.series(metric) == {frozenset({("series", series)}): total for series, total in truth.items()}
    for series, total in truth.items():
        assert receiver.total(metric, series=series) == total
        if kind == "histogram":
            assert receiver.total(metric, field="sum", series=series) == total / 2


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_the_order_of_arrival_changes_no_total(receiver: OtlpReceiver, data: st.DataObject) -> None:
    metric = next(names)
    run = data.draw(runs)
    requests = data.draw(st.permutations(exported(run, metric)))
    for request in requests:
        send(receiver, "http/protobuf", "metrics", request)
    assert receiver.total(metric) == sum(amount for export in run.exports for _, amount in export)


# --- encodings ---

IDS = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}
MAX_DEPTH = 9
RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "sint32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "sfixed64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "fixed32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
    "fixed64": (0, 2**64 - 1),
}
TYPES = {5: "int32", 17: "sint32", 3: "int64", 16: "sfixed64", 13: "uint32", 7: "fixed32", 4: "uint64", 6: "fixed64"}


def scalars(field: Any) -> st.SearchStrategy[Any]:
    """Values of a field that is no message."""
    if field.type == field.TYPE_STRING:
        return st.text(max_size=5)
    if field.type == field.TYPE_BYTES:
        return (
            st.binary(min_size=IDS[field.name], max_size=IDS[field.name])
            if field.name in IDS
            else st.binary(max_size=5)
        )
    if field.type == field.TYPE_BOOL:
        return st.booleans()
    if field.type == field.TYPE_DOUBLE:
        return st.floats(allow_nan=False) | st.just(math.nan)  # of NaN's many bit patterns one can be told in JSON
    if field.type == field.TYPE_ENUM:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return st.integers(*RANGES[TYPES[field.type]])


def repeated(field: Any) -> bool:
    """Newer classes deprecate ``label``, older ones lack ``is_repeated``."""
    return bool(field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED)


def fill(draw: st.DrawFn, message: Any, depth: int = 0) -> None:
    """Set some fields of a message, and theirs, at random."""
    for field in message.DESCRIPTOR.fields:
        is_message = field.type == field.TYPE_MESSAGE
        wanted = depth < 4 and is_message if field.containing_oneof is None else False
        if (is_message and depth > MAX_DEPTH) or not (wanted or draw(st.booleans())):
            continue
        target = getattr(message, field.name)
        if is_message and repeated(field):
            for _ in range(draw(st.integers(0, 2))):
                fill(draw, target.add(), depth + 1)
        elif is_message:
            target.SetInParent()
            fill(draw, target, depth + 1)
        elif repeated(field):
            target.extend(draw(st.lists(scalars(field), max_size=3)))
        else:
            setattr(message, field.name, draw(scalars(field)))


@st.composite
def messages(draw: st.DrawFn, signal: Signal) -> Any:
    """Any request of a signal, built from the descriptors, so that no field is forgotten."""
    message = REQUESTS[signal]()
    fill(draw, message)
    return message


@pytest.mark.parametrize("signal", SIGNALS)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_json_and_protobuf_of_one_message_are_read_the_same(signal: Signal, data: st.DataObject) -> None:
    message = data.draw(messages(signal))
    wire = message.SerializeToString(deterministic=True)
    for body, as_json in ((wire, False), (json_body(message), True)):
        assert decode(signal, body, as_json=as_json).SerializeToString(deterministic=True) == wire


# --- any bytes ---


@st.composite
def almost_good(draw: st.DrawFn) -> bytes:
    """A good body with some bytes changed or cut."""
    message = one_of(draw(st.sampled_from(SIGNALS)))
    body = bytearray(draw(st.sampled_from([message.SerializeToString(), json_body(message)])))
    for index, byte in draw(st.lists(st.tuples(st.integers(0, len(body) - 1), st.integers(0, 255)), max_size=4)):
        body[index] = byte
    return bytes(body[: draw(st.integers(0, len(body)))])


bodies = st.one_of(st.binary(max_size=200), almost_good())


def still_works(receiver: OtlpReceiver) -> None:
    metric = next(names)
    for protocol in PROTOCOLS:
        send(receiver, protocol, "metrics", counter(metric, temporality=DELTA, protocol=protocol))
    assert receiver.total(metric) == len(PROTOCOLS)
    assert receiver.faults == ()


@settings(deadline=None, max_examples=100)
@given(
    body=bodies,
    signal=st.sampled_from(SIGNALS),
    kind=st.sampled_from([PROTOBUF, JSON]),
    packing=st.sampled_from(["none", "gzip", "damaged"]),
)
def test_no_http_body_stops_it(receiver: OtlpReceiver, body: bytes, signal: Signal, kind: str, packing: str) -> None:
    sent = body if packing == "none" else gzip.compress(body)
    sent = sent[:12] + sent[14:] if packing == "damaged" else sent
    headers = {} if packing == "none" else {"content_encoding": "gzip"}
    assert post(receiver, sent, f"/v1/{signal}", kind, **headers).status in (200, 400)
    still_works(receiver)


@settings(deadline=None, max_examples=60)
@given(body=bodies, signal=st.sampled_from(SIGNALS))
def test_no_grpc_message_stops_it(receiver: OtlpReceiver, body: bytes, signal: Signal) -> None:
    with channel(receiver) as one, suppress(grpc.RpcError):
        export: Any = one.unary_unary(METHODS[signal])
        export(body, timeout=10)
    assert receiver.requests[-1].status in ("OK", "INVALID_ARGUMENT")
    still_works(receiver)


@settings(deadline=None, max_examples=60)
@given(
    junk=st.one_of(
        st.binary(max_size=300),
        st.builds(b"POST /v1/logs HTTP/1.1\r\n%b\r\n\r\n%b".__mod__, st.tuples(st.binary(max_size=60), bodies)),
        st.builds(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n%b".__mod__, st.binary(max_size=60)),
    ),
    port=st.sampled_from(["grpc", "http/json"]),
)
def test_no_bytes_on_a_port_stop_it(receiver: OtlpReceiver, junk: bytes, port: str) -> None:
    host, _, number = receiver.endpoint(port).removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(number)), timeout=10) as client, suppress(OSError):
        client.sendall(junk)
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass
    still_works(receiver)
