"""What the checks of points, records and spans have in common."""

from __future__ import annotations

from typing import Any

from claude_monitoring.conformance.attributes import check_attributes
from claude_monitoring.conformance.found import Found, Shown
from claude_monitoring.conformance.items import Item, Values, values_of
from claude_monitoring.conformance.model import Attributes
from claude_monitoring.conformance.rules import TOGETHER

__all__ = ["check_dropped", "check_values"]


def check_values(
    item: Item, pairs: Any, name: str, rules: Attributes, found: Found, *, path: str = "", closed: bool = True
) -> Values:
    """The attributes, after every fault of theirs was kept.

    Keys of the resource may be repeated on an item: ``OTEL_RESOURCE_ATTRIBUTES`` puts them in both (section 3).
    """
    values, twice = values_of(pairs)
    for key in twice:
        found.add(item, "repeated attribute", name, "each key once", Shown("twice"), attribute=key, path=path)
    checked = values if closed else {key: value for key, value in values.items() if key in rules}
    for fault in check_attributes(checked, rules, item.resource_values):
        found.add(item, fault.kind, name, fault.expected, Shown(fault.found), attribute=fault.attribute, path=path)
    for group in TOGETHER:
        here = [key for key in group if key in values and key in rules]
        for key in group:
            if here and key in rules and key not in values:
                expected = f"it, beside {here[0]}"
                found.add(item, "missing attribute", name, expected, Shown("nothing"), attribute=key, path=path)
    return values


def check_dropped(item: Item, raw: Any, name: str, found: Found, path: str = "") -> None:
    """Claude Code drops nothing."""
    for field in ("dropped_attributes_count", "dropped_events_count", "dropped_links_count"):
        count = getattr(raw, field, 0)
        if count:
            found.add(item, "dropped content", name, f"{field} 0", count, path=path)
