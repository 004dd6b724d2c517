"""Whatever a far side says, nothing is raised, nothing false counts as acknowledged, and a flush keeps its time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from claude_monitoring import _sealed
from tests.contract.exporter_parts import read_request, serving
from tests.contract.far_sides import SLACK_S, listening, monitor_at, read_grpc_request

FLUSH_S = 0.15
FEW = settings(max_examples=20)
PROTOBUF, JSON = "application/x-protobuf", "application/json"
HTTP = pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
ONLY_LOGS = {"OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none"}


def check(protocol: str, port: int, *, may_be_acknowledged: bool, must_be: bool = False) -> None:
    faults: list[BaseException] = []
    _sealed.set_internal_error_hook(faults.append)
    endpoint = f"http://127.0.0.1:{port}"
    with listening() as lines, monitor_at(protocol, endpoint, close_s=0.1, **ONLY_LOGS) as monitor:
        monitor.event("done")
        began = time.monotonic()
        delivered = monitor.flush(10 if must_be else FLUSH_S)
        assert time.monotonic() - began < (10 if must_be else FLUSH_S) + SLACK_S
        health = monitor.health()
        (state,) = health.exporters
    assert faults == []
    assert delivered is True or not must_be
    assert delivered is False or may_be_acknowledged
    assert state.sent <= int(may_be_acknowledged)
    assert state.sent == 1 or not delivered
    assert (state.sent, state.refused, state.waiting).count(1) == 1
    assert state.sent == 1 or state.waiting == 1 or not health.ok  # waiting: the flush gave up before any answer
    assert lines.foreign() == []
    faulty = [line for line in lines.warnings() if "works again" not in line]  # which a busy machine's time-out brings
    assert len(faulty) <= 1
    assert len(lines.warnings()) <= 2 * len(faulty)
    assert all(f"127.0.0.1:{port}" in line for line in lines.warnings())
    assert all("\n" not in line and len(line) < 800 and "s3cr3t" not in line for line in lines.warnings())


class Replies:
    """What the far side says to every request, set by each example."""

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol
        self.reply = b""
        self.late = True

    def __call__(self, connection: Any) -> None:
        if self.late:
            read_grpc_request(connection) if self._protocol == "grpc" else read_request(connection)
        connection.sendall(self.reply)


@contextmanager
def replies(protocol: str) -> Iterator[tuple[Replies, int]]:
    far_side = Replies(protocol)
    with serving(far_side) as port:
        yield far_side, port


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
def test_bytes_that_are_no_answer_are_no_success(protocol: str) -> None:
    with replies(protocol) as (far_side, port):

        @FEW
        @given(reply=st.binary(max_size=200), late=st.booleans())
        @example(reply=b"HTTP/1.1 200", late=True)
        @example(reply=b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n", late=True)
        @example(reply=b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n", late=True)
        @example(reply=b"HTTP/2 200\r\n\r\n", late=True)
        @example(reply=b"HTTP/1.1 99999999999999999999 OK\r\n\r\n", late=True)
        @example(reply=b"HTTP/1.1 100 Continue\r\n\r\n" * 300, late=True)
        @example(reply=b"\r\n" * 70_000, late=False)
        def run(reply: bytes, *, late: bool) -> None:
            far_side.reply, far_side.late = reply, late
            check(protocol, port, may_be_acknowledged=False)

        run()


@dataclass(frozen=True)
class Reply:
    """An answer in HTTP's form."""

    status: int
    kind: str
    body: bytes
    framing: str
    more: tuple[tuple[str, str], ...] = ()

    def encode(self) -> bytes:
        framing = {
            "right": f"content-length: {len(self.body)}",
            "cut": f"content-length: {len(self.body) + 7}",
            "until the end": "x-none: 0",
            "nonsense": "content-length: seven",
            "chunked": "transfer-encoding: chunked",
            "gzip": "content-encoding: gzip",
        }[self.framing]
        lines = [f"HTTP/1.1 {self.status} Said", framing, *(f"{key}: {value}" for key, value in self.more)]
        lines += [f"content-type: {self.kind}"] if self.kind else []
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body

    def acknowledges(self) -> bool:
        """Whether it is a 2xx with an answer of OTLP's, or with nothing, that refuses nothing."""
        if not 200 <= self.status < 300:
            return False
        if self.status == 204:  # never has a body, whatever is sent
            return True
        whole = self.framing in ("right", "until the end", "nonsense") or (self.framing == "gzip" and not self.body)
        if self.framing == "chunked":  # random bytes are no chunks, unless they happen to be the empty last one
            return b"0" in self.body
        return whole and _refused(self.body, self.kind.partition(";")[0]) == 0


def _refused(body: bytes, kind: str = PROTOBUF) -> int | None:
    """What an answer to an export of logs says was refused; ``None`` if it is no such answer."""
    message = ExportLogsServiceResponse()
    try:
        if body and kind == JSON:
            json_format.ParseDict(json.loads(body), message, ignore_unknown_fields=True)
        elif body and kind == PROTOBUF:
            message.ParseFromString(body)
        elif body:
            return None
    except (DecodeError, json_format.ParseError, ValueError, RecursionError, AttributeError, TypeError):
        return None
    return max(0, message.partial_success.rejected_log_records)


