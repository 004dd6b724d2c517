"""The departures of a check for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from claude_monitoring.conformance.checker import Checker
from claude_monitoring.conformance.model import Departure

__all__ = ["as_json", "as_text", "verdict"]


def _groups(departures: Sequence[Departure]) -> list[tuple[Departure, int]]:
    """The first departure of each kind, item, attribute and expectation with its number; by kind, most first."""
    first: dict[tuple[str, ...], Departure] = {}
    counts: Counter[tuple[str, ...]] = Counter()
    kinds = Counter(one.kind for one in departures)
    for one in departures:
        key = (one.kind, one.signal, one.item, one.attribute, one.expected)
        first.setdefault(key, one)
        counts[key] += 1
    groups = [(first[key], count) for key, count in counts.items()]
    return sorted(groups, key=lambda group: (-kinds[group[0].kind], group[0].kind, -group[1], group[0].item))


def verdict(checker: Checker, departures: Sequence[Departure]) -> str:
    """The last line: how much was checked, and what came of it."""
    what = f"{checker.checked} metrics, events and spans in {_count(checker.requests, 'request')}"
    if checker.foreign:
        what += f" ({checker.foreign} of others left alone)"
    if not departures:
        return f"CLEAN: {what}, no departure from Claude Code's conventions"
    kinds = len({one.kind for one in departures})
    return f"DEPARTURES: {len(departures)} of {_count(kinds, 'kind')} in {what}"


def as_text(checker: Checker) -> str:
    """Grouped by kind, with counts and one example each, plain text; the last line is the verdict."""
    departures = checker.departures()
    kinds = Counter(one.kind for one in departures)
    lines: list[str] = []
    kind = ""
    for one, count in _groups(departures):
        if one.kind != kind:
            kind = one.kind
            lines += [f"{kind}: {kinds[kind]}"]
        subject = " ".join(filter(None, (one.signal, one.item, one.attribute)))
        lines += [
            f"  {count} x {subject}",
            f"      expected {one.expected}",
            f"      found    {one.found}",
            f"      first at {one.source or 'request'}[{one.request}] {one.path}".rstrip(),
        ]
    return "\n".join([*lines, verdict(checker, departures)])


def as_json(checker: Checker) -> str:
    """A JSON object: ``clean``, ``requests``, ``checked``, ``foreign``, ``departures`` (every one) and ``verdict``."""
    departures = checker.departures()
    document = {
        "clean": not departures,
        "requests": checker.requests,
        "checked": checker.checked,
        "foreign": checker.foreign,
        "departures": [asdict(one) for one in departures],
        "verdict": verdict(checker, departures),
    }
    return json.dumps(document, indent=2)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
