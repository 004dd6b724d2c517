"""From requests to single items, each with its attributes and the place where it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from claude_monitoring.types import Signal

__all__ = ["Item", "Value", "describe", "items", "values_of"]

_TREE: dict[Signal, tuple[tuple[str, str], tuple[str, str], tuple[str, str]]] = {
    "metrics": (
        ("resource_metrics", "resourceMetrics"),
        ("scope_metrics", "scopeMetrics"),
        ("metrics", "metrics"),
    ),
    "logs": (("resource_logs", "resourceLogs"), ("scope_logs", "scopeLogs"), ("log_records", "logRecords")),
    "traces": (("resource_spans", "resourceSpans"), ("scope_spans", "scopeSpans"), ("spans", "spans")),
}
_MAX_SHOWN_CHARS = 80
_TYPES = {
    "string_value": "S",
    "int_value": "I",
    "double_value": "D",
    "bool_value": "B",
    "array_value": "A",
    "kvlist_value": "map",
    "bytes_value": "bytes",
}


@dataclass(frozen=True, slots=True)
class Value:
    """The value of an attribute with the letter of its type; ``none`` for a value that is empty."""

    type: str
    value: Any

    @property
    def text(self) -> str:
        """As text; booleans in lower case."""
        return str(self.value).lower() if self.type == "B" else str(self.value)


Values = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Item:
    """A metric, log record or span with all that is around it; paths are in the words of OTLP/JSON."""

    signal: Signal
    raw: Any
    resource: Any
    resource_values: Values
    part: Any
    source: str
    request: int
    resource_path: str
    part_path: str
    path: str

    @property
    def scope_name(self) -> str:
        """The name of the instrumentation scope."""
        return str(self.part.scope.name)


def items(signal: Signal, message: Any, source: str, request: int) -> Iterator[Item]:
    """All metrics, log records or spans of a decoded request."""
    (outer, outer_key), (inner, inner_key), (leaf, leaf_key) = _TREE[signal]
    for i, resource in enumerate(getattr(message, outer)):
        resource_path = f"{outer_key}[{i}]"
        values, _ = values_of(resource.resource.attributes)
        for j, part in enumerate(getattr(resource, inner)):
            part_path = f"{resource_path}.{inner_key}[{j}]"
            for k, raw in enumerate(getattr(part, leaf)):
                path = f"{part_path}.{leaf_key}[{k}]"
                yield Item(signal, raw, resource, values, part, source, request, resource_path, part_path, path)


def values_of(pairs: Any) -> tuple[dict[str, Value], list[str]]:
    """The attributes by key, and the keys that come more than once."""
    found: dict[str, Value] = {}
    twice = []
    for pair in pairs:
        if pair.key in found:
            twice.append(pair.key)
        found[pair.key] = _value(pair.value)
    return found, twice


def _value(value: Any) -> Value:
    which = value.WhichOneof("value")
    if which is None:
        return Value("none", None)
    if which == "array_value":
        return Value("A", [_value(one) for one in value.array_value.values])
    return Value(_TYPES.get(which, which), getattr(value, which))


def describe(value: object) -> str:
    """``value`` as one short line for a person."""
    if isinstance(value, Value):
        if value.type == "A":
            return f"an array of {len(value.value)}"
        value = value.value if value.type != "B" else value.text
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[: _MAX_SHOWN_CHARS - 3]}..."
