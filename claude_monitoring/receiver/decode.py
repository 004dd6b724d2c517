"""From the bytes of a request to a protobuf message, and from an answer to its bytes.

Sources: the OTLP specification 1.x ("OTLP/HTTP", "JSON Protobuf Encoding") and ``google/rpc/status.proto``.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import json
import zlib
from functools import cache
from typing import Any

from google.protobuf import json_format
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from claude_monitoring.receiver.answers import CODES
from claude_monitoring.types import Signal

__all__ = ["MalformedError", "TooLargeError", "decode", "encode_status", "encode_success", "gunzip"]

_REQUESTS: dict[Signal, Any] = {
    "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
    "traces": trace_service_pb2.ExportTraceServiceRequest,
}
_RESPONSES: dict[Signal, Any] = {
    "metrics": metrics_service_pb2.ExportMetricsServiceResponse,
    "logs": logs_service_pb2.ExportLogsServiceResponse,
    "traces": trace_service_pb2.ExportTraceServiceResponse,
}
_REJECTED: dict[Signal, str] = {
    "metrics": "rejected_data_points",
    "logs": "rejected_log_records",
    "traces": "rejected_spans",
}
_ID_FIELDS = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}
_MAX_REASON = 200


class MalformedError(ValueError):
    """A body that is not what its headers say; the text names what is wrong."""


class TooLargeError(ValueError):
    """A body with more bytes than the receiver takes."""


def gunzip(body: bytes, limit: int) -> bytes:
    """Decompress at most ``limit`` bytes.

    Raises:
        MalformedError: Not gzip, cut short, or damaged.
        TooLargeError: There is more than ``limit``.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as stream:
            plain = stream.read(limit + 1)
    except (OSError, EOFError, zlib.error) as exc:
        raise MalformedError(_reason("the body is not gzip", exc)) from exc
    if len(plain) > limit:
        raise TooLargeError(f"the body is larger than {limit} bytes after decompression")
    return plain


def decode(signal: Signal, body: bytes, *, as_json: bool) -> Any:
    """The ``Export...ServiceRequest`` in ``body``.

    Raises:
        MalformedError: The body is not such a message.
    """
    message = _REQUESTS[signal]()
    try:
        if as_json:
            tree = json.loads(body.decode("utf-8"))
            json_format.ParseDict(_proto_json(tree, message.DESCRIPTOR), message, ignore_unknown_fields=True)
        else:
            message.ParseFromString(body)
        _check_ids(signal, message)
    except MalformedError:
        raise
    except Exception as exc:  # the parsers document no closed list of what they raise
        raise MalformedError(_reason(f"the body is not an OTLP {signal} request", exc)) from exc
    return message


def encode_success(signal: Signal, rejected: int, message: str, *, as_json: bool) -> bytes:
    """The ``Export...ServiceResponse`` with its partial success, which is left out if it says nothing."""
    response = _RESPONSES[signal]()
    if rejected or message:
        setattr(response.partial_success, _REJECTED[signal], rejected)
        response.partial_success.error_message = message
    if as_json:
        return json_format.MessageToJson(response, indent=None).encode()
    return bytes(response.SerializeToString())


def encode_status(code: str, message: str, *, as_json: bool) -> bytes:
    """A ``google.rpc.Status``, the body of every HTTP answer that is an error."""
    status = Status(code=CODES[code], message=message)
    if as_json:
        return json_format.MessageToJson(status, indent=None).encode()
    return bytes(status.SerializeToString())


def _proto_json(tree: Any, descriptor: Any) -> Any:
    """OTLP's JSON as the ProtoJSON that ``json_format`` reads.

    The two differ: ids are hex, not base64; enums are integers only; only lowerCamelCase keys count, all others are
    unknown fields and ignored.
    """
    if not isinstance(tree, dict):
        raise MalformedError(f"expected a JSON object for {descriptor.name}, not {type(tree).__name__}")
    fields = _fields(descriptor)
    return {
        key: [_value(item, fields[key]) for item in value] if isinstance(value, list) else _value(value, fields[key])
        for key, value in tree.items()
        if key in fields and value is not None
    }


@cache
def _fields(descriptor: Any) -> dict[str, Any]:
    # not fields_by_camelcase_name: that one also finds names in snake_case
    return {field.camelcase_name: field for field in descriptor.fields}


def _value(value: Any, field: Any) -> Any:
    if field.message_type is not None:
        return _proto_json(value, field.message_type)
    if field.enum_type is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise MalformedError(f"{field.camelcase_name} must be an integer in OTLP/JSON, not {_short(value)}")
    if field.name in _ID_FIELDS:
        try:
            return base64.b64encode(binascii.unhexlify(value)).decode()
        except (TypeError, ValueError) as exc:
            raise MalformedError(f"{field.camelcase_name} must be hex in OTLP/JSON, not {_short(value)}") from exc
    return value


def _check_ids(signal: Signal, message: Any) -> None:
    if signal == "traces":
        items = (item for group in message.resource_spans for scope in group.scope_spans for item in scope.spans)
    elif signal == "logs":
        items = (item for group in message.resource_logs for scope in group.scope_logs for item in scope.log_records)
    else:
        return
    for item in items:
        for name, size in _ID_FIELDS.items():
            value = getattr(item, name, b"")
            if value and len(value) != size:
                raise MalformedError(f"{name} has {len(value)} bytes instead of {size}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}..."


def _reason(what: str, exc: Exception) -> str:
    text = " ".join(str(exc).split()) or type(exc).__name__
    return f"{what}: {text[:_MAX_REASON]}"
