"""Where two snapshots of one session differ: Claude Code's and ours."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from tests.contract.claude_code_snapshot import Snapshot

__all__ = ["EXCEPTIONS", "OLDER", "Difference", "differences", "exceptions_for", "is_older", "listed", "unexplained"]

EXCEPTIONS: dict[str, str] = {
    "extra * agent.name": "an agent is what the label is for; Claude Code has it on requests of subagents alone",
    "extra resource service.instance.id": "tells processes apart, whose sums are cumulative by default",
    "missing * agent_id": "a subagent has an id in the program, and a name alone here",
    "missing event * message.uuid": "the id of a line in the program's own transcript",
    "missing event managed_settings_resolved": "about the program itself",
    "missing event plugin_loaded": "about the program itself",
    "missing event tool_result vcs.ref.head.*": "the program looks at the repository after a commit",
    "missing span tool bash_*": "how the program classes commands is not known",
    "value * app.entrypoint": "how this library was entered, not how the program was",
    "value event tool_result tool_result_size_bytes": "the size of the program's own words about its tools",
    "value span llm_request gen_ai.conversation.id": "the session's in a subagent, too: see agent_id",
}
"""Keys of differences, with ``*`` where it serves, to the reason of each. None may be there without need."""

_SINCE = (2, 1, 332)
OLDER: dict[str, str] = {
    "extra *": "newer versions tell it",
    "type event * (span)": "records have the ids of spans in newer versions alone",
    "value event tool_result tool_parameters": "newer versions add the commit's id and branch",
    "value metric lines_of_code.count description": "newer versions say that there is a model",
    "value span llm_request (parent)": "a subagent's was under the tool",
    "value span tool.blocked_on_user decision": "was always unknown",
    "value span tool.blocked_on_user source": "was always unknown",
}
"""As ``EXCEPTIONS``, for versions before ``_SINCE`` alone: what changed since then, we tell as it is now."""

_COST_USD = 1e-9


@dataclass(frozen=True)
class Difference:
    """``missing`` is what Claude Code has alone, ``extra`` what we have alone, the others are about what both have."""

    kind: Literal["missing", "extra", "type", "value"]
    signal: Literal["resource", "scope", "metric", "event", "span"]
    name: str
    what: str
    theirs: Any
    ours: Any
    at: int = 0

    @property
    def key(self) -> str:
        """``missing event api_request agent_id``: what exceptions are written as, with ``*`` where it serves."""
        return " ".join(part for part in (self.kind, self.signal, self.name, self.what) if part)

    def __str__(self) -> str:
        return f"{self.signal}s, at {self.at}: {self.key}: Claude Code {self.theirs!r}, ours {self.ours!r}"


def differences(theirs: Snapshot, ours: Snapshot) -> list[Difference]:
    """All of them: resource keys, scopes, metrics with their series, events and spans in order."""
    return [
        *_keys("resource", "", theirs["resource"], ours["resource"]),
        *_values("scope", "", _scopes(theirs), _scopes(ours)),
        *_metrics(theirs["metrics"], ours["metrics"]),
        *_listed("event", [*map(_event, theirs["events"])], [*map(_event, ours["events"])]),
        *_listed("span", [*map(_span, theirs["spans"])], [*map(_span, ours["spans"])]),
    ]


def is_older(version: str) -> bool:
    """Whether a version has a dialect of its own."""
    return tuple(map(int, version.split("."))) < _SINCE


def exceptions_for(difference: Difference, version: str) -> set[str]:
    """The exceptions that cover a difference from a version."""
    exceptions = EXCEPTIONS | OLDER if is_older(version) else EXCEPTIONS
    return {pattern for pattern in exceptions if fnmatchcase(difference.key, pattern)}


def unexplained(theirs: Snapshot, ours: Snapshot, version: str) -> list[Difference]:
    """The differences from a version that no exception covers."""
    return [one for one in differences(theirs, ours) if not exceptions_for(one, version)]


def listed(found: list[Difference]) -> str:
    """For the reader of a failure: one a line, by signal."""
    return "\n".join(["", *map(str, found)])


def _scopes(snapshot: Snapshot) -> dict[str, Any]:
    return {signal: [list(one) for one in scopes] for signal, scopes in snapshot["scopes"].items()}


def _event(event: Snapshot) -> tuple[str, dict[str, Any]]:
    return event["body"].removeprefix("claude_code."), {
        "(body)": event["body"],
        "(span)": event["span"],
        **event["attributes"],
    }


def _span(span: Snapshot) -> tuple[str, dict[str, Any]]:
    about = {f"({key})": span[key] for key in ("parent", "kind", "status", "status_message", "events")}
    return span["name"].removeprefix("claude_code."), about | span["attributes"]


def _metrics(theirs: list[Snapshot], ours: list[Snapshot]) -> Iterator[Difference]:
    mine = {metric["name"]: metric for metric in ours}
    for metric in theirs:
        name = metric["name"].removeprefix("claude_code.")
        if (twin := mine.pop(metric["name"], None)) is None:
            yield Difference("missing", "metric", name, "", metric["name"], None)
            continue
        about, own = ({key: value for key, value in one.items() if key != "series"} for one in (metric, twin))
        yield from _values("metric", name, about, own)
        yield from _series(name, metric["series"], list(twin["series"]))
    for name, metric in mine.items():
        yield Difference("extra", "metric", name.removeprefix("claude_code."), "", None, metric["name"])


def _series(name: str, theirs: list[Snapshot], ours: list[Snapshot]) -> Iterator[Difference]:
    """Each series is held against the one of ours that has most of its attributes."""
    for at, one in enumerate(theirs):
        wanted = one["attributes"].items()
        twin = max(ours, key=lambda own: sum(pair in wanted for pair in own["attributes"].items()), default=None)
        if twin is None:
            yield Difference("missing", "metric", name, "(series)", one, None, at)
            continue
        ours.remove(twin)
        about, own = ({"(value)": series["value"], **series["attributes"]} for series in (one, twin))
        yield from _values("metric", name, about, own, at)
    for twin in ours:
        yield Difference("extra", "metric", name, "(series)", None, twin)


def _listed(
    signal: Literal["event", "span"], theirs: list[tuple[str, dict[str, Any]]], ours: list[tuple[str, dict[str, Any]]]
) -> Iterator[Difference]:
    names, own_names = ([name for name, _ in items] for items in (theirs, ours))
    for _, begin, end, own_begin, own_end in difflib.SequenceMatcher(
        None, names, own_names, autojunk=False
    ).get_opcodes():
        if names[begin:end] == own_names[own_begin:own_end]:
            for at in range(end - begin):
                name, about = theirs[begin + at]
                yield from _values(signal, name, about, ours[own_begin + at][1], begin + at)
            continue
        for at in range(begin, end):
            yield Difference("missing", signal, names[at], "", names[at], None, at)
        for at in range(own_begin, own_end):
            yield Difference("extra", signal, own_names[at], "", None, own_names[at], at)


def _keys(signal: Any, name: str, theirs: dict[str, Any], ours: dict[str, Any], at: int = 0) -> Iterator[Difference]:
    for key in sorted(theirs.keys() - ours.keys()):
        yield Difference("missing", signal, name, key, theirs[key], None, at)
    for key in sorted(ours.keys() - theirs.keys()):
        yield Difference("extra", signal, name, key, None, ours[key], at)


def _values(signal: Any, name: str, theirs: dict[str, Any], ours: dict[str, Any], at: int = 0) -> Iterator[Difference]:
    yield from _keys(signal, name, theirs, ours, at)
    for key in sorted(theirs.keys() & ours.keys()):
        one, own = theirs[key], ours[key]
        if type(one) is not type(own):
            yield Difference("type", signal, name, key, one, own, at)
        elif one != own and not (isinstance(one, float) and abs(one - own) <= _COST_USD):
            yield Difference("value", signal, name, key, one, own, at)
