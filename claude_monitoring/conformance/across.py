"""What only several items together can show: sequences, parents, points that belong together, switches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from claude_monitoring.conformance.found import Found, Shown, shown_values
from claude_monitoring.conformance.items import Item, Value, values_of
from claude_monitoring.conformance.model import Departure
from claude_monitoring.conformance.rules import METRICS, SPANS, SWITCHED
from claude_monitoring.conformance.rules_events import IN_A_TURN

__all__ = ["Across"]

_INTERACTION = "claude_code.interaction"
_PROMPT = "claude_code.user_prompt"
_ResourceKey = tuple[tuple[str, str], ...]
_Holder = tuple[Item, str, str, set[str]]
_Records = list[tuple[int, Item]]


class Across:
    """Remembers what it takes of each item."""

    def __init__(self) -> None:
        self._records: dict[_ResourceKey, dict[str, _Records]] = defaultdict(lambda: defaultdict(list))
        self._spans: dict[tuple[bytes, bytes], Item] = {}
        self._native_spans: list[Item] = []
        self._interactions: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
        self._points: dict[tuple[str, _ResourceKey, _ResourceKey], tuple[Item, str, set[str]]] = {}

    def add(self, item: Item, *, native: bool) -> None:
        """Remember an item of Claude Code's family, or of ours."""
        if item.signal == "logs":
            values, _ = values_of(item.raw.attributes)
            number = values.get("event.sequence")
            if number is not None and number.type == "I":
                session = values["session.id"].text if "session.id" in values else ""
                self._records[_key(item.resource_values)][session].append((number.value, item))
        elif item.signal == "traces" and native:
            self._spans[item.raw.trace_id, item.raw.span_id] = item
            self._native_spans.append(item)
            if item.raw.name == _INTERACTION:
                times = (item.raw.start_time_unix_nano, item.raw.end_time_unix_nano)
                self._interactions[item.raw.trace_id].append(times)
        elif item.signal == "metrics" and native:
            self._add_points(item)

    def add_foreign(self, item: Item) -> None:
        """Remember a span of others: it may stand between two of Claude Code's."""
        if item.signal == "traces":
            self._spans[item.raw.trace_id, item.raw.span_id] = item

    def _add_points(self, item: Item) -> None:
        rule = METRICS.get(item.raw.name)
        if rule is None or not rule.complete or item.raw.WhichOneof("data") != "sum":
            return
        for index, point in enumerate(item.raw.sum.data_points):
            values, _ = values_of(point.attributes)
            own = values.pop(rule.complete, Value("none", None)).text
            key = (item.raw.name, _key(item.resource_values), _key(values))
            place = f"{item.path}.sum.dataPoints[{index}]"
            self._points.setdefault(key, (item, place, set()))[2].add(own)

    def departures(self) -> list[Departure]:
        """Everything that the items so far show together."""
        found = Found()
        for sessions in self._records.values():
            _check_sequence(sessions, found)
        for item in self._native_spans:
            self._check_parent(item, found)
        for (name, _, others), (item, path, seen) in self._points.items():
            rule = METRICS[name]
            for value in sorted(rule.attributes[rule.complete].values - seen):
                expected = f"a point with {rule.complete}={value} beside the others, also if its number is 0"
                shown = shown_values({key: Value("S", text) for key, text in others if key in rule.attributes})
                found.add(item, "missing point", name, expected, shown, attribute=rule.complete, path=path)
        return found

    def _check_parent(self, item: Item, found: Found) -> None:
        rule, span = SPANS.get(item.raw.name), item.raw
        if rule is None:
            return
        names = " or ".join(sorted(rule.parents - {""})) or "none, or one of another program"
        parent = self._nearest_native(item)
        if parent is not None:
            if parent.raw.name in SPANS and parent.raw.name not in rule.parents:
                found.add(item, "parent", span.name, names, Shown(parent.raw.name))
        elif "" in rule.parents:
            return
        elif not span.parent_span_id:
            if not _is_standalone(span):
                found.add(item, "parent", span.name, names, Shown("none"))
        elif self._is_lost(item):
            found.add(
                item, "parent", span.name, names, Shown(f"{span.parent_span_id.hex()}, which is no span of the trace")
            )

    def _nearest_native(self, item: Item) -> Item | None:
        """The nearest span above that is Claude Code's; spans of others between the two do not count."""
        seen = set()
        span = item.raw
        while span.parent_span_id and span.parent_span_id not in seen:
            seen.add(span.parent_span_id)
            above = self._spans.get((span.trace_id, span.parent_span_id))
            if above is None:
                return None
            if above.raw.name.startswith("claude_code."):
                return above
            span = above.raw
        return None

    def _is_lost(self, item: Item) -> bool:
        """Whether the parent had to be here: an interaction that began before and ended later is."""
        span = item.raw
        if (span.trace_id, span.parent_span_id) in self._spans:
            return False
        return any(
            start <= span.start_time_unix_nano and span.end_time_unix_nano <= end
            for start, end in self._interactions[span.trace_id]
        )

    @staticmethod
    def switches(items: Sequence[Item], found: Found) -> None:
        """Attributes that one switch turns on or off: all items of a resource in a request have them, or none."""
        by_resource: dict[str, list[_Holder]] = defaultdict(list)
        for holder in _holders(items):
            by_resource[holder[0].resource_path].append(holder)
        for holders in by_resource.values():
            for key in dict.fromkeys((*SWITCHED, *holders[0][0].resource_values)):
                without = [holder for holder in holders if key not in holder[3]]
                for item, name, path, _ in without if len(without) < len(holders) else ():
                    expected = "it, as other items of the request have it"
                    found.add(item, "missing attribute", name, expected, Shown("nothing"), attribute=key, path=path)


