"""The receiver as a test suite uses it: it keeps what came, waits, adds up, answers as told, starts and stops."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from claude_monitoring import AgentMonitor
from claude_monitoring import receiver as package
from claude_monitoring.receiver import Log, OtlpReceiver, Point, Span
from claude_monitoring.types import Signal
from tests.contract.receiver_parts import DELTA, PROTOCOLS, SIGNALS, counter, log, one_of, post, send, set_value, span

EACH_PROTOCOL = pytest.mark.parametrize("protocol", PROTOCOLS)
EACH_SIGNAL = pytest.mark.parametrize("signal", SIGNALS)


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as one:
        yield one
        assert one.faults == ()


def post_counter(receiver: OtlpReceiver, value: float = 1, name: str = "claude.tasks", **options: Any) -> None:
    assert post(receiver, counter(name, value, **options).SerializeToString()).status == 200


# --- what is kept ---


@EACH_PROTOCOL
@EACH_SIGNAL
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_every_signal_arrives_over_every_protocol(
    receiver: OtlpReceiver, protocol: str, signal: Signal, compress: bool
) -> None:
    before_s, before_unix_nano = time.monotonic(), time.time_ns()
    message = one_of(signal)
    send(receiver, protocol, signal, message, compress=compress)
    (request,) = receiver.requests
    assert (request.signal, request.protocol, request.accepted, request.index) == (signal, protocol, True, 0)
    assert request.status == ("OK" if protocol == "grpc" else 200)
    assert request.message == message
    assert request.body_bytes == len(message.SerializeToString()) or protocol == "http/json"
    assert before_s <= request.received_s <= time.monotonic()
    assert before_unix_nano <= request.received_unix_nano <= time.time_ns()
    counts = {"metrics": len(receiver.metrics), "logs": len(receiver.logs), "traces": len(receiver.spans)}
    assert counts == {name: int(name == signal) for name in counts}


def test_requests_keep_their_order_across_protocols(receiver: OtlpReceiver) -> None:
    for number, protocol in enumerate([*PROTOCOLS, *PROTOCOLS]):
        send(receiver, protocol, "metrics", counter(f"m{number}"))
    assert [point.metric for point in receiver.metrics] == [f"m{number}" for number in range(6)]
    assert [point.request for point in receiver.metrics] == list(range(6))
    assert [request.protocol for request in receiver.requests] == [*PROTOCOLS, *PROTOCOLS]


def test_a_point_has_all_that_was_sent(receiver: OtlpReceiver) -> None:
    values = {"t": "x", "b": True, "i": 1, "f": 1.5, "y": b"\0", "l": [1, "a"], "d": {"k": [True]}, "none": None}
    message = counter("a.b", 2.0, start=5, end=6, temporality=DELTA, resource={"service.name": "s"}, **values)
    scope = message.resource_metrics[0].scope_metrics[0]
    scope.scope.name, scope.scope.version = "lib", "1"
    scope.metrics[0].unit, scope.metrics[0].description = "s", "text"
    send(receiver, "http/json", "metrics", message)
    (point,) = receiver.metrics
    assert (point.metric, point.unit, point.description, point.kind) == ("a.b", "s", "text", "sum")
    assert (point.temporality, point.monotonic, point.recorded) == ("delta", True, True)
    assert (point.value, type(point.value), point.count) == (2.0, float, None)
    assert (point.start_unix_nano, point.time_unix_nano) == (5, 6)
    assert point.attributes == values
    assert (point.resource, point.scope_name, point.scope_version) == ({"service.name": "s"}, "lib", "1")


def test_an_integer_value_stays_an_integer(receiver: OtlpReceiver) -> None:
    post_counter(receiver, 2)
    assert type(receiver.metrics[0].value) is int


def distributions() -> ExportMetricsServiceRequest:
    message = ExportMetricsServiceRequest()
    metrics = message.resource_metrics.add().scope_metrics.add().metrics
    plain = metrics.add(name="plain").histogram
    plain.aggregation_temporality = CUMULATIVE_ENUM
    plain.data_points.add(count=3, sum=4.5, min=0.5, max=3.0, explicit_bounds=[1.0], bucket_counts=[1, 2])
    plain.data_points.add(count=1)
    metrics.add(name="exponential").exponential_histogram.data_points.add(count=4, sum=8.0, scale=2)
    metrics.add(name="summary").summary.data_points.add(count=5, sum=10.0)
    metrics.add(name="level").gauge.data_points.add(as_double=7.5, time_unix_nano=1)
    metrics.add(name="hollow").gauge.data_points.add()
    metrics.add(name="nothing")
    gone = metrics.add(name="gone").gauge
    gone.data_points.add(as_int=9, time_unix_nano=1)
    gone.data_points.add(flags=1, time_unix_nano=2)
    return message


CUMULATIVE_ENUM: Any = 2


def test_every_kind_of_metric_is_read_and_added_up(receiver: OtlpReceiver) -> None:
    send(receiver, "http/protobuf", "metrics", distributions())
    plain, bare = (point for point in receiver.metrics if point.metric == "plain")
    assert (plain.kind, plain.temporality, plain.count, plain.sum) == ("histogram", "cumulative", 3, 4.5)
    assert (plain.min, plain.max, plain.bounds, plain.bucket_counts) == (0.5, 3.0, (1.0,), (1, 2))
    assert (bare.sum, bare.min, bare.max, bare.bounds, bare.bucket_counts) == (None, None, None, (), ())
    kinds = {point.metric: (point.kind, point.temporality) for point in receiver.metrics if point.metric != "plain"}
    assert kinds == {
        "exponential": ("exponential_histogram", "unspecified"),
        "summary": ("summary", ""),
        "level": ("gauge", ""),
        "hollow": ("gauge", ""),
        "gone": ("gauge", ""),
    }
    assert [receiver.total(name) for name in ("exponential", "summary", "level", "hollow")] == [4, 5, 7.5, 0]
    assert [receiver.total(name, field="sum") for name in ("exponential", "summary", "level")] == [8, 10, 7.5]


def test_a_point_without_a_recorded_value_changes_no_total(receiver: OtlpReceiver) -> None:
    send(receiver, "grpc", "metrics", distributions())
    assert [point.recorded for point in receiver.metrics if point.metric == "gone"] == [True, False]
    assert receiver.total("gone") == 9


def test_a_span_has_all_that_was_sent(receiver: OtlpReceiver) -> None:
    message = span("work")
    one = message.resource_spans[0].scope_spans[0].spans[0]
    one.kind, one.status.code, one.status.message = 3, 2, "broke"  # type: ignore[assignment]
    one.start_time_unix_nano, one.end_time_unix_nano = 10, 20
    event = one.events.add(name="exception", time_unix_nano=15)
    set_value(event.attributes.add(key="type").value, "ValueError")
    send(receiver, "http/json", "traces", message)
    (got,) = receiver.spans
    assert (got.name, got.kind, got.status, got.status_message) == ("work", "client", "error", "broke")
    assert (got.trace_id, got.span_id, got.parent_span_id) == ("74" * 16, "73" * 8, "70" * 8)
    assert got.links == (("6c" * 16, "6b" * 8),)
    assert (got.start_unix_nano, got.end_unix_nano) == (10, 20)
    assert [(e.name, e.time_unix_nano, e.attributes) for e in got.events] == [("exception", 15, {"type": "ValueError"})]


def test_an_enum_of_a_newer_protocol_is_shown_as_its_number(receiver: OtlpReceiver) -> None:
    message = span()
    message.resource_spans[0].scope_spans[0].spans[0].kind = 99  # type: ignore[assignment]
    send(receiver, "http/protobuf", "traces", message)
    assert receiver.spans[0].kind == "99"


def test_a_log_has_all_that_was_sent(receiver: OtlpReceiver) -> None:
    message = log("text")
    record = message.resource_logs[0].scope_logs[0].log_records[0]
    record.time_unix_nano, record.observed_time_unix_nano = 3, 4
    record.severity_number, record.severity_text = 9, "INFO"  # type: ignore[assignment]
    set_value(record.attributes.add(key="event.name").value, "user_prompt")
    send(receiver, "grpc", "logs", message)
    (got,) = receiver.logs
    assert (got.body, got.event_name, got.attributes) == ("text", "user_prompt", {"event.name": "user_prompt"})
    assert (got.time_unix_nano, got.observed_unix_nano) == (3, 4)
    assert (got.severity_number, got.severity_text) == (9, "INFO")
    assert (got.trace_id, got.span_id) == (bytes(range(16)).hex(), bytes(range(8)).hex())


# --- adding up ---


def test_totals_select_by_attributes_and_tell_true_from_one(receiver: OtlpReceiver) -> None:
    post_counter(receiver, 2, status="ok", agent="a")
    post_counter(receiver, 3, status="ok", agent="b")
    post_counter(receiver, 5, status="error", agent="a")
    post_counter(receiver, 7, "flags", on=True)
    post_counter(receiver, 11, "flags", on=1)
    assert receiver.total("claude.tasks") == 10
    assert receiver.total("claude.tasks", status="ok") == 5
    assert receiver.total("claude.tasks", {"agent": "a"}, status="error") == 5
    assert receiver.total("claude.tasks", status="cancelled") == 0
    assert receiver.total("never.sent") == 0
    assert (receiver.total("flags", on=True), receiver.total("flags", on=1)) == (7, 11)
    assert receiver.series("claude.tasks") == {
        frozenset({("status", "ok"), ("agent", "a")}): 2,
        frozenset({("status", "ok"), ("agent", "b")}): 3,
        frozenset({("status", "error"), ("agent", "a")}): 5,
    }
    assert sum(receiver.series("flags").values()) == 18


def test_dotted_keys_select_through_a_mapping(receiver: OtlpReceiver) -> None:
    post_counter(receiver, 4, **{"agent.name": "x", "type": "input"})
    assert receiver.total("claude.tasks", {"agent.name": "x"}, type="input") == 4
    assert receiver.total("claude.tasks", {"agent.name": "y"}, type="input") == 0


def test_attributes_that_hold_lists_and_maps_can_be_series_too(receiver: OtlpReceiver) -> None:
    post_counter(receiver, 4, tags=["a", "b"], more={"k": ["v"]})
    assert receiver.total("claude.tasks", tags=["a", "b"]) == 4
    assert list(receiver.series("claude.tasks")) == [
        frozenset({("tags", ("a", "b")), ("more", frozenset({("k", ("v",))}))})
    ]


def test_a_cumulative_stream_counts_by_its_last_value_and_a_restart_is_added(receiver: OtlpReceiver) -> None:
    post_counter(receiver, 5, start=1, end=2)
    post_counter(receiver, 8, start=1, end=4)
    post_counter(receiver, 6, start=1, end=3)  # overtaken on its way
    assert receiver.total("claude.tasks") == 8
    post_counter(receiver, 2, start=5, end=6)
    assert receiver.total("claude.tasks") == 10


def test_two_processes_are_two_streams(receiver: OtlpReceiver) -> None:
    for instance in ("a", "b"):
        post_counter(receiver, 5, resource={"service.instance.id": instance})
    assert receiver.total("claude.tasks") == 10


def test_a_delta_that_came_again_counts_once(receiver: OtlpReceiver) -> None:
    for start in (1, 1, 2, 1):
        post_counter(receiver, 5, start=start, end=start + 1, temporality=DELTA)
    assert receiver.total("claude.tasks") == 10


def test_a_delta_that_is_twice_in_one_request_counts_twice(receiver: OtlpReceiver) -> None:
    message = counter(temporality=DELTA)
    message.MergeFrom(counter(temporality=DELTA))
    send(receiver, "http/protobuf", "metrics", message)
    assert receiver.total("claude.tasks") == 2


# --- waiting ---


def test_waiting_keeps_what_it_did_not_match(receiver: OtlpReceiver) -> None:
    looked_at = threading.Event()

    def is_b(point: Point) -> bool:
        looked_at.set()
        return point.metric == "b"

    with ThreadPoolExecutor() as pool:
        found = pool.submit(receiver.wait_for, is_b)
        post_counter(receiver, name="a")
        assert looked_at.wait(5)
        post_counter(receiver, name="b")
        post_counter(receiver, name="c")
        assert found.result().metric == "b"
    assert [point.metric for point in receiver.metrics] == ["a", "b", "c"]
    assert receiver.wait_for(lambda item: item.metric == "a", 0).metric == "a"


def test_a_match_for_one_signal_passes_over_the_others(receiver: OtlpReceiver) -> None:
    for signal in SIGNALS:
        send(receiver, "http/protobuf", signal, one_of(signal))
    assert isinstance(receiver.wait_for(lambda item: item.metric == "claude.tasks"), Point)
    assert isinstance(receiver.wait_for(lambda item: item.body == "hello"), Log)
    assert isinstance(receiver.wait_for(lambda item: item.parent_span_id), Span)


def test_waiting_in_vain_says_what_had_come(receiver: OtlpReceiver) -> None:
    with pytest.raises(TimeoutError, match="no request came"):
        receiver.wait_for(lambda item: True, 0)
    for signal in SIGNALS:
        send(receiver, "http/protobuf", signal, one_of(signal))
    receiver.answer(status=503)
    post(receiver, b"")
    with pytest.raises(TimeoutError, match=r"within 0\.01 s \(the match raised .*'metrc'") as raised:
        receiver.wait_for(lambda item: item.metrc == "x", 0.01)
    assert "1 metrics (200), 1 logs (200), 1 traces (200), 1 metrics (503)" in str(raised.value)
    assert "content: claude.tasks, event hello, span work" in str(raised.value)
    with pytest.raises(TimeoutError, match="the condition did not come true within 0"):
        receiver.wait_until(lambda one: False, 0.01)


def test_a_message_about_very_many_metrics_stays_short(receiver: OtlpReceiver) -> None:
    message = counter("m000")
    for number in range(1, 100):
        message.MergeFrom(counter(f"m{number:03d}"))
    send(receiver, "http/protobuf", "metrics", message)
    with pytest.raises(TimeoutError, match="m019 and 80 more"):
        receiver.wait_for(lambda item: False, 0)


def test_a_condition_may_ask_the_receiver_and_the_outside(receiver: OtlpReceiver) -> None:
    outside = threading.Event()
    threading.Timer(0.1, outside.set).start()
    receiver.wait_until(lambda one: one.total("claude.tasks") == 0 and outside.is_set())


def test_a_condition_may_send_something_itself(receiver: OtlpReceiver) -> None:
    def third_came(one: OtlpReceiver) -> bool:
        post_counter(one, start=len(one.requests), end=9, temporality=DELTA)
        return one.total("claude.tasks") == 3

    receiver.wait_until(third_came)
    assert len(receiver.requests) == 3


# --- answers ---


def test_a_refused_request_is_kept_but_counts_for_nothing(receiver: OtlpReceiver) -> None:
    receiver.answer(status=503, times=1)
    body = counter("claude.tasks", 5).SerializeToString()
    assert [post(receiver, body).status, post(receiver, body).status] == [503, 200]
    assert [(request.status, request.accepted) for request in receiver.requests] == [(503, False), (200, True)]
    assert len(receiver.metrics) == 1
    assert receiver.requests[0].message == receiver.requests[1].message


@EACH_PROTOCOL
def test_a_request_without_the_required_header_is_refused(protocol: str) -> None:
    with OtlpReceiver(required_headers={"Authorization": "Bearer right"}) as receiver:
        for token in ("wrong", "right"):
            with AgentMonitor(
                token,
                export_to_grafana=True,
                endpoint=receiver.endpoint(protocol),
                protocol=protocol,
                headers={"authorization": f"Bearer {token}"},
                strict=False,
            ) as monitor:
                monitor.increment("steps")
        refused = "UNAUTHENTICATED" if protocol == "grpc" else 401
        assert {request.status for request in receiver.requests} == {refused, "OK" if protocol == "grpc" else 200}
        assert [receiver.total("claude.steps", agent=token) for token in ("wrong", "right")] == [0, 1]


def test_counted_answers_come_first_in_order_and_then_the_lasting_one(receiver: OtlpReceiver) -> None:
    receiver.answer(status=500)
    receiver.answer(status=429, times=2)
    receiver.answer(status=503, times=1)
    body = counter().SerializeToString()
    assert [post(receiver, body).status for _ in range(5)] == [429, 429, 503, 500, 500]
    receiver.answer(status=503, times=1)
    receiver.answer()
    assert post(receiver, body).status == 200


def test_an_answer_may_be_for_one_signal(receiver: OtlpReceiver) -> None:
    receiver.answer(status=500)
    receiver.answer(status=503, signal="logs")
    receiver.answer(status=429, signal="logs", times=1)
    receiver.answer(status=400, signal="metrics", times=1)

    def status(signal: Signal) -> int:
        return post(receiver, one_of(signal).SerializeToString(), f"/v1/{signal}").status

    assert [status(signal) for signal in ("traces", "logs", "logs", "metrics", "metrics")] == [500, 429, 503, 400, 500]
    receiver.answer(status=429, signal="logs", times=1)
    receiver.answer(status=400, signal="metrics", times=1)
    receiver.answer(signal="logs")
    assert [status(signal) for signal in ("logs", "metrics", "metrics")] == [200, 400, 500]


def test_content_that_was_taken_before_the_connection_broke_counts(receiver: OtlpReceiver) -> None:
    receiver.answer(drop=True, accepted=True, times=1)
    with pytest.raises(ConnectionError):
        post(receiver, counter("claude.tasks", 5).SerializeToString())
    assert (receiver.requests[0].status, receiver.total("claude.tasks")) == ("dropped", 5)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"status": 99}, "status=99 is no final HTTP status; use one from 200 to 599"),
        ({"grpc_status": "Unavailable"}, "grpc_status='Unavailable' is none of OK, CANCELLED, UNKNOWN"),
        ({"times": 0}, "times=0 must be 1 or more, or None"),
    ],
)
def test_an_impossible_answer_is_refused_at_once(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        OtlpReceiver().answer(**wrong)


# --- life ---


def test_ports_are_free_ones_on_loopback_and_named_by_protocol(receiver: OtlpReceiver) -> None:
    assert receiver.http_endpoint.startswith("http://127.0.0.1:")
    assert receiver.grpc_endpoint != receiver.http_endpoint
    assert receiver.endpoint("grpc") == receiver.grpc_endpoint
    assert receiver.endpoint("http/protobuf") == receiver.endpoint("http/json") == receiver.http_endpoint
    with pytest.raises(ValueError, match="protocol='http' is none of grpc, http/protobuf, http/json"):
        receiver.endpoint("http")


def test_an_endpoint_that_is_not_there_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"start\(\) it first"):
        _ = OtlpReceiver().http_endpoint
    with pytest.raises(ValueError, match="made with grpc=False"):
        _ = OtlpReceiver(grpc=False).grpc_endpoint


def test_it_can_close_twice_and_come_back_on_the_same_ports() -> None:
    receiver = OtlpReceiver()
    receiver.close()
    assert receiver.start() is receiver.start()
    endpoints = receiver.http_endpoint, receiver.grpc_endpoint
    for protocol in PROTOCOLS:
        send(receiver, protocol, "metrics", counter(protocol))
    receiver.close()
    receiver.close()
    with pytest.raises(ConnectionRefusedError):
        post(receiver, b"")
    with receiver:
        assert (receiver.http_endpoint, receiver.grpc_endpoint) == endpoints
        for protocol in PROTOCOLS:
            send(receiver, protocol, "metrics", counter(protocol))
    assert [receiver.total(protocol) for protocol in PROTOCOLS] == [1, 1, 1]
    assert len(receiver.metrics) == 6


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_a_taken_port_is_named_and_leaves_nothing_open(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        receiver = OtlpReceiver(**{f"{kind}_port": port})
        with pytest.raises(OSError, match=rf"can't listen on 127\.0\.0\.1:{port} .*in use.*; port 0 takes a free one"):
            receiver.start()
    receiver.start()
    assert receiver.endpoint({"http": "http/json"}.get(kind, kind)).endswith(f":{port}")
    receiver.close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_an_address_of_another_machine_is_named(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    receiver = OtlpReceiver(host="192.0.2.1", http=kind == "http", grpc=kind == "grpc")
    with pytest.raises(OSError, match=r"can't listen on 192\.0\.2\.1:0"):
        receiver.start()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_delayed_answer_does_not_delay_closing(protocol: str) -> None:
    with ThreadPoolExecutor() as pool, OtlpReceiver() as receiver:
        receiver.answer(delay_s=3600)
        sent = pool.submit(send, receiver, protocol, "metrics", counter())
        receiver.wait_until(lambda one: len(one.requests) == 1)
        receiver.close()
        assert isinstance(sent.exception(), (ConnectionError, grpc.RpcError))


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_delayed_answer_comes(receiver: OtlpReceiver, protocol: str) -> None:
    receiver.answer(delay_s=0.2)
    before_s = time.monotonic()
    send(receiver, protocol, "metrics", counter())
    assert time.monotonic() - before_s >= 0.2


def test_it_listens_on_ipv6_too() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with OtlpReceiver(host="::1") as receiver:
        assert receiver.http_endpoint.startswith("http://[::1]:")
        for protocol in PROTOCOLS:
            send(receiver, protocol, "metrics", counter(protocol))
        ports = [int(url.rpartition(":")[2]) for url in (receiver.http_endpoint, receiver.grpc_endpoint)]
        receiver.close()
        with OtlpReceiver(host="::1", http_port=ports[0], grpc_port=ports[1]) as again:
            send(again, "grpc", "metrics", counter())
    assert len(receiver.metrics) == 3


def test_many_clients_at_once_lose_nothing(receiver: OtlpReceiver) -> None:
    def work(number: int) -> None:
        protocol = PROTOCOLS[number % 3]
        for step in range(10):
            send(receiver, protocol, "metrics", counter(start=step, end=step + 1, temporality=DELTA, client=number))

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(12)))
    assert receiver.total("claude.tasks") == 120
    assert [request.index for request in receiver.requests] == list(range(120))


def test_importing_the_package_loads_nothing_heavy_until_the_receiver_is_asked_for() -> None:
    script = (
        "import sys, claude_monitoring.receiver as r\n"
        "heavy = {'grpc', 'google.protobuf', 'opentelemetry.proto'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "r.OtlpReceiver(grpc=False).start().close()\n"
        "assert 'grpc' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_the_package_shows_its_public_names_and_no_others() -> None:
    assert dir(package) == package.__all__ == sorted(package.__all__)
    assert all(getattr(package, name).__name__ == name for name in package.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Receiver'"):
        _ = package.Receiver
