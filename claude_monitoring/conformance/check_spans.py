"""A span held against its rule: section 6 of the reference. Parents are looked up later, among all spans."""

from __future__ import annotations

from claude_monitoring.conformance.common import check_dropped, check_values
from claude_monitoring.conformance.found import Found, Shown
from claude_monitoring.conformance.items import Item, Values
from claude_monitoring.conformance.model import SpanRule
from claude_monitoring.conformance.nearest import nearest
from claude_monitoring.conformance.notation import S, table
from claude_monitoring.conformance.rules import SPAN_COMMON, SPANS, STANDARD

__all__ = ["check_span"]

_PREFIX = "claude_code."
_INTERNAL = 1
_UNSET, _ERROR = 0, 2
_FLAGS = {0x101: "257", 0x301: "769"}  # sampled, and whether the parent is remote is known; the second: it is
_LINK = table(S("link.type", values="parent_of"))


def check_span(item: Item, found: Found) -> None:
    """A span of Claude Code."""
    span = item.raw
    rule = SPANS.get(span.name)
    if rule is None:
        found.add(item, "unknown name", span.name, f"a span of Claude Code{nearest(span.name, SPANS)}", span.name)
        return
    rules = {**STANDARD, **SPAN_COMMON, **rule.attributes}
    values = check_values(item, span.attributes, span.name, rules, found, closed=rule.closed)
    kind = values.get("span.type")
    if kind is not None and _PREFIX + kind.text != span.name:
        expected = f"{span.name.removeprefix(_PREFIX)}, the name without its prefix"
        found.add(item, "attribute value", span.name, expected, kind, attribute="span.type")
    if span.kind != _INTERNAL:
        found.add(item, "span kind", span.name, "1 (internal)", span.kind)
    if span.flags not in _FLAGS:
        found.add(item, "span flags", span.name, "257, or 769 under a remote parent", span.flags)
    if not 0 < span.start_time_unix_nano <= span.end_time_unix_nano:
        shown = f"{span.start_time_unix_nano} to {span.end_time_unix_nano}"
        found.add(item, "time", span.name, "startTimeUnixNano, and endTimeUnixNano not before it", Shown(shown))
    check_dropped(item, span, span.name, found)
    _check_status(item, rule, values, found)
    _check_parts(item, rule, found)


def _check_status(item: Item, rule: SpanRule, values: Values, found: Found) -> None:
    span = item.raw
    failed = rule.fails and "success" in values and values["success"].text == "false"
    if span.status.code != (_ERROR if failed else _UNSET):
        expected = "2 (error), since success is false" if failed else "0 (unset)"
        found.add(item, "status", span.name, expected, span.status.code)
    elif failed != bool(span.status.message):
        expected = "the error" if failed else "none"
        found.add(item, "status message", span.name, expected, span.status.message)


def _check_parts(item: Item, rule: SpanRule, found: Found) -> None:
    span = item.raw
    for index, event in enumerate(span.events):
        path = f"{item.path}.events[{index}]"
        if event.name in rule.events:
            check_values(item, event.attributes, f"{span.name} {event.name}", rule.events[event.name], found, path=path)
        elif rule.closed:
            expected = f"{' or '.join(rule.events) or 'none'}{nearest(event.name, rule.events)}"
            found.add(item, "span event", span.name, expected, event.name, path=path)
        check_dropped(item, event, span.name, found, path)
    for index, link in enumerate(span.links):
        check_values(item, link.attributes, f"{span.name} link", _LINK, found, path=f"{item.path}.links[{index}]")
    if span.name == "claude_code.llm_request":
        _check_attempts(item, found)


def _check_attempts(item: Item, found: Found) -> None:
    """Span events for the attempts, numbered from 1: one for each, or more where a request was made anew."""
    events = [event for event in item.raw.events if event.name == "gen_ai.request.attempt"]
    numbers = [pair.value.int_value for event in events for pair in event.attributes if pair.key == "attempt"]
    attempts = next((pair.value.int_value for pair in item.raw.attributes if pair.key == "attempt"), 0)
    if len(numbers) < attempts or numbers != list(range(1, len(numbers) + 1)):
        expected = f"gen_ai.request.attempt for each of {attempts} attempts, numbered from 1"
        found.add(item, "span event", item.raw.name, expected, Shown(str(numbers)[:80]))