BODIES = st.one_of(
    st.just(b""),
    st.binary(max_size=100),
    st.sampled_from([
        b"{}", b"[]", b"null", b'{"partialSuccess": 5}', b'{"partialSuccess": {"rejectedLogRecords": "1"}}', b"<html>",
        b'{"partialSuccess": {"rejectedLogRecords": "9999999999999999999999"}}', b"[" * 20_000, b'{"a": NaN}',
        ExportLogsServiceResponse(partial_success={"rejected_log_records": 1}).SerializeToString(),
        ExportLogsServiceResponse(partial_success={"error_message": "old\n" * 400}).SerializeToString(),
    ]),
)  # fmt: skip
TOKENS = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=2, max_size=12).map(lambda text: f"x-{text}")
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40)
ODD = st.sampled_from([
    ("retry-after", "1e400"), ("retry-after", "-5"), ("retry-after", "\xb2"), ("retry-after", "9" * 400),
    ("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT"), ("retry-after", "Mon, 01 Jan 0001 00:00:00 +2359"),
    ("location", "http://[::1"), ("location", "\xff"), ("set-cookie", "a" * 9000), ("connection", "close"),
])  # fmt: skip
REPLIES = st.builds(
    Reply,
    status=st.one_of(st.integers(100, 599), st.sampled_from([200, 202, 204, 302, 413, 429, 503])),
    kind=st.sampled_from([PROTOBUF, JSON, "text/html", "", "application/json; charset=utf-16", "\xe4/\xf6;="]),
    body=BODIES,
    framing=st.sampled_from(["right", "right", "cut", "until the end", "nonsense", "chunked", "gzip"]),
    more=st.lists(st.one_of(ODD, st.tuples(TOKENS, VALUES)), max_size=3).map(tuple),
)


@HTTP
def test_an_answer_in_the_form_of_http_counts_only_if_it_is_otlps(protocol: str) -> None:
    with replies(protocol) as (far_side, port):

        @settings(max_examples=40)
        @given(reply=REPLIES)
        @example(reply=Reply(200, JSON, b"[" * 20_000, "right"))
        @example(reply=Reply(503, JSON, b"[" * 20_000, "right"))
        @example(reply=Reply(429, "", b"", "right", (("retry-after", "\xb2"),)))
        @example(reply=Reply(503, "", b"", "right", (("retry-after", "9" * 400),)))
        @example(reply=Reply(503, "", b"", "right", (("retry-after", "Mon, 01 Jan 0001 00:00:00 +2359"),)))
        @example(reply=Reply(302, "", b"", "right", (("location", "http://[::1"),)))
        @example(
            reply=Reply(200, JSON, b'{"partialSuccess": {"rejectedLogRecords": "9999999999999999999999"}}', "right")
        )
        def run(reply: Reply) -> None:
            far_side.reply = reply.encode()
            check(protocol, port, may_be_acknowledged=reply.acknowledges())

        run()


@HTTP
@pytest.mark.parametrize("reply", [Reply(200, PROTOBUF, b"", "right"), Reply(299, JSON, b"{}", "until the end")])
def test_the_fuzzed_far_side_can_acknowledge(protocol: str, reply: Reply) -> None:
    with replies(protocol) as (far_side, port):
        far_side.reply = reply.encode()
        check(protocol, port, may_be_acknowledged=True, must_be=True)


class GrpcReplies:
    """A real gRPC server that answers with bytes, codes and details of any kind."""

    code = 0
    body = b""
    details: bytes | None = None
    words = ""

    def export(self, request: bytes, context: Any) -> bytes:
        if self.details is not None:
            context.set_trailing_metadata((("grpc-status-details-bin", self.details),))
        if self.code:
            context.abort(next(one for one in grpc.StatusCode if one.value[0] == self.code), self.words)
        return self.body


@pytest.fixture(scope="module")
def grpc_replies() -> Iterator[tuple[GrpcReplies, int]]:
    far_side = GrpcReplies()
    handlers = {"Export": grpc.unary_unary_rpc_method_handler(far_side.export)}  # type: ignore[var-annotated]
    service = grpc.method_handlers_generic_handler("opentelemetry.proto.collector.logs.v1.LogsService", handlers)
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield far_side, port
    server.stop(0).wait(5)


DETAILS = st.one_of(
    st.none(),
    st.binary(max_size=80),
    st.builds(lambda value, url: Status(code=8, details=[{"type_url": url, "value": value}]).SerializeToString(),
              value=st.one_of(st.binary(max_size=30), st.just(b"\n\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f")),
              url=st.sampled_from(["type.googleapis.com/google.rpc.RetryInfo", "nonsense", ""])),
)  # fmt: skip


def test_an_answer_of_grpc_counts_only_if_it_is_otlps(grpc_replies: tuple[GrpcReplies, int]) -> None:
    far_side, port = grpc_replies

    @settings(max_examples=40)
    @given(
        code=st.one_of(st.just(0), st.integers(0, 16)),
        body=st.one_of(st.just(b""), st.binary(max_size=60), st.just(b"\n\x02\x08\x01"), st.just(b"\0" * 5_000_000)),
        details=DETAILS,
        words=st.text(max_size=60),
    )
    @example(code=0, body=b"\xff", details=None, words="")
    @example(code=8, body=b"", details=b"\xff", words="larger than \n" * 40)
    def run(code: int, body: bytes, details: bytes | None, words: str) -> None:
        far_side.code, far_side.body, far_side.details, far_side.words = code, body, details, words
        honest = code == 0 and _refused(body) == 0 and len(body) < 4 * 2**20
        check("grpc", port, may_be_acknowledged=honest)

    run()


def test_the_fuzzed_grpc_server_can_acknowledge(grpc_replies: tuple[GrpcReplies, int]) -> None:
    far_side, port = grpc_replies
    far_side.code, far_side.body, far_side.details = 0, b"", b"\xff"
    check("grpc", port, may_be_acknowledged=True, must_be=True)
