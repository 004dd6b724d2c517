"""What a receiver got of one session, in the form of ``tests/data/claude-code-<version>.<variant>.json``.

The form is plain and the same for two runs of one session. Names stand in angle brackets for ids, times, the program's
own version and the machine; all ``*_ms`` are 0. Where the program itself has a race, one order is written: spans stand
as a tree, a ``tool_decision`` behind the answer that asked for the tool (the program decides while the answer still
streams), and ``vcs.repository.*`` is left out where the look-up may not have ended yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from claude_monitoring.receiver import Log, OtlpReceiver, Point, Span

__all__ = ["DATA", "SWITCHES", "VARIANTS", "Snapshot", "as_text", "snapshot_path", "snapshots", "told"]

Snapshot: TypeAlias = dict[str, Any]

DATA = Path(__file__).parents[1] / "data"
SWITCHES = (
    "OTEL_LOG_USER_PROMPTS", "OTEL_LOG_TOOL_DETAILS", "OTEL_METRICS_INCLUDE_VERSION", "OTEL_METRICS_INCLUDE_ENTRYPOINT",
    "OTEL_METRICS_INCLUDE_REPOSITORY",
)  # fmt: skip
VARIANTS: dict[str, dict[str, str]] = {"defaults": {}, "all-on": dict.fromkeys(SWITCHES, "1")}
"""Name to the variables that are set; those of Claude Code that are on by default stay on."""

_IDS = ("user.id", "session.id", "prompt.id", "message.uuid", "agent_id")
_MACHINE = ("host.arch", "os.type", "os.version")
_LATE = "claude_code.retention_sweep"  # comes a few seconds into a session, so on slow machines alone


def snapshot_path(version: str, variant: str) -> Path:
    """Where the snapshot of a version stands, whether there is one or not."""
    return DATA / f"claude-code-{version}.{variant}.json"


def snapshots() -> Iterator[tuple[str, str, Path]]:
    """Version, variant and path of each snapshot there is."""
    for path in sorted(DATA.glob("claude-code-*.json")):
        version, _, variant = path.name.removeprefix("claude-code-").removesuffix(".json").rpartition(".")
        yield version, variant, path


def as_text(snapshot: Snapshot) -> str:
    """As it is written to its file."""
    return json.dumps(snapshot, indent=1, ensure_ascii=False) + "\n"


def told(receiver: OtlpReceiver) -> Snapshot:
    """Claude Code's metrics, events and spans that came, without ours."""
    points = [point for point in receiver.metrics if point.metric.startswith("claude_code.")]
    logs = _in_order([log for log in receiver.logs if str(log.body).startswith("claude_code.")])
    spans = [span for span in receiver.spans if span.name.startswith("claude_code.")]
    anything: list[Point | Log | Span] = [*logs, *spans, *points]
    resource = anything[0].resource
    assert all(one.resource == resource for one in anything)
    version = {resource["service.version"]: "<VERSION>"}
    machine = {resource[key]: _word(key) for key in _MACHINE if key in resource}
    words = {**_ids(anything), **version}

    def plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
        return {key: _steady(key, value, words) for key, value in sorted(attributes.items())}

    return {
        "resource": {key: (machine | version).get(value, value) for key, value in sorted(resource.items())},
        "scopes": {
            signal: sorted({(one.scope_name, version.get(one.scope_version, one.scope_version)) for one in items})
            for signal, items in (("metrics", points), ("events", logs), ("spans", spans))
        },
        "metrics": [
            {**_metric(metric, points), "series": _series(metric, receiver, plain)}
            for metric in dict.fromkeys(point.metric for point in points)
        ],
        "events": [
            {"body": log.body, "span": _name(spans, log.span_id), "attributes": plain(log.attributes)} for log in logs
        ],
        "spans": [
            {
                "name": span.name,
                "parent": _name(spans, span.parent_span_id),
                "kind": span.kind,
                "status": span.status,
                "status_message": span.status_message,
                "attributes": plain(span.attributes),
                "events": [{"name": event.name, "attributes": plain(event.attributes)} for event in span.events],
            }
            for span in _as_tree(spans)
        ],
    }


