"""What rules are made of, and what a check finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from claude_monitoring._catalog import MetricSpec
from claude_monitoring.types import Signal

__all__ = ["Attribute", "Departure", "EventRule", "MetricRule", "Presence", "SpanRule", "WireType"]

WireType = Literal["S", "I", "D", "B", "A", "S#"]
"""String, int, double, bool, array of strings; ``S#`` is a number sent as text (the letters of the reference)."""

Presence = Literal["always", "optional", "details", "program"]
"""Whether an attribute has to be there.

``always``: every producer sends it. ``optional``: it depends on what can't be seen from outside; ``why`` says on
what. ``details``: only with ``OTEL_LOG_TOOL_DETAILS=1``. ``program``: Claude Code always sends it, but others can't
know it, so it is not demanded; ``why`` has the reason.
"""


@dataclass(frozen=True, slots=True)
class Attribute:
    """The rule for one attribute.

    Attributes:
        key: Its key.
        type: How its value is sent.
        presence: Whether it has to be there, where ``when`` holds.
        values: All values that it may have; empty for any.
        spellings: Values that are spelled exactly so; others are allowed, unless they differ in capitals alone.
        pattern: A regular expression that the whole text has to match; empty for any.
        form: What the pattern stands for, in words.
        when: Another attribute and its values: without one of these this attribute must not be there.
        why: The reason, for ``optional`` and ``program``.
    """

    key: str
    type: WireType = "S"
    presence: Presence = "always"
    values: frozenset[str] = frozenset()
    spellings: frozenset[str] = frozenset()
    pattern: str = ""
    form: str = ""
    when: tuple[str, frozenset[str]] | None = None
    why: str = ""


Attributes = Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class MetricRule:
    """A metric of Claude Code: its row of the catalogue, and the rules of its own attributes.

    ``complete`` names an attribute all of whose values are sent each time, also those with the number 0.
    """

    spec: MetricSpec
    attributes: Attributes
    complete: str = ""


@dataclass(frozen=True, slots=True)
class EventRule:
    """An event by its own attributes; ``closed`` is False where only the name of the event is known."""

    attributes: Attributes
    closed: bool = True


@dataclass(frozen=True, slots=True)
class SpanRule:
    """A span by its own attributes.

    Attributes:
        attributes: Their rules.
        parents: Names of spans that may be its parent; an empty name allows it to have none that is known.
        fails: Whether it has the status ERROR with a message if ``success`` is false.
        events: The span events that it may have, with their attributes.
        closed: False where only the name is known.
    """

    attributes: Attributes
    parents: frozenset[str]
    fails: bool = False
    events: Mapping[str, Attributes] = field(default_factory=dict)
    closed: bool = True


@dataclass(frozen=True, slots=True)
class Departure:
    """One place where the data is not what Claude Code would have sent.

    Attributes:
        kind: What is wrong, in two or three words, such as ``missing attribute``.
        signal: Of the request; empty where that is not known.
        item: The name of the metric, event or span; ``resource`` and ``scope`` for these.
        attribute: The key, where it is about an attribute.
        expected: What belongs there.
        found: What is there, at most 80 characters of it.
        source: The file; empty for requests that did not come from one.
        request: The index of the request, in its file or in what was given.
        path: Where in the request, in the words of OTLP/JSON.
    """

    kind: str
    signal: Signal | Literal[""]
    item: str
    attribute: str
    expected: str
    found: str
    source: str
    request: int
    path: str

    def __str__(self) -> str:
        where = f"{self.source or 'request'}[{self.request}] {self.path}".rstrip()
        what = f"{self.item} {self.attribute}".rstrip()
        return f"{self.kind}: {what}: expected {self.expected}, found {self.found} ({where})"
