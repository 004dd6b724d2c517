"""A set of attributes held against its rules."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from claude_monitoring.conformance.items import Value, Values, describe
from claude_monitoring.conformance.model import Attribute, Attributes
from claude_monitoring.conformance.nearest import nearest

__all__ = ["Fault", "check_attributes"]

_WORDS = {
    "S": "text (stringValue)",
    "S#": "a number sent as text (stringValue)",
    "I": "a whole number (intValue)",
    "D": "a number (doubleValue)",
    "B": "a boolean (boolValue)",
    "A": "an array of text (arrayValue)",
    "map": "a map (kvlistValue)",
    "bytes": "bytes (bytesValue)",
    "none": "an empty value",
}
_WIRE = {"S#": ("S",), "D": ("D", "I")}  # JavaScript's exporters write a double that is whole as an int


class Fault(NamedTuple):
    """What is wrong with one attribute."""

    kind: str
    attribute: str
    expected: str
    found: str


def check_attributes(found: Values, rules: Attributes, others: Collection[str] = ()) -> Iterator[Fault]:
    """Every fault of the attributes ``found``; keys in ``others`` are allowed beside those that have a rule."""
    for key, value in found.items():
        rule = rules.get(key)
        if rule is not None and _applies(rule, found):
            yield from _check_value(rule, value)
        elif key in others:
            if value.type != "S":
                yield Fault("attribute type", key, _WORDS["S"], f"{_WORDS[value.type]} {describe(value)}")
        elif rule is not None and rule.when is not None:
            yield Fault("extra attribute", key, f"none unless {_condition(rule)}", describe(value))
        else:
            missing = [name for name in rules if name not in found]
            yield Fault("extra attribute", key, f"none of that name{nearest(key, missing)}", describe(value))
    for key, rule in rules.items():
        if key not in found and rule.presence == "always" and _applies(rule, found):
            when = f" (since {_condition(rule)})" if rule.when is not None else ""
            yield Fault("missing attribute", key, _WORDS[rule.type] + when, "nothing")


def _applies(rule: Attribute, found: Values) -> bool:
    if rule.when is None:
        return True
    other = found.get(rule.when[0])
    return other is not None and other.text in rule.when[1]


def _condition(rule: Attribute) -> str:
    key, values = rule.when or ("", frozenset())
    return f"{key} is {' or '.join(sorted(values))}"


def _check_value(rule: Attribute, value: Value) -> Iterator[Fault]:
    if value.type not in _WIRE.get(rule.type, (rule.type,)):
        yield Fault("attribute type", rule.key, _WORDS[rule.type], f"{_WORDS[value.type]} {describe(value)}")
    elif rule.type == "A":
        if any(one.type != "S" for one in value.value):
            yield Fault("attribute type", rule.key, _WORDS["A"], "an array of something else")
    elif rule.values and value.text not in rule.values:
        hint = nearest(value.text, rule.values)
        expected = f"one of {', '.join(sorted(rule.values))}" if len(rule.values) > 1 else str(*rule.values)
        yield Fault("attribute value", rule.key, expected + hint, describe(value))
    elif rule.pattern and not re.fullmatch(rule.pattern, value.text):
        yield Fault("attribute value", rule.key, rule.form, describe(value))
    elif rule.spellings and value.text not in rule.spellings:
        for name in rule.spellings:
            if name.casefold() == value.text.casefold():
                yield Fault("attribute value", rule.key, name, describe(value))
