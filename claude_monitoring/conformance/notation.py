"""The few words in which the rules are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from claude_monitoring.conformance.model import Attribute, Attributes, WireType

__all__ = [
    "CALL_ID",
    "COMMAND_TABLE",
    "DETAILED_TRACING",
    "FIRST_TOKEN",
    "MESSAGE_ID",
    "NEWER",
    "PERMISSION_MODE",
    "REQUEST_ID",
    "UUID",
    "B",
    "D",
    "I",
    "N",
    "S",
    "array",
    "details",
    "only",
    "optional",
    "program",
    "spelled",
    "table",
]

UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

# Why an attribute that Claude Code always sends is not demanded of others.
REQUEST_ID = "the API's answer has it, and a client that is told of tokens alone never saw that answer"
CALL_ID = "the API gives it out; a tool that an agent calls by itself has none"
MESSAGE_ID = "the id of a message in the program's own transcript"
FIRST_TOKEN = "only a client that streams sees a first token"  # noqa: S105 - no password
PERMISSION_MODE = "the program's own permission modes"
COMMAND_TABLE = "read from the command by the program's own parser and table, which are not published"

# Why an attribute may be missing.
NEWER = "from 2.1.332 on (a session with the program in claude-agent-sdk 0.2.189)"
DETAILED_TRACING = "detailed beta tracing, which has no stable schema"

Group = tuple[Attribute, ...]


def _make(kind: WireType, keys: tuple[str, ...], values: str = "", pattern: str = "", form: str = "") -> Group:
    return tuple(Attribute(key, kind, values=frozenset(values.split()), pattern=pattern, form=form) for key in keys)


def S(*keys: str, values: str = "", pattern: str = "", form: str = "") -> Group:  # noqa: N802 - as in the reference
    """Text; ``values`` lists all that there are, divided by blanks."""
    return _make("S", keys, values, pattern, form)


def I(*keys: str) -> Group:  # noqa: E743, N802
    """Whole numbers."""
    return _make("I", keys)


def D(*keys: str) -> Group:  # noqa: N802
    """Doubles; JavaScript's exporters send one that is whole as an int."""
    return _make("D", keys)


def B(*keys: str) -> Group:  # noqa: N802
    """Booleans."""
    return _make("B", keys)


def N(*keys: str) -> Group:  # noqa: N802
    """Whole numbers that are sent as text: ``S#`` in the reference."""
    return _make("S#", keys, pattern=r"\d+", form="digits")


def array(*keys: str) -> Group:
    """Arrays of text: ``A`` in the reference."""
    return _make("A", keys)


def optional(why: str, group: Iterable[Attribute]) -> Group:
    """May be missing; ``why`` says on what that depends."""
    return tuple(replace(one, presence="optional", why=why) for one in group)


def program(why: str, group: Iterable[Attribute]) -> Group:
    """Always sent by Claude Code, not demanded of others; ``why`` has the reason."""
    return tuple(replace(one, presence="program", why=why) for one in group)


def details(group: Iterable[Attribute]) -> Group:
    """With ``OTEL_LOG_TOOL_DETAILS=1`` alone."""
    return tuple(replace(one, presence="details", why="OTEL_LOG_TOOL_DETAILS=1") for one in group)


def only(key: str, values: str, *groups: Iterable[Attribute]) -> Group:
    """There if the attribute ``key`` has one of ``values``, and else not."""
    return tuple(replace(one, when=(key, frozenset(values.split()))) for group in groups for one in group)


def spelled(names: Iterable[str], group: Iterable[Attribute]) -> Group:
    """Text that is spelled as in ``names``; others are allowed."""
    return tuple(replace(one, spellings=frozenset(names)) for one in group)


def table(*groups: Iterable[Attribute]) -> Attributes:
    """The rules by key."""
    return {one.key: one for group in groups for one in group}
