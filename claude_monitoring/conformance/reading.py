"""From files to requests: OTLP/JSON as one request, as one a line, or in the form of the captures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from claude_monitoring.errors import ClaudeMonitoringError
from claude_monitoring.receiver.decode import MalformedError, decode
from claude_monitoring.types import Signal

__all__ = ["UnusableInputError", "decode_body", "read", "signal_of"]

_BY_KEY: dict[str, Signal] = {"resourceMetrics": "metrics", "resourceLogs": "logs", "resourceSpans": "traces"}
_BY_FIELD: dict[str, Signal] = {"resource_metrics": "metrics", "resource_logs": "logs", "resource_spans": "traces"}
_EXPECTED = "a JSON object with resourceMetrics, resourceLogs or resourceSpans"


class UnusableInputError(ClaudeMonitoringError, ValueError):
    """Input that is no OTLP/JSON; the text names the file, the line and what was expected."""


def read(path: Path) -> list[Message]:
    """The requests in a file, decoded, in order; ``check`` takes them as they are.

    Args:
        path: One request; or one a line, as the file exporter of an OpenTelemetry Collector writes; or an object with a
            list ``exports`` of requests, as in the captures.

    Raises:
        UnusableInputError: The file can't be read, or is none of these.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise UnusableInputError(f"{path}: can't be read: {reason}; expected OTLP/JSON") from exc
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise UnusableInputError(f"{path}: line 1: empty; expected {_EXPECTED}")
    found: list[Message] = []
    for number, document in _documents(path, text, lines):
        for body, where in _bodies(document, f"{path}: line {number}"):
            found += [message for _, message in decode_body(body, where)]
    return found


def _documents(path: Path, text: str, lines: list[tuple[int, str]]) -> Iterator[tuple[int, Any]]:
    """Each JSON document of the text with its line: the whole, or line by line where the first line is one."""
    try:
        first = json.loads(lines[0][1])
    except (ValueError, RecursionError):
        lines = [(lines[0][0], text)]
    else:
        yield lines[0][0], first
        del lines[0]
    for number, line in lines:
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as exc:
            at = exc.lineno if line is text else number
            raise UnusableInputError(
                f"{path}: line {at}, column {exc.colno}: no JSON ({exc.msg}); expected {_EXPECTED}"
            ) from exc
        except RecursionError as exc:
            raise UnusableInputError(f"{path}: line {number}: nested too deeply; expected {_EXPECTED}") from exc


def _bodies(document: Any, where: str) -> Iterator[tuple[Any, str]]:
    exports = document.get("exports") if isinstance(document, dict) else None
    if isinstance(exports, list):
        for index, body in enumerate(exports):
            yield body, f"{where}: exports[{index}]"
    else:
        yield document, where


def decode_body(body: Any, where: str) -> list[tuple[Signal, Any]]:
    """The requests in an OTLP/JSON body, decoded; one, unless it has the keys of several signals.

    Raises:
        UnusableInputError: It is no such body.
    """
    keys = [key for key in _BY_KEY if key in body] if isinstance(body, Mapping) else []
    if not keys:
        shown = f"one with {', '.join(map(str, list(body)[:5])) or 'nothing'}" if isinstance(body, Mapping) else ""
        raise UnusableInputError(f"{where}: expected {_EXPECTED}, found {shown or type(body).__name__}")
    try:
        return [
            (_BY_KEY[key], decode(_BY_KEY[key], json.dumps({key: body[key]}).encode(), as_json=True)) for key in keys
        ]
    except (MalformedError, TypeError, ValueError) as exc:
        raise UnusableInputError(f"{where}: {exc}; expected {_EXPECTED}") from exc


def signal_of(message: Message) -> Signal | None:
    """The signal of a decoded request; None for another message."""
    return next((_BY_FIELD[field.name] for field in message.DESCRIPTOR.fields if field.name in _BY_FIELD), None)
