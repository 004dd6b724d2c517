"""OTLP/gRPC: statuses, retry information, bounds, and clients that misbehave."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from claude_monitoring.receiver import OtlpReceiver
from tests.contract.receiver_parts import METHODS, call, channel, counter

GOOD = counter().SerializeToString()
LIMIT = 4096


@pytest.fixture
def receiver(capfd: pytest.CaptureFixture[str]) -> Iterator[OtlpReceiver]:
    with OtlpReceiver(http=False, max_body_bytes=LIMIT) as one:
        yield one
        assert call(one, GOOD) == b""
        assert one.faults == ()
    assert capfd.readouterr().err == ""


def failure(receiver: OtlpReceiver, body: bytes = GOOD, **options: Any) -> Any:
    with pytest.raises(grpc.RpcError) as raised:
        call(receiver, body, **options)
    return raised.value


def test_a_body_that_is_no_otlp_is_an_invalid_argument(receiver: OtlpReceiver) -> None:
    error = failure(receiver, b"\xff\xff")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details().startswith("the body is not an OTLP metrics request: ")
    assert (receiver.requests[0].status, receiver.requests[0].message) == ("INVALID_ARGUMENT", None)


@pytest.mark.parametrize("method", ["/opentelemetry.proto.collector.metrics.v1.MetricsService/Import", "/a/b"])
def test_an_unknown_method_is_unimplemented(receiver: OtlpReceiver, method: str) -> None:
    assert failure(receiver, method=method).code() is grpc.StatusCode.UNIMPLEMENTED
    (request,) = receiver.requests
    assert (request.signal, request.path, request.status) == (None, method, "UNIMPLEMENTED")


def test_a_message_over_the_limit_is_refused_also_when_it_was_small_on_the_wire(receiver: OtlpReceiver) -> None:
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        error = failure(receiver, b"\0" * (LIMIT * 500), compression=compression)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "UNIMPLEMENTED"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
        (418, "UNKNOWN"),
    ],
)
def test_an_http_status_becomes_the_nearest_of_grpc(receiver: OtlpReceiver, status: int, name: str) -> None:
    receiver.answer(status=status, message="no room", times=1)
    error = failure(receiver)
    assert (error.code().name, error.details()) == (name, "no room")
    assert (receiver.requests[0].status, receiver.requests[0].accepted) == (name, False)


def test_a_grpc_status_can_be_named(receiver: OtlpReceiver) -> None:
    receiver.answer(grpc_status="DATA_LOSS", times=1)
    assert failure(receiver).code() is grpc.StatusCode.DATA_LOSS
    assert receiver.metrics == ()


def test_the_time_to_wait_is_a_detail_of_the_status(receiver: OtlpReceiver) -> None:
    receiver.answer(grpc_status="RESOURCE_EXHAUSTED", retry_after_s=1.5, message="later", times=1)
    error = failure(receiver)
    details = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    retry = RetryInfo()
    assert details.details[0].Unpack(retry)
    assert (details.code, details.message) == (8, "later")
    assert retry.retry_delay.ToTimedelta().total_seconds() == 1.5


def test_partial_success_names_the_count_and_keeps_the_content(receiver: OtlpReceiver) -> None:
    receiver.answer(partial_success=2, message="old", times=1)
    partial = ExportMetricsServiceResponse.FromString(call(receiver, GOOD)).partial_success
    assert (partial.rejected_data_points, partial.error_message) == (2, "old")
    assert len(receiver.metrics) == 1


def test_a_lost_connection_is_unavailable(receiver: OtlpReceiver) -> None:
    receiver.answer(drop=True, times=1)
    assert failure(receiver).code() is grpc.StatusCode.UNAVAILABLE
    assert (receiver.requests[0].status, receiver.requests[0].accepted) == ("dropped", False)


def test_the_response_can_be_any_bytes(receiver: OtlpReceiver) -> None:
    receiver.answer(body=b"\xff\xff", times=1)
    assert call(receiver, GOOD) == b"\xff\xff"


def test_metadata_is_kept_and_binary_values_are_base64(receiver: OtlpReceiver) -> None:
    call(receiver, GOOD, metadata=(("authorization", "Bearer x"), ("a", "1"), ("a", "2"), ("blob-bin", b"\0\1")))
    headers = receiver.requests[0].headers
    assert {name: headers[name] for name in ("authorization", "a", "blob-bin")} == {
        "authorization": "Bearer x",
        "a": "1, 2",
        "blob-bin": "AAE=",
    }


@pytest.mark.parametrize(
    "junk", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff"]
)
def test_bytes_that_are_no_grpc_leave_it_running_and_quiet(receiver: OtlpReceiver, junk: bytes) -> None:
    host, _, port = receiver.grpc_endpoint.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client, suppress(OSError):
        client.sendall(junk)
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass
    assert receiver.requests == ()


def test_a_call_that_was_given_up_does_no_harm(receiver: OtlpReceiver) -> None:
    receiver.answer(delay_s=0.5, times=1)
    with channel(receiver) as one:
        export: Any = one.unary_unary(METHODS["metrics"])
        pending = export.future(GOOD)
        receiver.wait_until(lambda seen: len(seen.requests) == 1)
        assert pending.cancel()