def _holders(items: Sequence[Item]) -> Iterator[_Holder]:
    for item in items:
        if item.signal != "metrics":
            name = item.raw.name if item.signal == "traces" else item.raw.body.string_value
            yield item, name, item.path, {pair.key for pair in item.raw.attributes}
            continue
        kind = item.raw.WhichOneof("data")
        for index, point in enumerate(getattr(item.raw, kind).data_points if kind else ()):
            yield item, item.raw.name, f"{item.path}.{kind}.dataPoints[{index}]", {p.key for p in point.attributes}


def _key(values: Any) -> _ResourceKey:
    return tuple(sorted((key, value.text) for key, value in values.items()))


def _is_standalone(span: Any) -> bool:
    return any(
        pair.key == "llm_request.context" and pair.value.string_value == "standalone" for pair in span.attributes
    )


def _check_sequence(sessions: dict[str, _Records], found: Found) -> None:
    """Gaps in ``event.sequence``, which counts per process, while the data names no process.

    A session whose numbers run from 0 without a gap is a process of its own. What is left of a resource is taken
    together: a session that was continued begins with a high number, and sessions side by side share one sequence.
    """
    rest: _Records = []
    for session, records in sessions.items():
        _check_twice(records, found)
        _check_prompts(records, found)
        numbers = {number for number, _ in records}
        if not session or numbers != set(range(len(numbers))):
            rest += records
    first: dict[int, Item] = {}
    for number, item in rest:
        first.setdefault(number, item)
    for before, number in pairwise(sorted(first)):
        if number != before + 1:
            name = first[number].raw.body.string_value
            shown = Shown(f"{number} after {before}")
            found.add(first[number], "sequence", name, f"{before + 1}", shown, attribute="event.sequence")


def _check_prompts(records: _Records, found: Found) -> None:
    """What happens after the first prompt of a session happens in a turn, and names it."""
    prompts = [number for number, item in records if item.raw.body.string_value == _PROMPT]
    for number, item in records:
        name = item.raw.body.string_value
        is_late = bool(prompts) and number >= min(prompts) and name.removeprefix("claude_code.") in IN_A_TURN
        if is_late and not any(pair.key == "prompt.id" for pair in item.raw.attributes):
            found.add(item, "missing attribute", name, "the id of its turn", Shown("nothing"), attribute="prompt.id")


def _check_twice(records: _Records, found: Found) -> None:
    seen: set[tuple[int, int, str]] = set()
    for number, item in records:
        one = (number, item.raw.time_unix_nano, item.raw.body.string_value)
        if one in seen:
            found.add(item, "sequence", one[2], "each event once", Shown(f"{number} twice"), attribute="event.sequence")
        seen.add(one)