def _word(key: str, number: int = 1) -> str:
    return f"<{key.upper().replace('.', '_')}{f'_{number}' if number > 1 else ''}>"


def _ids(items: list[Point | Log | Span]) -> dict[str, str]:
    """What stands for each id: the first prompt's is ``<PROMPT_ID>``, the second one's ``<PROMPT_ID_2>``."""
    found: dict[str, str] = {}
    for key in _IDS:
        values = dict.fromkeys(one.attributes[key] for one in items if key in one.attributes)
        found |= {value: _word(key, number) for number, value in enumerate(values, 1)}
    return found


def _steady(key: str, value: Any, words: dict[str, str]) -> Any:
    """The value, or what stands for one that is different in each run."""
    if key.endswith("_ms") or key == "event.sequence":  # the list's order tells the sequence
        return type(value)(0)
    if key == "event.timestamp":
        return "<TIME>"
    if isinstance(value, float):
        return round(value, 12)
    return words.get(value, value) if isinstance(value, str) else value


def _metric(metric: str, points: list[Point]) -> Snapshot:
    """What all points of a metric have in common."""
    found = [
        {
            "name": point.metric,
            "unit": point.unit,
            "description": point.description,
            "kind": point.kind,
            "temporality": point.temporality,
            "monotonic": point.monotonic,
            "value_type": type(point.value).__name__,
        }
        for point in points
        if point.metric == metric
    ]
    assert all(one == found[0] for one in found)
    return found[0]


def _series(metric: str, receiver: OtlpReceiver, plain: Any) -> list[Snapshot]:
    """Each series with its total; of times only that there are some."""
    is_time = metric == "claude_code.active_time.total"
    totals = receiver.series(metric).items()
    found = [
        {"attributes": plain(dict(key)), "value": "<SECONDS>" if is_time and value > 0 else round(value, 12)}
        for key, value in totals
    ]
    return sorted(found, key=lambda one: json.dumps(one["attributes"]))


def _in_order(logs: list[Log]) -> list[Log]:
    ordered = sorted(logs, key=lambda log: int(log.attributes["event.sequence"]))
    ordered = [log for log in ordered if log.body != _LATE]
    told_at: dict[Any, float] = {}
    for index, log in enumerate(ordered):
        if log.body in {"claude_code.api_request", "claude_code.assistant_response"}:
            told_at[log.attributes["request_id"]] = index

    def place(indexed: tuple[int, Log]) -> float:
        index, log = indexed
        is_decision = log.body == "claude_code.tool_decision"
        return max(index, told_at.get(log.attributes.get("request_id"), -1) + 0.5) if is_decision else index

    first = next((index for index, log in enumerate(ordered) if log.body == "claude_code.user_prompt"), 0)
    ordered[:first] = [_without_repository(log) for log in ordered[:first]]
    return [_without_size(log) for _, log in sorted(enumerate(ordered), key=place)]


def _without_repository(item: Any) -> Any:
    kept = {key: value for key, value in item.attributes.items() if not key.startswith("vcs.")}
    return replace(item, attributes=kept)


def _without_size(log: Log) -> Log:
    """What a subagent gives back has its id and its duration in it."""
    if log.attributes.get("tool_name") != "Agent" or "tool_result_size_bytes" not in log.attributes:
        return log
    return replace(log, attributes={**log.attributes, "tool_result_size_bytes": "0"})


def _as_tree(spans: list[Span], parent: str = "") -> Iterator[Span]:
    """Each span before its children, and those in the order of their begins."""
    known = {span.span_id for span in spans}
    below = [
        span for span in spans if span.parent_span_id == parent or (not parent and span.parent_span_id not in known)
    ]
    for span in sorted(below, key=lambda one: (one.start_unix_nano, one.end_unix_nano)):
        yield span if span.name != "claude_code.interaction" else _without_repository(span)
        yield from _as_tree(spans, span.span_id)


def _name(spans: list[Span], span_id: str) -> str | None:
    return next((span.name for span in spans if span.span_id == span_id), None)
