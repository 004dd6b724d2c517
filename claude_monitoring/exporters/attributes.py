"""Attributes as OTLP has them: as messages, and a series' as bytes and as JSON text, each pair made once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

__all__ = ["any_value", "as_bytes", "as_json", "head", "key_values", "text"]

_INT64 = range(-(2**63), 2**63)
_PAIRS = 4_096
_ONE_BYTE = 0x80
_LENGTH_DELIMITED = 2  # the wire type


def key_values(attributes: Mapping[str, Any]) -> list[KeyValue]:
    """``attributes`` as messages."""
    return [_key_value(key, value) for key, value in attributes.items()]


def _key_value(key: str, value: Any) -> KeyValue:
    return KeyValue(key=text(key), value=any_value(value))


def any_value(value: object) -> AnyValue:
    """``value`` as a message; what OTLP has no type for becomes text."""
    if isinstance(value, bool):  # before int: True is one
        return AnyValue(bool_value=value)
    if isinstance(value, int) and value in _INT64:
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, (list, tuple)):
        array = AnyValue()
        array.array_value.values.extend(any_value(item) for item in value)
        return array
    return AnyValue(string_value=text(str(value)))


def text(given: str) -> str:
    """``given`` as protobuf takes it: lone surrogates become ``?``."""
    return given if given.isascii() else given.encode("utf-8", "replace").decode("utf-8")


def head(number: int, size: int) -> bytes:
    """What stands before a message of ``size`` bytes that is the field ``number``, below 16, of another one."""
    return bytes((number << 3 | _LENGTH_DELIMITED,)) + _varint(size)


def _varint(number: int) -> bytes:
    """``number``, not negative, as protobuf writes lengths (protobuf.dev/programming-guides/encoding)."""
    found = bytearray()
    while number >= _ONE_BYTE:
        found.append(number & 0x7F | _ONE_BYTE)
        number >>= 7
    found.append(number)
    return bytes(found)


def as_bytes(number: int, attributes: Mapping[str, Any]) -> bytes:
    """``attributes`` as they stand, as the field ``number``, in a serialised message."""
    return b"".join(
        [
            (_float_bytes if value.__class__ is float else _bytes)(number, key, value)
            for key, value in attributes.items()
        ]
    )


def as_json(attributes: Mapping[str, Any]) -> str:
    """``attributes`` as the items of a list in OTLP/JSON."""
    return ",".join(
        [(_float_json if value.__class__ is float else _json)(key, value) for key, value in attributes.items()]
    )


def _float_bytes(number: int, key: str, value: Any) -> bytes:
    pair = _key_value(key, value).SerializeToString()
    return head(number, len(pair)) + pair


def _float_json(key: str, value: Any) -> str:
    return json.dumps(json_format.MessageToDict(_key_value(key, value)), separators=(",", ":"))


# Not for floats, since 0.0 and -0.0 are equal.
_bytes = lru_cache(_PAIRS, typed=True)(_float_bytes)
_json = lru_cache(_PAIRS, typed=True)(_float_json)
