"""A log record held against the rule of its event: section 5 of the reference."""

from __future__ import annotations

from datetime import datetime

from claude_monitoring.conformance.common import check_dropped, check_values
from claude_monitoring.conformance.found import Found, Shown
from claude_monitoring.conformance.items import Item, Values, values_of
from claude_monitoring.conformance.nearest import nearest
from claude_monitoring.conformance.rules import STANDARD
from claude_monitoring.conformance.rules_events import EVENT_COMMON, EVENTS

__all__ = ["check_log", "check_own_log"]

_PREFIX = "claude_code."
_OWN_PREFIX = "claude."
_SAMPLED = 1
_MAX_APART_MS = 1_000.0  # two readings of the clock: 1 ms apart in the captures, more on a busy machine


def check_log(item: Item, found: Found) -> None:
    """An event of Claude Code."""
    body, values = _check_record(item, _PREFIX, found)
    event = body.removeprefix(_PREFIX)
    if not body.startswith(_PREFIX) or event not in EVENTS:
        hint = nearest(body, [_PREFIX + name for name in EVENTS])
        found.add(item, "unknown name", body, f"an event of Claude Code{hint}", body)
        return
    rule = EVENTS[event]
    rules = {**STANDARD, **EVENT_COMMON, **rule.attributes}
    check_values(item, item.raw.attributes, body, rules, found, closed=rule.closed)
    _check_time(item, body, values, found)


def check_own_log(item: Item, found: Found) -> None:
    """A user's own event, which has the frame of Claude Code's."""
    body, values = _check_record(item, _OWN_PREFIX, found)
    if not body.startswith(_OWN_PREFIX):
        found.add(item, "unknown name", body, "a body that begins with claude.", body)
    check_values(item, item.raw.attributes, body, EVENT_COMMON, found, closed=False)
    _check_time(item, body, values, found)


def _check_record(item: Item, prefix: str, found: Found) -> tuple[str, Values]:
    record = item.raw
    values, _ = values_of(record.attributes)
    body = record.body.string_value
    if record.body.WhichOneof("value") != "string_value":
        found.add(item, "body", "log record", "stringValue with the event's name", Shown(_body_kind(record)))
    short = values["event.name"].text if "event.name" in values else ""
    if short and body != prefix + short:
        found.add(item, "body", body, f"{prefix}{short}, as event.name has it", body)
    if record.severity_number or record.severity_text:
        found.add(item, "severity", body, "none", record.severity_text or record.severity_number)
    event_name = getattr(record, "event_name", "")  # not in protocol classes before 1.5
    if event_name:
        found.add(item, "eventName", body, "none", event_name)
    has_trace, has_span = bool(record.trace_id), bool(record.span_id)
    if has_trace != has_span:
        shown = "traceId alone" if has_trace else "spanId alone"
        found.add(item, "trace ids", body, "traceId and spanId, or neither", Shown(shown))
    if record.flags != (_SAMPLED if has_trace else 0):
        expected = "1, beside a traceId" if has_trace else "none without a traceId"
        found.add(item, "record flags", body, expected, record.flags)
    check_dropped(item, record, body, found)
    return body, values


def _body_kind(record: object) -> str:
    return getattr(record, "body").WhichOneof("value") or "no value"  # noqa: B009 - protobuf's classes have no types


def _check_time(item: Item, body: str, values: Values, found: Found) -> None:
    record = item.raw
    if not record.time_unix_nano or record.time_unix_nano != record.observed_time_unix_nano:
        shown = f"{record.time_unix_nano} and {record.observed_time_unix_nano}"
        found.add(item, "time", body, "timeUnixNano, and observedTimeUnixNano equal to it", Shown(shown))
        return
    stamp = values.get("event.timestamp")
    try:
        when = datetime.fromisoformat(stamp.text.replace("Z", "+00:00")).timestamp() * 1000 if stamp else None
    except ValueError:  # the rule of the attribute tells it
        return
    if when is not None and abs(when - record.time_unix_nano / 1e6) > _MAX_APART_MS:
        found.add(item, "time", body, "the time of the record", stamp, attribute="event.timestamp")
