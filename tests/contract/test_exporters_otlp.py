"""The OTLP exporters against the receiver: each protocol, each signal, each thing that a far side can do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_monitoring.exporters.encoding import encode_events, to_json
from claude_monitoring.receiver import OtlpReceiver
from claude_monitoring.types import EventRecord, Signal
from matrix.server_process import free_port
from tests.contract.exporter_parts import (
    NOW,
    PROTOCOLS,
    RESOURCE,
    SECRET,
    SIGNALS,
    batch_of,
    counter,
    events,
    exporter_for,
    http_reply,
    metrics_of,
    number,
    replying,
    serving,
    spans,
    until,
)

EACH_PROTOCOL = pytest.mark.parametrize("protocol", PROTOCOLS)
EACH_HTTP = pytest.mark.parametrize("protocol", PROTOCOLS[1:])
EACH_SIGNAL = pytest.mark.parametrize("signal", SIGNALS)


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as one:
        yield one


def arrived(receiver: OtlpReceiver, signal: Signal) -> list[Any]:
    return list({"metrics": receiver.metrics, "logs": receiver.logs, "traces": receiver.spans}[signal])


def send(exporter: Any, batch: Any, timeout_s: float = 10.0) -> Any:
    return exporter.export(batch, RESOURCE, timeout_s)


@EACH_PROTOCOL
def test_metrics_arrive_with_every_value_and_attribute(receiver: OtlpReceiver, protocol: str) -> None:
    with exporter_for(protocol, receiver.endpoint(protocol), "metrics") as exporter:
        assert send(exporter, batch_of("metrics")).ok
    assert receiver.requests[0].protocol == protocol
    assert receiver.total("claude.tasks") == 4
    assert receiver.total("claude.tasks", agent="a", status="ok") == 3
    active, xp = (
        next(p for p in receiver.metrics if p.metric == name) for name in ("claude.tasks.active", "claude.agent.xp")
    )
    assert (active.value, active.monotonic, xp.value, xp.kind) == (-1, False, 0.5, "gauge")
    duration = next(p for p in receiver.metrics if p.metric == "claude.task.duration")
    assert (duration.count, duration.sum, tuple(duration.bucket_counts)) == (3, 4.5, (1, 0, 2))
    assert (duration.unit, dict(duration.attributes)) == ("s", {"agent": "a", "flag": True})
    assert dict(duration.resource) == RESOURCE


@EACH_PROTOCOL
def test_events_arrive_as_log_records_like_claude_codes(receiver: OtlpReceiver, protocol: str) -> None:
    batch = events(2, names=("x", "y"), text="a\ud800b", big=2**70)
    with exporter_for(protocol, receiver.endpoint(protocol)) as exporter:
        assert send(exporter, batch).ok
    first, second = receiver.logs
    assert (first.body, second.body) == ("claude_code.event_0", "claude_code.event_1")
    assert dict(first.attributes) == {
        "event.name": "event_0",
        "event.sequence": 0,
        "ratio": 0.5,
        "success": True,
        "names": ["x", "y"],
        "text": "a?b",
        "big": str(2**70),
    }
    assert type(first.attributes["success"]) is bool
    assert (first.trace_id, first.span_id) == ("0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7")
    assert first.time_unix_nano == first.observed_unix_nano == NOW
    assert (first.severity_number, first.severity_text) == (0, "")
    assert (first.scope_name, dict(first.resource)) == ("com.anthropic.claude_code.events", RESOURCE)


@EACH_PROTOCOL
def test_spans_arrive_as_one_trace(receiver: OtlpReceiver, protocol: str) -> None:
    batch = spans("leaf")
    with exporter_for(protocol, receiver.endpoint(protocol), "traces") as exporter:
        assert send(exporter, batch).ok
    leaf, root = sorted(receiver.spans, key=lambda span: span.name)
    assert leaf.parent_span_id == root.span_id == f"{batch[1].context.span_id:016x}"
    assert leaf.trace_id == root.trace_id == f"{batch[1].context.trace_id:032x}"
    assert [event.name for event in leaf.events] == ["note"]
    assert dict(root.attributes) == {"depth": 0}


def test_an_event_outside_a_span_has_no_ids() -> None:
    message = encode_events([EventRecord("claude_code.x", NOW, {}, "scope")], {})
    record = message.resource_logs[0].scope_logs[0].log_records[0]
    assert (record.trace_id, record.span_id, record.flags) == (b"", b"", 0)


def test_events_are_grouped_by_scope() -> None:
    batch = [EventRecord(f"e{i}", NOW, {}, scope) for i, scope in enumerate(["a", "b", "a"])]
    scopes = encode_events(batch, {}).resource_logs[0].scope_logs
    assert [(one.scope.name, [r.body.string_value for r in one.log_records]) for one in scopes] == [
        ("a", ["e0", "e2"]),
        ("b", ["e1"]),
    ]


def test_json_has_hexadecimal_ids_textual_integers_and_numeric_enums() -> None:
    body = to_json(encode_events(events(1), {})).decode()
    assert '"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b7"' in body
    assert f'"timeUnixNano":"{NOW}"' in body
    assert '{"key":"event.sequence","value":{"intValue":"0"}}' in body
    assert '{"key":"success","value":{"boolValue":true}}' in body


VALUES = st.one_of(
    st.text(max_size=20),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.lists(st.text(max_size=5), max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=20), VALUES, max_size=6), st.text(max_size=40))
def test_json_and_protobuf_say_the_same(attributes: dict[str, Any], body: str) -> None:
    batch = [EventRecord(body, NOW, attributes, "scope", 2**127 + 1, 2**63 + 1, 1)]
    with OtlpReceiver(grpc=False) as receiver:
        for protocol in PROTOCOLS[1:]:
            with exporter_for(protocol, receiver.endpoint(protocol)) as exporter:
                assert send(exporter, batch).ok
        first, second = (request.message for request in receiver.requests)
    assert first == second


@EACH_PROTOCOL
@EACH_SIGNAL
def test_headers_and_user_agent_are_sent(receiver: OtlpReceiver, protocol: str, signal: Signal) -> None:
    with exporter_for(protocol, receiver.endpoint(protocol), signal) as exporter:
        assert send(exporter, batch_of(signal)).ok
    headers = receiver.requests[0].headers
    assert headers["authorization"] == SECRET
    assert headers["user-agent"].startswith("claude-monitoring/")
    assert "OTel-OTLP-Exporter-Python/" in headers["user-agent"]


@EACH_PROTOCOL
def test_gzip_is_used_when_asked_for(receiver: OtlpReceiver, protocol: str) -> None:
    with exporter_for(protocol, receiver.endpoint(protocol), compression="gzip") as exporter:
        assert send(exporter, events(50)).ok
    assert len(receiver.logs) == 50
    if protocol != "grpc":  # grpcio's server does not show the header
        assert receiver.requests[0].headers["content-encoding"] == "gzip"


@EACH_PROTOCOL
@EACH_SIGNAL
def test_an_unavailable_collector_gets_the_same_batch_again(
    receiver: OtlpReceiver, protocol: str, signal: Signal
) -> None:
    receiver.answer(status=503, retry_after_s=7, times=1)
    batch = batch_of(signal)
    with exporter_for(protocol, receiver.endpoint(protocol), signal) as exporter:
        first = send(exporter, batch)
        assert (first.ok, first.retryable, first.retry_after_s) == (False, True, 7.0)
        assert send(exporter, batch).ok
    assert len(arrived(receiver, signal)) > 0
    assert [request.accepted for request in receiver.requests] == [False, True]


@EACH_PROTOCOL
@EACH_SIGNAL
def test_a_request_refused_as_bad_is_final(receiver: OtlpReceiver, protocol: str, signal: Signal) -> None:
    receiver.answer(status=400, message="field x is odd")
    with exporter_for(protocol, receiver.endpoint(protocol), signal) as exporter:
        result = send(exporter, batch_of(signal))
    assert (result.ok, result.retryable) == (False, False)
    assert "field x is odd" in result.error


@EACH_PROTOCOL
@EACH_SIGNAL
def test_a_slow_collector_is_given_up_and_tried_again(receiver: OtlpReceiver, protocol: str, signal: Signal) -> None:
    receiver.answer(delay_s=30, times=1)
    batch = batch_of(signal)
    with exporter_for(protocol, receiver.endpoint(protocol), signal) as exporter:
        result = send(exporter, batch, 0.3)
        assert (result.ok, result.retryable) == (False, True)
        assert "OTEL_EXPORTER_OTLP_TIMEOUT" in result.error
        assert send(exporter, batch).ok


@EACH_PROTOCOL
def test_the_timeout_of_the_settings_holds_too(receiver: OtlpReceiver, protocol: str) -> None:
    receiver.answer(delay_s=30)
    with exporter_for(protocol, receiver.endpoint(protocol), timeout_s=0.3) as exporter:
        assert "in time" in send(exporter, events(), float("inf")).error


@EACH_PROTOCOL
def test_no_timeout_at_all_is_possible(receiver: OtlpReceiver, protocol: str) -> None:
    with exporter_for(protocol, receiver.endpoint(protocol), timeout_s=float("inf")) as exporter:
        assert send(exporter, events(), float("inf")).ok


@EACH_PROTOCOL
def test_without_time_left_nothing_is_sent(receiver: OtlpReceiver, protocol: str) -> None:
    with exporter_for(protocol, receiver.endpoint(protocol)) as exporter:
        result = send(exporter, events(), 0.0)
    assert (result.ok, result.retryable, receiver.requests) == (False, True, ())


@EACH_PROTOCOL
@EACH_SIGNAL
def test_an_absent_collector_is_named_and_the_batch_kept(protocol: str, signal: Signal) -> None:
    port = free_port()
    with exporter_for(protocol, f"http://127.0.0.1:{port}", signal) as exporter:
        result = send(exporter, batch_of(signal))
    assert (result.ok, result.retryable) == (False, True)
    assert result.error == (
        f"nothing listens on 127.0.0.1:{port}; start the collector or set OTEL_EXPORTER_OTLP_ENDPOINT"
    )


@EACH_PROTOCOL
def test_an_unknown_host_is_named(protocol: str) -> None:
    with exporter_for(protocol, "http://no-such-host.invalid:4317") as exporter:
        result = send(exporter, events(), 5.0)
    assert (result.ok, result.retryable) == (False, True)
    assert "unknown host" in result.error


@EACH_PROTOCOL
def test_a_collector_that_comes_up_later_is_reached(protocol: str) -> None:
    with OtlpReceiver() as first:
        endpoint = first.endpoint(protocol)
        with exporter_for(protocol, endpoint) as exporter:
            assert send(exporter, events()).ok
            first.close()
            assert not send(exporter, events(), 2.0).ok
            port = int(endpoint.rpartition(":")[2])
            ports = {"grpc_port": port, "http": False} if protocol == "grpc" else {"http_port": port, "grpc": False}
            with OtlpReceiver(**ports) as second:  # type: ignore[arg-type]
                until(lambda: bool(send(exporter, events(), 2.0).ok))
                assert len(second.logs) == 2


@EACH_PROTOCOL
@EACH_SIGNAL
def test_a_dropped_connection_is_tried_again(receiver: OtlpReceiver, protocol: str, signal: Signal) -> None:
    receiver.answer(drop=True, times=1)
    batch = batch_of(signal)
    with exporter_for(protocol, receiver.endpoint(protocol), signal) as exporter:
        result = send(exporter, batch)
        assert (result.ok, result.retryable) == (False, True)
        until(lambda: bool(send(exporter, batch).ok))


@EACH_PROTOCOL
@EACH_SIGNAL
def test_partial_success_is_told_and_not_sent_again(receiver: OtlpReceiver, protocol: str, signal: Signal) -> None:
    receiver.answer(partial_success=1, message="one is too old")
    with exporter_for(protocol, receiver.endpoint(protocol), signal) as exporter:
        result = send(exporter, batch_of(signal))
    assert (result.ok, result.retryable, result.rejected) == (True, False, 1)
    assert "one is too old" in result.error


@EACH_PROTOCOL
def test_the_secret_is_never_repeated(receiver: OtlpReceiver, protocol: str) -> None:
    receiver.answer(status=401, message=f"the key '{SECRET}' ({SECRET.split()[1]}) is expired")
    with exporter_for(protocol, receiver.endpoint(protocol)) as exporter:
        result = send(exporter, events())
        assert "OTEL_EXPORTER_OTLP_HEADERS" in result.error
        assert SECRET.split()[1] not in result.error + repr(exporter) + exporter.name
    assert (result.ok, result.retryable) == (False, False)


@EACH_PROTOCOL
def test_a_header_that_cannot_be_sent_is_told_without_its_value(receiver: OtlpReceiver, protocol: str) -> None:
    headers = (("x-key", "s3cr3t\r\nx: y"),)
    with exporter_for(protocol, receiver.endpoint(protocol), headers=headers) as exporter:
        result = send(exporter, events())
    assert (result.ok, result.retryable) == (False, False)
    assert "s3cr3t" not in result.error
    assert "OTEL_EXPORTER_OTLP_HEADERS" in result.error


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_user_and_password_in_the_endpoint_are_not_shown(protocol: str) -> None:
    with exporter_for(protocol, "http://me:pa55word@127.0.0.1:1") as exporter:
        assert "pa55word" not in exporter.name + send(exporter, events()).error


@EACH_HTTP
def test_a_key_in_the_endpoints_query_is_sent_and_not_shown(receiver: OtlpReceiver, protocol: str) -> None:
    with exporter_for(protocol, f"{receiver.endpoint(protocol)}/nowhere?api-key=pa55word") as exporter:
        error = send(exporter, events()).error  # the receiver repeats the path in its 404
        assert "answered 404" in error
        assert "pa55word" not in exporter.name + error
    assert "api-key=pa55word" in receiver.requests[0].path


@EACH_HTTP
def test_user_and_password_in_the_endpoint_are_sent(receiver: OtlpReceiver, protocol: str) -> None:
    endpoint = receiver.endpoint(protocol).replace("http://", "http://me:p%40ss@")
    with exporter_for(protocol, endpoint, headers=()) as exporter:
        assert send(exporter, events()).ok
    assert receiver.requests[0].headers["authorization"] == "Basic bWU6cEBzcw=="


@pytest.mark.parametrize(
    ("status", "retryable", "mend"),
    [
        (403, False, "OTEL_EXPORTER_OTLP_HEADERS"),
        (404, False, "/v1/logs"),
        (408, False, "log"),
        (413, False, "larger"),
        (415, False, "set OTEL_EXPORTER_OTLP_PROTOCOL=http/json"),
        (429, True, "sent again"),
        (500, False, "log"),
        (502, True, "sent again"),
        (504, True, "sent again"),
    ],
)
def test_http_statuses_are_judged_as_the_specification_says(
    receiver: OtlpReceiver, status: int, retryable: bool, mend: str
) -> None:
    receiver.answer(status=status)
    with exporter_for("http/protobuf", receiver.endpoint("http/protobuf")) as exporter:
        result = send(exporter, events())
    assert (result.ok, result.retryable) == (False, retryable)
    assert str(status) in result.error
    assert mend in result.error


@pytest.mark.parametrize(
    ("code", "retryable", "mend"),
    [
        ("CANCELLED", True, "CANCELLED"),
        ("DEADLINE_EXCEEDED", True, "OTEL_EXPORTER_OTLP_TIMEOUT"),
        ("ABORTED", True, "ABORTED"),
        ("OUT_OF_RANGE", True, "OUT_OF_RANGE"),
        ("UNAVAILABLE", True, "sent again"),
        ("DATA_LOSS", True, "DATA_LOSS"),
        ("RESOURCE_EXHAUSTED", False, "larger"),
        ("INVALID_ARGUMENT", False, "log"),
        ("UNAUTHENTICATED", False, "OTEL_EXPORTER_OTLP_HEADERS"),
        ("PERMISSION_DENIED", False, "OTEL_EXPORTER_OTLP_HEADERS"),
        ("UNIMPLEMENTED", False, "does not receive logs"),
        ("INTERNAL", False, "log"),
        ("UNKNOWN", False, "log"),
    ],
)
def test_grpc_statuses_are_judged_as_the_specification_says(
    receiver: OtlpReceiver, code: str, retryable: bool, mend: str
) -> None:
    receiver.answer(grpc_status=code, message="because")
    with exporter_for("grpc", receiver.endpoint("grpc")) as exporter:
        result = send(exporter, events())
    assert (result.ok, result.retryable, result.retry_after_s) == (False, retryable, None)
    assert mend in result.error


def test_an_exhausted_grpc_collector_that_says_when_to_come_back_is_asked_again(receiver: OtlpReceiver) -> None:
    receiver.answer(grpc_status="RESOURCE_EXHAUSTED", retry_after_s=1.5)
    with exporter_for("grpc", receiver.endpoint("grpc")) as exporter:
        result = send(exporter, events())
    assert (result.retryable, result.retry_after_s) == (True, 1.5)


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("3", 3, 3),
        (format_datetime(datetime.now(timezone.utc) + timedelta(hours=1), usegmt=True), 3000, 3600),
        (format_datetime(datetime.now(timezone.utc) - timedelta(hours=1), usegmt=True), 0, 0),
    ],
    ids=["seconds", "date", "past"],
)
def test_retry_after_is_seconds_or_a_date(header: str, low: float, high: float) -> None:
    busy = replying(http_reply("503 Busy", retry_after=header))
    with serving(busy) as port, exporter_for("http/protobuf", f"http://127.0.0.1:{port}") as exporter:
        result = send(exporter, events())
    assert result.retryable
    assert low <= result.retry_after_s <= high


def test_a_retry_after_that_says_nothing_is_ignored() -> None:
    busy = replying(http_reply("503 Busy", retry_after="soon"))
    with serving(busy) as port, exporter_for("http/protobuf", f"http://127.0.0.1:{port}") as exporter:
        assert send(exporter, events()).retry_after_s is None


@EACH_PROTOCOL
def test_a_large_batch_goes_in_several_requests_and_arrives_once(receiver: OtlpReceiver, protocol: str) -> None:
    batch = events(40, filler="x" * 100)
    with exporter_for(protocol, receiver.endpoint(protocol)) as exporter:
        exporter.max_request_bytes = 2_000
        assert send(exporter, batch).ok
    assert [log.body for log in receiver.logs] == [event.body for event in batch]
    assert len(receiver.requests) > 4
    assert all(request.message.ByteSize() <= 2_000 for request in receiver.requests)


@EACH_PROTOCOL
def test_after_a_failure_halfway_only_the_rest_is_sent_again(receiver: OtlpReceiver, protocol: str) -> None:
    batch = events(40, filler="x" * 100)
    with exporter_for(protocol, receiver.endpoint(protocol)) as exporter:
        exporter.max_request_bytes = 2_000
        receiver.answer(times=3)
        receiver.answer(times=3)
        receiver.answer(status=503, times=1)
        result = send(exporter, batch)
        assert (result.retryable, result.uncertain) == (True, True)  # the far side has a part of it
        assert send(exporter, batch).ok
    assert [log.body for log in receiver.logs] == [event.body for event in batch]


@EACH_PROTOCOL
@pytest.mark.parametrize("signal", SIGNALS)
def test_what_is_refused_for_its_size_goes_in_smaller_pieces(
    receiver: OtlpReceiver, protocol: str, signal: Signal
) -> None:
    with exporter_for(protocol, receiver.endpoint(protocol), signal) as exporter:
        receiver.answer(status=413, grpc_status="RESOURCE_EXHAUSTED", message="message larger than max", times=1)
        assert send(exporter, batch_of(signal)).ok
    refused, *halves = receiver.requests
    assert not refused.accepted
    assert len(halves) >= 2
    assert all(half.accepted for half in halves)
    assert max(half.body_bytes for half in halves) < refused.body_bytes
    arrived = len(receiver.logs) + len(receiver.spans) + len(receiver.metrics)
    assert arrived == {"metrics": 5, "logs": 2, "traces": 2}[signal]


def test_one_item_that_is_too_large_is_refused_and_the_others_arrive(receiver: OtlpReceiver) -> None:
    batch = [*events(2), *events(1, filler="x" * 5_000), *events(2)]
    small = OtlpReceiver(max_body_bytes=3_000)
    with small, exporter_for("http/protobuf", small.http_endpoint) as exporter:
        result = send(exporter, batch)
    assert (result.ok, result.retryable, result.refused) == (False, False, (range(2, 3),))
    assert len(small.logs) == 4


def test_many_data_points_are_cut_into_requests_and_add_up(receiver: OtlpReceiver) -> None:
    points = [number(1.0, series=f"{index:06d}") for index in range(300)]
    batch = metrics_of(counter("a", *points[:200]), counter("b", *points[200:]), counter("c", number(5.0)))
    with exporter_for("grpc", receiver.endpoint("grpc"), "metrics") as exporter:
        exporter.max_request_bytes = 4_000
        assert send(exporter, batch).ok
    assert len(receiver.requests) >= 4
    assert (receiver.total("a"), receiver.total("b"), receiver.total("c")) == (200, 100, 5)
    assert len(receiver.metrics) == 301


def test_one_item_larger_than_the_limit_is_sent_all_the_same(receiver: OtlpReceiver) -> None:
    with exporter_for("grpc", receiver.endpoint("grpc")) as exporter:
        exporter.max_request_bytes = 100
        assert send(exporter, events(2, filler="x" * 500)).ok
    assert len(receiver.logs) == 2


@EACH_PROTOCOL
def test_a_span_that_cannot_be_encoded_does_not_hold_back_the_others(receiver: OtlpReceiver, protocol: str) -> None:
    with exporter_for(protocol, receiver.endpoint(protocol), "traces") as exporter:
        result = send(exporter, spans("fine", "bad \ud800 name", "fine too"))
    assert (result.ok, result.retryable, result.refused) == (False, False, (range(1, 2),))
    assert "1 spans can't be encoded" in result.error
    assert {span.name for span in receiver.spans} == {"root", "fine", "fine too"}


def test_a_metric_that_cannot_be_encoded_does_not_hold_back_the_others(receiver: OtlpReceiver) -> None:
    batch = metrics_of(counter("good", number(2.0)), counter("bad", number(2**70)), counter("last", number(3.0)))
    with exporter_for("http/protobuf", receiver.endpoint("http/protobuf"), "metrics") as exporter:
        result = send(exporter, batch)
    assert (result.ok, result.refused) == (False, (range(1, 2),))
    assert (receiver.total("good"), receiver.total("last")) == (2, 3)
