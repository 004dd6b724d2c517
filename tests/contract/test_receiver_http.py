"""OTLP/HTTP to the letter: encodings, statuses, error bodies, bounds, and clients that misbehave."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from claude_monitoring.receiver import OtlpReceiver
from claude_monitoring.receiver.decode import TooLargeError, gunzip
from claude_monitoring.types import Signal
from tests.contract.receiver_parts import (
    JSON,
    PROTOBUF,
    SIGNALS,
    Reply,
    connection,
    counter,
    json_body,
    one_of,
    otlp_json,
    post,
    span,
)

LIMIT = 4096
GOOD = counter().SerializeToString()
RESPONSES: dict[Signal, Any] = {
    "metrics": ExportMetricsServiceResponse,
    "logs": ExportLogsServiceResponse,
    "traces": ExportTraceServiceResponse,
}
REJECTED = {"metrics": "dataPoints", "logs": "logRecords", "traces": "spans"}


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver(grpc=False, max_body_bytes=LIMIT) as one:
        yield one
        assert post(one, GOOD).status == 200
        assert one.faults == ()


def raw(receiver: OtlpReceiver, *parts: bytes) -> bytes:
    """Send bytes as they are, say that there are no more, and read all that comes."""
    host, _, port = receiver.http_endpoint.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        for part in parts:
            client.sendall(part)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def error_text(reply: Reply) -> str:
    if reply.headers["content-type"] == JSON:
        return str(json.loads(reply.body)["message"])
    assert reply.headers["content-type"] == PROTOBUF
    return str(Status.FromString(reply.body).message)


# --- success ---


@pytest.mark.parametrize("signal", SIGNALS)
def test_success_is_an_empty_response_in_the_encoding_of_the_request(receiver: OtlpReceiver, signal: Signal) -> None:
    message = one_of(signal)
    reply = post(receiver, message.SerializeToString(), f"/v1/{signal}")
    assert (reply.status, reply.headers["content-type"], reply.body) == (200, PROTOBUF, b"")
    reply = post(receiver, json_body(message), f"/v1/{signal}", "application/json; charset=utf-8")
    assert (reply.status, reply.headers["content-type"], json.loads(reply.body)) == (200, JSON, {})


@pytest.mark.parametrize("signal", SIGNALS)
def test_partial_success_names_the_count_and_keeps_the_content(receiver: OtlpReceiver, signal: Signal) -> None:
    receiver.answer(partial_success=3, message="too old")
    message = one_of(signal)
    reply = post(receiver, message.SerializeToString(), f"/v1/{signal}")
    partial = RESPONSES[signal].FromString(reply.body).partial_success
    rejected = f"rejected{REJECTED[signal][0].upper()}{REJECTED[signal][1:]}"
    assert [(field.camelcase_name, value) for field, value in partial.ListFields()] == [
        (rejected, 3),
        ("errorMessage", "too old"),
    ]
    reply = post(receiver, json_body(message), f"/v1/{signal}", JSON)
    assert json.loads(reply.body) == {"partialSuccess": {rejected: "3", "errorMessage": "too old"}}
    assert len({"metrics": receiver.metrics, "logs": receiver.logs, "traces": receiver.spans}[signal]) == 2


def test_one_connection_serves_many_requests_good_and_bad(receiver: OtlpReceiver) -> None:
    with connection(receiver) as client:
        client.connect()
        socket_before = client.sock
        statuses = []
        for path, body in (
            ("/v1/metrics", GOOD),
            ("/v1/nothing", b"x"),
            ("/v1/metrics", b"\xff"),
            ("/v1/metrics", GOOD),
        ):
            client.request("POST", path, body, {"Content-Type": PROTOBUF})
            with client.getresponse() as response:
                response.read()
                statuses.append(response.status)
        assert statuses == [200, 404, 400, 200]
        assert client.sock is socket_before


def test_a_chunked_body_is_put_together(receiver: OtlpReceiver) -> None:
    pieces = [GOOD[:5], GOOD[5:20], GOOD[20:]]
    assert post(receiver, iter(pieces), transfer_encoding="chunked").status == 200
    assert len(receiver.metrics) == 1


def test_chunk_extensions_and_trailers_are_read_over(receiver: OtlpReceiver) -> None:
    head = (
        b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\nContent-Type: application/json\r\n\r\n"
    )
    answer = raw(receiver, head, b"2;name=value\r\n{}\r\n0\r\nTrailer: 1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_an_empty_protobuf_body_is_a_request_without_content(receiver: OtlpReceiver) -> None:
    assert post(receiver, b"").status == 200
    assert receiver.metrics == ()


def test_a_query_is_part_of_the_path_but_not_of_the_signal(receiver: OtlpReceiver) -> None:
    assert post(receiver, GOOD, "/v1/metrics?token=1").status == 200
    assert receiver.requests[0].path == "/v1/metrics?token=1"


def test_headers_are_kept_in_lower_case_and_repeated_ones_joined(receiver: OtlpReceiver) -> None:
    kind = b"Content-Type: application/x-protobuf\r\n"
    head = b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nX-Team: a\r\nx-team: b\r\n" + kind
    assert raw(receiver, head + b"\r\n").startswith(b"HTTP/1.1 200 ")
    assert receiver.requests[0].headers == {"host": "x", "x-team": "a, b", "content-type": PROTOBUF}


def test_gzip_in_several_members_is_one_body(receiver: OtlpReceiver) -> None:
    body = gzip.compress(GOOD[:7]) + gzip.compress(GOOD[7:])
    assert post(receiver, body, content_encoding="gzip").status == 200
    assert (len(receiver.metrics), receiver.requests[0].body_bytes) == (1, len(GOOD))


def test_identity_is_an_encoding(receiver: OtlpReceiver) -> None:
    assert post(receiver, GOOD, content_encoding="identity").status == 200


# --- what OTLP says about bad requests ---


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_not_allowed(receiver: OtlpReceiver, method: str) -> None:
    reply = post(receiver, b"", method=method)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert method == "HEAD" or "use POST" in error_text(reply)


def test_a_method_that_nobody_knows_is_not_implemented(receiver: OtlpReceiver) -> None:
    assert post(receiver, b"", method="BREW").status == 501


def test_an_unknown_path_names_those_that_exist(receiver: OtlpReceiver) -> None:
    reply = post(receiver, GOOD, "/v1/metrics/")
    assert reply.status == 404
    assert error_text(reply) == "no OTLP signal at '/v1/metrics/'; there are /v1/metrics, /v1/logs, /v1/traces"
    (request,) = receiver.requests
    assert (request.signal, request.status, request.message, request.body_bytes) == (None, 404, None, len(GOOD))


@pytest.mark.parametrize("kind", ["", "text/plain", "application/grpc", "application/x-protobuf-json"])
def test_an_unknown_content_type_is_415_in_plain_text(receiver: OtlpReceiver, kind: str) -> None:
    reply = post(receiver, GOOD, kind=kind)
    assert (reply.status, reply.headers["content-type"]) == (415, "text/plain")
    assert reply.body.decode() == f"content type {kind!r} is not application/json or application/x-protobuf"
    assert (receiver.requests[0].protocol, receiver.requests[0].accepted) == ("http", False)


@pytest.mark.parametrize("encoding", ["deflate", "zstd", "gzip, gzip"])
def test_an_unknown_content_encoding_is_415(receiver: OtlpReceiver, encoding: str) -> None:
    reply = post(receiver, GOOD, content_encoding=encoding)
    assert (reply.status, error_text(reply)) == (415, f"content encoding {encoding!r} is not gzip or identity")


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        (PROTOBUF, b"\xff\xff", "the body is not an OTLP metrics request: "),
        (PROTOBUF, GOOD[:-1], "the body is not an OTLP metrics request: "),
        (JSON, b"", "the body is not an OTLP metrics request: Expecting value"),
        (JSON, b"[]", "expected a JSON object for ExportMetricsServiceRequest, not list"),
        (JSON, b"\xff{}", "can't decode byte 0xff"),
        (JSON, b'{"resourceMetrics": [[]]}', "expected a JSON object for ResourceMetrics, not list"),
        (JSON, b'{"resourceMetrics": {"resource": 1}}', "expected a JSON object for Resource, not int"),
        (JSON, b'{"resourceMetrics": [null]}', "expected a JSON object for ResourceMetrics, not NoneType"),
        (JSON, b"[" * 100_000, "the body is not an OTLP metrics request: "),
        (JSON, b"9" * 4000, "expected a JSON object"),
    ],
)
def test_a_body_that_is_no_otlp_is_400_with_a_reason(kind: str, body: bytes, text: str) -> None:
    with OtlpReceiver(grpc=False) as receiver:
        reply = post(receiver, body, kind=kind)
        assert (reply.status, reply.headers["content-type"]) == (400, kind)
        assert text in error_text(reply)
        assert len(reply.body) < 500
        assert (receiver.requests[0].status, receiver.requests[0].message) == (400, None)
        assert receiver.faults == ()


def test_a_bad_body_is_refused_whatever_answer_was_asked_for(receiver: OtlpReceiver) -> None:
    receiver.answer(status=200, accepted=True, times=1)
    assert post(receiver, b"\xff").status == 400
    receiver.answer()


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda body: body[:-4], "Compressed file ended before"),
        (lambda body: body + b"junk", "Not a gzipped file"),
        (lambda body: body[:-8] + b"\0" * 8, "CRC check failed"),
        (lambda body: zlib.compress(GOOD), "Not a gzipped file"),
        (lambda body: body[:12] + b"\xff" * 4 + body[16:], "the body is not gzip: "),
    ],
    ids=["cut", "trailing", "checksum", "zlib", "damaged"],
)
def test_damaged_gzip_is_400(receiver: OtlpReceiver, damage: Any, text: str) -> None:
    reply = post(receiver, damage(gzip.compress(GOOD)), content_encoding="gzip")
    assert reply.status == 400
    assert text in error_text(reply)


# --- bounds ---


def test_a_body_of_the_limit_passes_and_one_byte_more_is_413(receiver: OtlpReceiver) -> None:
    assert post(receiver, b'{"x": "%s"}' % (b"a" * (LIMIT - 9)), kind=JSON).status == 200
    assert receiver.requests[0].body_bytes == LIMIT
    reply = post(receiver, b'{"x": "%s"}' % (b"a" * (LIMIT - 8)), kind=JSON)
    assert (reply.status, error_text(reply)) == (413, f"the body is larger than {LIMIT} bytes")
    assert (receiver.requests[1].status, receiver.requests[1].body_bytes) == (413, LIMIT + 1)


def test_a_client_that_sends_far_too_much_still_reads_the_answer(receiver: OtlpReceiver) -> None:
    assert post(receiver, b"\0" * (16 << 20)).status == 413
    assert post(receiver, iter([b"\0" * 1000] * 16_000), transfer_encoding="chunked").status == 413


def test_a_gzip_bomb_is_413_after_the_limit(receiver: OtlpReceiver) -> None:
    bomb = gzip.compress(b"\0" * (LIMIT * 500), 9)
    assert len(bomb) < LIMIT
    reply = post(receiver, bomb, content_encoding="gzip")
    assert (reply.status, error_text(reply)) == (413, f"the body is larger than {LIMIT} bytes after decompression")


def test_a_gzip_bomb_takes_no_more_memory_than_the_limit_and_a_little() -> None:
    bomb = gzip.compress(b"\0" * (32 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            gunzip(bomb, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


# --- framing, and clients that misbehave ---


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (b"Content-Length: -1\r\n", b"", 400),
        (b"Content-Length: 1_0\r\n", b"", 400),
        (b"Content-Length: 9999999999999999999999999\r\n", b"", 413),
        (b"Transfer-Encoding: gzip\r\n", b"", 501),
        (b"Transfer-Encoding: chunked\r\n", b"zz\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n", b"-1\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n", b"1\r\nabc\r\n0\r\n\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n", b"0\r\n" + b"A: b\r\n" * 101, 400),
        (b"Transfer-Encoding: chunked\r\n", b"%x\r\n" % (LIMIT + 1), 413),
    ],
)
def test_bad_framing_is_refused_and_ends_the_connection(
    receiver: OtlpReceiver, headers: bytes, body: bytes, status: int
) -> None:
    head = b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + headers + b"\r\n"
    answer = raw(receiver, head, body)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in answer
    assert receiver.requests[0].status == status


@pytest.mark.parametrize(
    "parts",
    [
        (b"",),
        (b"\r\n\r\n",),
        (b"POST",),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",),
        (b"POST /v1/metrics HTTP/1.1\r\nContent-Le",),
        (b"POST /v1/metrics HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc",),
        (b"POST /v1/metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nabc"),
        (b"POST /v1/metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (b"POST /v1/metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\nA: b\r\n"),
        (b"POST /v1/metrics HTTP/9.9\r\n\r\n",),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",),
        (b"A" * 100_000,),
    ],
)
def test_half_a_request_or_none_leaves_it_running_and_quiet(
    receiver: OtlpReceiver, parts: tuple[bytes, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    with suppress(OSError):  # it may have hung up on us already
        raw(receiver, *parts)
    assert receiver.metrics == ()
    assert capfd.readouterr().err == ""


def test_a_client_that_goes_away_before_the_answer_is_no_fault(
    receiver: OtlpReceiver, capfd: pytest.CaptureFixture[str]
) -> None:
    receiver.answer(delay_s=0.1, body=b"x" * (8 << 20), times=1)
    head = b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    host, _, port = receiver.http_endpoint.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port))) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closing resets the connection
        client.sendall(head)
        receiver.wait_until(lambda one: len(one.requests) == 1)
    receiver.wait_until(lambda _: not [t for t in threading.enumerate() if "process_request" in t.name])
    assert capfd.readouterr().err == ""


def test_a_fault_of_its_own_is_kept_for_the_test_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    with OtlpReceiver(grpc=False) as receiver:
        monkeypatch.setattr("claude_monitoring.receiver.http_server._Handler._body", lambda self: 1 / 0)
        with pytest.raises(ConnectionError):
            post(receiver, GOOD)
        receiver.wait_until(lambda one: bool(one.faults))
        assert receiver.faults == ("ZeroDivisionError('division by zero')",)


# --- answers that were asked for ---


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 408, 429, 500, 502, 503, 504, 599])
@pytest.mark.parametrize("kind", [PROTOBUF, JSON])
def test_an_error_has_a_status_message_in_the_encoding_of_the_request(
    receiver: OtlpReceiver, status: int, kind: str
) -> None:
    receiver.answer(status=status, message="no room", times=1)
    reply = post(receiver, GOOD if kind == PROTOBUF else b"{}", kind=kind)
    assert (reply.status, error_text(reply)) == (status, "no room")
    assert receiver.metrics == ()


def test_retry_after_is_in_seconds(receiver: OtlpReceiver) -> None:
    receiver.answer(status=429, retry_after_s=2, times=1)
    assert post(receiver, GOOD).headers["retry-after"] == "2"


@pytest.mark.parametrize(("status", "body"), [(204, None), (304, b"ignored")])
def test_a_status_without_a_body_has_none(receiver: OtlpReceiver, status: int, body: bytes | None) -> None:
    receiver.answer(status=status, body=body, times=1)
    with connection(receiver) as client:
        client.request("POST", "/v1/metrics", GOOD, {"Content-Type": PROTOBUF})
        assert Reply(client.getresponse()).status == status
        client.request("POST", "/v1/metrics", GOOD, {"Content-Type": PROTOBUF})
        assert Reply(client.getresponse()).status == 200


def test_a_body_and_its_type_can_be_anything(receiver: OtlpReceiver) -> None:
    receiver.answer(body=b"<html>proxy</html>", content_type="text/html", times=1)
    reply = post(receiver, GOOD)
    assert (reply.status, reply.headers["content-type"], reply.body) == (200, "text/html", b"<html>proxy</html>")


def test_a_dropped_connection_gets_no_byte(receiver: OtlpReceiver) -> None:
    receiver.answer(drop=True, times=1)
    head = b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    assert raw(receiver, head) == b""
    assert (receiver.requests[0].status, receiver.requests[0].accepted) == ("dropped", False)


def test_closing_cuts_connections_that_are_kept_alive() -> None:
    with OtlpReceiver(grpc=False) as receiver, connection(receiver) as client:
        client.request("POST", "/v1/metrics", GOOD, {"Content-Type": PROTOBUF})
        assert Reply(client.getresponse()).status == 200
        receiver.close()
        assert client.sock.recv(1) == b""


# --- OTLP/JSON ---


def points(*data_points: dict[str, Any], **fields: Any) -> bytes:
    metric = {"name": "m", "sum": {"aggregationTemporality": 2, "dataPoints": list(data_points), **fields}}
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}).encode()


@pytest.mark.parametrize(("value", "expected"), [("5", 5), (5, 5), (5.0, 5), ("9223372036854775807", 2**63 - 1)])
def test_json_integers_may_be_strings_or_numbers(receiver: OtlpReceiver, value: Any, expected: int) -> None:
    assert post(receiver, points({"asInt": value, "timeUnixNano": value}), kind=JSON).status == 200
    assert (receiver.metrics[0].value, receiver.metrics[0].time_unix_nano) == (expected, expected)


@pytest.mark.parametrize("value", [1.5, "NaN", "-Infinity", 3])
def test_json_doubles_may_be_numbers_or_named(receiver: OtlpReceiver, value: Any) -> None:
    assert post(receiver, points({"asDouble": value}), kind=JSON).status == 200
    assert str(receiver.metrics[0].value) == str(float(value))


def test_json_fields_that_are_unknown_or_null_or_in_snake_case_are_ignored(receiver: OtlpReceiver) -> None:
    body = points({"asInt": "1", "unknown": {"deep": [1]}, "attributes": None, "time_unix_nano": 7}, isMonotonic=None)
    assert post(receiver, body, kind=JSON).status == 200
    (point,) = receiver.metrics
    assert (point.value, point.attributes, point.time_unix_nano, point.monotonic) == (1, {}, 0, False)


@pytest.mark.parametrize("value", ["AGGREGATION_TEMPORALITY_DELTA", "1", True, 1.5])
def test_json_enums_are_integers_only(receiver: OtlpReceiver, value: Any) -> None:
    reply = post(receiver, points({"asInt": "1"}, aggregationTemporality=value), kind=JSON)
    assert reply.status == 400
    assert f"aggregationTemporality must be an integer in OTLP/JSON, not {value!r}" in error_text(reply)


@pytest.mark.parametrize(
    "wrong", [{"asInt": "x"}, {"asInt": 1.5}, {"asInt": "1", "asDouble": 1.0}, {"attributes": {"k": "v"}, "asInt": {}}]
)
def test_json_values_of_the_wrong_type_are_400(receiver: OtlpReceiver, wrong: dict[str, Any]) -> None:
    assert post(receiver, points(wrong), kind=JSON).status == 400


def test_json_ids_are_hex_of_either_case(receiver: OtlpReceiver) -> None:
    tree = otlp_json(span())
    one = tree["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    one["traceId"] = "5B8EFFF798038103D269B633813FC60c"
    assert post(receiver, json.dumps(tree).encode(), "/v1/traces", JSON).status == 200
    assert receiver.spans[0].trace_id == "5b8efff798038103d269b633813fc60c"


@pytest.mark.parametrize("value", ["dHR0dHR0dHR0dHR0dHR0dA==", "5b8efff7 98038103", "zz", 7, "x" * 3000])
def test_json_ids_that_are_no_hex_are_400(receiver: OtlpReceiver, value: Any) -> None:
    tree = otlp_json(span())
    tree["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] = value
    reply = post(receiver, json.dumps(tree).encode(), "/v1/traces", JSON)
    assert (reply.status, "traceId must be hex in OTLP/JSON" in error_text(reply)) == (400, True)
    assert len(error_text(reply)) < 300


@pytest.mark.parametrize("signal", ["logs", "traces"])
def test_ids_of_the_wrong_length_are_400(receiver: OtlpReceiver, signal: Signal) -> None:
    message = one_of(signal)
    group = message.resource_logs[0].scope_logs[0] if signal == "logs" else message.resource_spans[0].scope_spans[0]
    (group.log_records if signal == "logs" else group.spans)[0].span_id = b"1234"
    reply = post(receiver, message.SerializeToString(), f"/v1/{signal}")
    assert (reply.status, "span_id has 4 bytes instead of 8" in error_text(reply)) == (400, True)
