"""What a gRPC client said on the wire, read from the bytes that it sent: the server's library shows little of it."""

from __future__ import annotations

from dataclasses import dataclass

from hpack import Decoder
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame

__all__ = ["GrpcRequest", "grpc_requests", "is_http2"]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD_BYTES = 9


@dataclass
class GrpcRequest:
    """One call: its headers (RFC 9113, pseudo-headers included), and whether its message was compressed."""

    headers: dict[str, str]
    compressed: bool = False
    message_bytes: int = 0


def is_http2(sent: bytes) -> bool:
    """Whether a connection began with HTTP/2's preface."""
    return sent.startswith(_PREFACE)


def grpc_requests(sent: bytes) -> list[GrpcRequest]:
    """The requests of one connection, from what its client sent; what was cut off at the end is left out."""
    requests: dict[int, GrpcRequest] = {}
    decoder, block, view = Decoder(), b"", memoryview(sent)[len(_PREFACE) :]
    while len(view) >= _HEAD_BYTES:
        frame, length = Frame.parse_frame_header(view[:_HEAD_BYTES])
        if len(view) < _HEAD_BYTES + length:
            break
        frame.parse_body(view[_HEAD_BYTES : _HEAD_BYTES + length])
        view = view[_HEAD_BYTES + length :]
        if isinstance(frame, HeadersFrame | ContinuationFrame):
            block += frame.data
            if "END_HEADERS" in frame.flags:
                requests[frame.stream_id] = GrpcRequest(_text(decoder.decode(block)))
                block = b""
        elif isinstance(frame, DataFrame) and frame.stream_id in requests and frame.data:
            request = requests[frame.stream_id]
            if not request.message_bytes:
                # gRPC over HTTP2, "Length-Prefixed-Message": the first byte is the flag of the compression.
                request.compressed = bool(frame.data[0])
            request.message_bytes += len(frame.data)
    return list(requests.values())


def _text(headers: object) -> dict[str, str]:
    return {_str(name): _str(value) for name, value in headers}  # type: ignore[attr-defined]


def _str(part: str | bytes) -> str:
    return part.decode("latin-1") if isinstance(part, bytes) else part
