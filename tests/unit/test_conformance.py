"""The rules of Claude Code's telemetry against what the real program sent, and against planted departures."""

from __future__ import annotations

import copy
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_monitoring import AgentMonitor, conformance
from claude_monitoring.cli import main
from claude_monitoring.conformance import Checker, Departure, UnusableInputError, as_json, as_text, check, read
from claude_monitoring.conformance.attributes import check_attributes
from claude_monitoring.conformance.items import Value
from claude_monitoring.conformance.model import Attribute
from claude_monitoring.conformance.reading import decode_body
from claude_monitoring.conformance.rules import METRICS, RESOURCE, SPAN_COMMON, SPANS, STANDARD
from claude_monitoring.conformance.rules_events import EVENT_COMMON, EVENTS
from claude_monitoring.receiver import OtlpReceiver

pytestmark = pytest.mark.any_python

FOLDER = Path(__file__).parents[1] / "data" / "captures"
NAMES = sorted(path.stem.replace("-2.1.330", "") for path in FOLDER.glob("*.json"))
USER_ID = "37e95c7e556b1fbad60add89dbae972e23d879193b8ea6a57afea59347daa291"
TREE = {
    "resourceMetrics": ("scopeMetrics", "metrics"),
    "resourceLogs": ("scopeLogs", "logRecords"),
    "resourceSpans": ("scopeSpans", "spans"),
}
Node = dict[str, Any]


@cache
def capture_text(name: str) -> str:
    """A capture as it would be without its placeholder for 64 hex digits, which no rule accepts."""
    scenario, signal = name.split(".")
    return (FOLDER / f"{scenario}-2.1.330.{signal}.json").read_text(encoding="utf-8").replace("<USER_ID>", USER_ID)


def bodies(name: str) -> list[Node]:
    found: list[Node] = json.loads(capture_text(name))["exports"]
    return found


def parts_of(exports: list[Node]) -> Iterator[tuple[Node, Node, Node]]:
    """Resource, scope and item of everything in the requests."""
    for body in exports:
        for key, (scopes, leaves) in TREE.items():
            for resource in body.get(key, []):
                for scope in resource[scopes]:
                    for item in scope[leaves]:
                        yield resource, scope, item


def name_of(item: Node) -> str:
    return str(item.get("name") or item["body"]["stringValue"])


def holders(item: Node) -> list[Node]:
    """What has attributes: the item, or its points."""
    return item["sum"]["dataPoints"] if "sum" in item else [item]


def the_item(exports: list[Node], name: str, index: int = 0) -> Node:
    return [item for _, _, item in parts_of(exports) if name_of(item) == f"claude_code.{name}"][index]


def value_of(holder: Node, key: str) -> Node:
    return next(pair["value"] for pair in holder["attributes"] if pair["key"] == key)


def drop(holder: Node, key: str) -> None:
    holder["attributes"] = [pair for pair in holder["attributes"] if pair["key"] != key]


def put(holder: Node, key: str, value: Node) -> None:
    drop(holder, key)
    holder["attributes"].append({"key": key, "value": value})


def add(holder: Node, key: str, value: Node) -> None:
    holder["attributes"].append({"key": key, "value": value})


def text(value: str) -> Node:
    return {"stringValue": value}


# -- the real program departs from nothing --------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_real_program_departs_from_nothing(name: str) -> None:
    assert check(bodies(name)) == []


def test_all_captures_together_depart_from_nothing() -> None:
    assert check([body for name in NAMES for body in bodies(name)]) == []


def test_the_captures_have_every_metric_event_and_span_that_the_rules_describe() -> None:
    seen = {name_of(item).removeprefix("claude_code.") for n in NAMES for _, _, item in parts_of(bodies(n))}
    named = {*EVENTS, *(name.removeprefix("claude_code.") for name in (*METRICS, *SPANS))}
    only_named = {name for name, rule in EVENTS.items() if not rule.closed}
    only_named |= {name.removeprefix("claude_code.") for name, rule in SPANS.items() if not rule.closed}
    assert named - seen == (only_named - {"system_prompt", "tool", "compaction"}) | {"subagent_completed"}
    assert seen <= named


def test_every_attribute_of_the_program_that_is_not_demanded_has_its_reason() -> None:
    tables = [STANDARD, RESOURCE, EVENT_COMMON, SPAN_COMMON]
    tables += [rule.attributes for rules in (METRICS, EVENTS, SPANS) for rule in rules.values()]  # type: ignore[attr-defined]
    rules = [rule for one in tables for rule in one.values()]
    assert [rule.key for rule in rules if rule.presence in {"program", "optional"} and not rule.why] == []
    assert {rule.key for rule in rules if rule.presence == "program"} == {
        "request_id", "gen_ai.response.id", "tool_use_id", "gen_ai.tool.call.id", "message.uuid", "message.id",
        "ttft_ms", "first_content_ms", "permission_mode", "bash_command_class", "bash_argv0", "precompute_reuse",
    }  # fmt: skip


# -- planted departures ---------------------------------------------------------------------------


def rename_scope(new: str) -> Callable[[list[Node]], None]:
    def change(exports: list[Node]) -> None:
        for _, scope, _ in parts_of(exports):
            scope["scope"]["name"] = new

    return change


def on(name: str, change: Callable[[Node], object], index: int = 0) -> Callable[[list[Node]], None]:
    return lambda exports: change(the_item(exports, name, index)) and None


def on_point(name: str, change: Callable[[Node], object]) -> Callable[[list[Node]], None]:
    return lambda exports: change(holders(the_item(exports, name))[0]) and None


def on_first(place: int, change: Callable[[Node], object]) -> Callable[[list[Node]], None]:
    """On the resource group (0) or the scope group (1) of the first item."""
    return lambda exports: change(next(parts_of(exports))[place]) and None


def as_int(point: Node) -> None:
    point["asInt"] = str(int(point.pop("asDouble")))


def as_gauge(metric: Node) -> None:
    metric["gauge"] = {"dataPoints": metric.pop("sum")["dataPoints"]}


def remove_record(event: str) -> Callable[[list[Node]], None]:
    def change(exports: list[Node]) -> None:
        for _, scope, item in list(parts_of(exports)):
            if name_of(item) == f"claude_code.{event}":
                scope["logRecords"].remove(item)
                return

    return change


def repeat_record(exports: list[Node]) -> None:
    _, scope, item = next(parts_of(exports))
    scope["logRecords"].append(item)


def adopt(child: str, parent: str) -> Callable[[list[Node]], None]:
    def change(exports: list[Node]) -> None:
        the_item(exports, child)["parentSpanId"] = the_item(exports, parent)["spanId"]

    return change


def remove_point(metric: Node) -> None:
    points = metric["sum"]["dataPoints"]
    metric["sum"]["dataPoints"] = [p for p in points if value_of(p, "type") != text("cacheRead")]


M, L, T = "baseline.metrics", "baseline.logs", "baseline.traces"
FAILED = "b_final_failure_529.traces"
PLANTED: list[tuple[str, Callable[[list[Node]], None], str, str]] = [
    # metrics
    (M, on("commit.count", lambda m: m.update(name="claude_code.commits.count")), "unknown name", ""),
    (M, on("commit.count", lambda m: m.update(name="claude_code_commit_count")), "unknown name", ""),
    (M, on("cost.usage", lambda m: m.update(unit="usd")), "unit", ""),
    (M, on("commit.count", lambda m: m.update(unit="1")), "unit", ""),
    (M, on("commit.count", lambda m: m.update(description="Commits")), "description", ""),
    (M, on("commit.count", as_gauge), "metric kind", ""),
    (M, on("commit.count", lambda m: m["sum"].update(isMonotonic=False)), "monotonicity", ""),
    (M, on("commit.count", lambda m: m["sum"].update(aggregationTemporality=0)), "temporality", ""),
    (M, on_point("commit.count", as_int), "value type", ""),
    (M, on_point("commit.count", lambda p: p.pop("asDouble")), "value type", ""),
    (M, on_point("commit.count", lambda p: p.update(asDouble=-1)), "value", ""),
    (M, on_point("commit.count", lambda p: p.update(asDouble="NaN")), "value", ""),
    (M, on_point("commit.count", lambda p: p.pop("startTimeUnixNano")), "time", ""),
    (M, on_point("commit.count", lambda p: p.update(flags=1)), "point flags", ""),
    (M, on_point("commit.count", lambda p: p.update(exemplars=[{"asDouble": 1}])), "exemplar", ""),
    (M, on_point("cost.usage", lambda p: drop(p, "model")), "missing attribute", "model"),
    (M, on_point("cost.usage", lambda p: add(p, "agent_name", text("x"))), "extra attribute", "agent_name"),
    (M, on_point("cost.usage", lambda p: add(p, "model", text("x"))), "repeated attribute", "model"),
    (M, on_point("cost.usage", lambda p: put(p, "query_source", text("sdk"))), "attribute value", "query_source"),
    (M, on_point("session.count", lambda p: put(p, "start_type", text("new"))), "attribute value", "start_type"),
    (M, on_point("lines_of_code.count", lambda p: put(p, "type", text("deleted"))), "attribute value", "type"),
    (M, on_point("code_edit_tool.decision", lambda p: put(p, "source", text("user"))), "attribute value", "source"),
    (M, on_point("code_edit_tool.decision", lambda p: put(p, "language", text("python"))), "attribute value",
     "language"),
    (M, on_point("commit.count", lambda p: drop(p, "user.id")), "missing attribute", "user.id"),
    (M, on_point("commit.count", lambda p: put(p, "user.id", text("me"))), "attribute value", "user.id"),
    (M, on_point("commit.count", lambda p: put(p, "session.id", text("1"))), "attribute value", "session.id"),
    (M, on_point("commit.count", lambda p: drop(p, "session.id")), "missing attribute", "session.id"),
    (M, on_point("commit.count", lambda p: put(p, "anthropic.custom_base_url", text("true"))), "attribute type",
     "anthropic.custom_base_url"),
    (M, on("token.usage", remove_point), "missing point", "type"),
    (M, rename_scope("com.anthropic.claude-code"), "scope name", ""),
    (M, rename_scope("claude_monitoring"), "scope name", ""),
    (M, rename_scope("com.anthropic.claude_code.events"), "scope name", ""),
    (M, on_first(1, lambda s: s["scope"].update(version="")), "scope version", ""),
    (M, on_first(1, lambda s: s["scope"].update(attributes=[{"key": "a", "value": text("b")}])), "extra attribute", ""),
    (M, on_first(1, lambda s: s.update(schemaUrl="https://opentelemetry.io/schemas/1.27.0")), "schema URL", ""),
    (M, on_first(0, lambda r: drop(r["resource"], "os.type")), "missing attribute", "os.type"),
    (M, on_first(0, lambda r: put(r["resource"], "os.type", {"intValue": 1})), "attribute type", "os.type"),
    (M, on_first(0, lambda r: put(r["resource"], "telemetry.sdk.name", text("x"))), "extra attribute",
     "telemetry.sdk.name"),
    # events
    (L, on("tool_result", lambda e: e.update(body=text("claude_code.tool_results"))), "unknown name", ""),
    (L, on("tool_result", lambda e: put(e, "event.name", text("tool_decision"))), "body", ""),
    (L, on("tool_result", lambda e: put(e, "event.name", text("claude_code.tool_result"))), "body", ""),
    (L, on("tool_result", lambda e: put(e, "success", {"boolValue": True})), "attribute type", "success"),
    (L, on("tool_result", lambda e: put(e, "duration_ms", {"intValue": 12})), "attribute type", "duration_ms"),
    (L, on("tool_result", lambda e: put(e, "duration_ms", text("12.5"))), "attribute value", "duration_ms"),
    (L, on("tool_result", lambda e: drop(e, "tool_result_size_bytes")), "missing attribute", "tool_result_size_bytes"),
    (L, on("tool_result", lambda e: add(e, "error_type", text("E"))), "extra attribute", "error_type"),
    (L, on("tool_result", lambda e: put(e, "tool_parameters", text("git"))), "attribute value", "tool_parameters"),
    (L, on("tool_decision", lambda e: put(e, "decision", text("approve"))), "attribute value", "decision"),
    (L, on("tool_decision", lambda e: put(e, "decision", text("ACCEPT"))), "attribute value", "decision"),
    (L, on("api_request", lambda e: put(e, "input_tokens", text("1200"))), "attribute type", "input_tokens"),
    (L, on("api_request", lambda e: put(e, "input_tokens", {"doubleValue": 1200})), "attribute type", "input_tokens"),
    (L, on("api_request", lambda e: put(e, "cost_usd", text("0.1"))), "attribute type", "cost_usd"),
    (L, on("api_request", lambda e: put(e, "query_source", text("main"))), "attribute value", "query_source"),
    (L, on("api_request", lambda e: drop(e, "speed")), "missing attribute", "speed"),
    (L, on("user_prompt", lambda e: drop(e, "prompt_text")), "missing attribute", "prompt_text"),
    (L, on("user_prompt", lambda e: put(e, "prompt.id", text("1"))), "attribute value", "prompt.id"),
    (L, on("user_prompt", lambda e: put(e, "event.timestamp", text("2026-11-22T00:00:00Z"))), "attribute value",
     "event.timestamp"),
    (L, on("user_prompt", lambda e: put(e, "event.timestamp", text("2026-11-21T00:00:00.000Z"))), "time",
     "event.timestamp"),
    (L, on("user_prompt", lambda e: e.update(observedTimeUnixNano="1")), "time", ""),
    (L, on("user_prompt", lambda e: drop(e, "prompt.id")), "missing attribute", "prompt.id"),
    (L, on("tool_result", lambda e: drop(e, "prompt.id")), "missing attribute", "prompt.id"),
    ("x_compact.logs", on("user_prompt", lambda e: drop(e, "command_source")), "missing attribute",
     "command_source"),
    ("d_attrs_session_off_version_on.logs", on("tool_result", lambda e: drop(e, "team.id")), "missing attribute",
     "team.id"),
    ("x_detailed_beta_tracing.logs", on("system_prompt", lambda e: put(e, "system_prompt_length", {"intValue": 1})),
     "attribute type", "system_prompt_length"),
    (L, on("user_prompt", lambda e: e.update(severityNumber=9)), "severity", ""),
    (L, on("user_prompt", lambda e: e.update(severityText="INFO")), "severity", ""),
    (L, on("user_prompt", lambda e: e.update(flags=0)), "record flags", ""),
    (L, on("user_prompt", lambda e: e.pop("spanId")), "trace ids", ""),
    (L, on("user_prompt", lambda e: e.update(droppedAttributesCount=1)), "dropped content", ""),
    (L, on("user_prompt", lambda e: e.update(body={"intValue": 1})), "body", ""),
    (L, remove_record("api_request"), "sequence", "event.sequence"),
    (L, repeat_record, "sequence", "event.sequence"),
    (L, on("managed_settings_resolved", lambda e: put(e, "managed_settings.sources", text(""))), "attribute type",
     "managed_settings.sources"),
    # spans
    (T, on("llm_request", lambda s: s.update(name="claude_code.llm.request")), "unknown name", ""),
    (T, on("tool", lambda s: put(s, "span.type", text("tool.execution"))), "attribute value", "span.type"),
    (T, on("tool", lambda s: s.update(kind=3)), "span kind", ""),
    (T, on("tool", lambda s: s.update(flags=256)), "span flags", ""),
    (T, on("tool", lambda s: s.update(status={"code": 1})), "status", ""),
    (T, on("tool", lambda s: s.update(status={"code": 0, "message": "fine"})), "status message", ""),
    (T, on("tool", lambda s: s.pop("parentSpanId")), "parent", ""),
    (T, on("tool", lambda s: s.update(parentSpanId="00000000000000aa")), "parent", ""),
    (T, adopt("tool.execution", "interaction"), "parent", ""),
    (T, adopt("tool", "llm_request"), "parent", ""),
    (T, on("tool", lambda s: s.update(endTimeUnixNano="1")), "time", ""),
    (T, on("tool", lambda s: s["events"].append({"name": "exception", "timeUnixNano": "1"})), "span event", ""),
    (T, on("llm_request", lambda s: s["events"].clear()), "span event", ""),
    (T, on("llm_request", lambda s: put(s, "attempt", {"intValue": 2})), "span event", ""),
    (T, on("llm_request", lambda s: put(s, "gen_ai.response.finish_reasons", text("end_turn"))), "attribute type",
     "gen_ai.response.finish_reasons"),
    (T, on("llm_request", lambda s: drop(s, "input_tokens")), "missing attribute", "input_tokens"),
    (T, on("llm_request", lambda s: put(s, "success", text("true"))), "attribute type", "success"),
    (T, on("llm_request", lambda s: add(s, "error", text("Overloaded"))), "extra attribute", "error"),
    (T, on_first(1, lambda s: s["scope"].update(version="2.1.330")), "scope version", ""),
    (FAILED, on("llm_request", lambda s: s.update(status={"code": 0})), "status", ""),
    (FAILED, on("llm_request", lambda s: s.update(status={"code": 2})), "status message", ""),
    (FAILED, on("llm_request", lambda s: put(s, "error_class", text("overloaded"))), "attribute value", "error_class"),
    (T, on("llm_request", lambda s: s["links"].append({"traceId": s["traceId"], "spanId": s["spanId"],
     "attributes": [{"key": "link.type", "value": text("child")}]})), "attribute value", "link.type"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "kind", "attribute"),
    PLANTED,
    ids=[f"{number}-{kind}-{attribute}" for number, (_, _, kind, attribute) in enumerate(PLANTED)],
)
def test_a_planted_departure_is_found(
    name: str, change: Callable[[list[Node]], None], kind: str, attribute: str
) -> None:
    exports = bodies(name)
    change(exports)
    found = check(exports)
    assert (kind, attribute) in {(one.kind, one.attribute) for one in found}
    assert all(one.path and one.expected for one in found)


def test_every_kind_of_departure_is_planted() -> None:
    folder = Path(conformance.__file__).parent
    kinds = set()
    for path in folder.glob("*.py"):
        kinds |= set(re.findall(r'(?:Fault\(|found\.add\(\s*item,\s*)"([^"]+)"', path.read_text(encoding="utf-8")))
    assert kinds - {kind for _, _, kind, _ in PLANTED} == {"eventName"}  # which has a test of its own


def test_an_event_name_field_is_a_departure() -> None:
    exports = bodies(L)
    the_item(exports, "user_prompt")["eventName"] = "user_prompt"
    ((_, message),) = decode_body(exports[0], "x")
    if not hasattr(message.resource_logs[0].scope_logs[0].log_records[0], "event_name"):
        pytest.skip("these protocol classes are older than the field")
    assert [one.kind for one in check(exports)] == ["eventName"]


def test_what_a_newer_program_adds_is_allowed() -> None:
    exports = bodies(T)
    span = the_item(exports, "llm_request")
    add(span, "gen_ai.operation.name", text("chat"))
    for key in ("input_tokens", "output_tokens", "cache_read.input_tokens", "cache_write.input_tokens"):
        add(span, f"gen_ai.usage.{key}", {"intValue": 1})
    add(span, "gen_ai.response.model", text("claude-sonnet-4-5"))
    assert check(exports) == []
    drop(span, "gen_ai.usage.output_tokens")
    assert [(one.kind, one.attribute) for one in check(exports)] == [
        ("missing attribute", "gen_ai.usage.output_tokens")
    ]


def test_the_nearest_right_name_is_told() -> None:
    exports = bodies(M)
    the_item(exports, "token.usage")["name"] = "claude_code.tokens.usage"
    point = holders(the_item(exports, "cost.usage"))[0]
    add(point, "agent_name", text("x"))
    expected = {one.item: one.expected for one in check(exports)}
    assert expected["claude_code.tokens.usage"].endswith("the nearest is claude_code.token.usage")
    assert expected["claude_code.cost.usage"].endswith("the nearest is agent.name")


def test_the_place_of_a_departure_leads_to_it() -> None:
    exports = bodies("delta_multi_export.metrics")
    as_int(holders(the_item(exports[1:], "token.usage"))[0])
    (one,) = check(exports)
    place: Any = exports[one.request]
    for key, index in re.findall(r"(\w+)(?:\[(\d+)\])?", one.path):
        place = place[key][int(index)] if index else place[key]
    assert one.request > 0
    assert "asInt" in place


# -- random places --------------------------------------------------------------------------------

RANDOM = [name for name in NAMES if not name.startswith(("x_detailed", "d_attrs_collisions", "d_attrs_malformed"))]


@cache
def rules_for(name: str) -> dict[str, Attribute]:
    short = name.removeprefix("claude_code.")
    if name in METRICS:
        return {**STANDARD, **METRICS[name].attributes}
    return {**STANDARD, **EVENT_COMMON, **EVENTS[short].attributes}


@st.composite
def places(draw: st.DrawFn) -> tuple[list[Node], str, Node, dict[str, Attribute]]:
    """The requests of a capture, the name of an item in it, what holds its attributes, and their rules."""
    name = draw(st.sampled_from(RANDOM))
    exports = bodies(name)
    item = draw(st.sampled_from([item for _, _, item in parts_of(exports)]))
    holder = draw(st.sampled_from(holders(item)))
    wire = name_of(item)
    if "spanId" in item and "body" not in item:
        return exports, wire, holder, {**STANDARD, **SPAN_COMMON, **SPANS[wire].attributes}
    return exports, wire, holder, rules_for(wire)


def keys_of(holder: Node, rules: dict[str, Attribute]) -> list[str]:
    """The keys that have a rule; others are a user's, repeated from the resource."""
    return [pair["key"] for pair in holder["attributes"] if pair["key"] in rules]


def about(found: list[Departure], kind: str, attribute: str) -> list[Departure]:
    return [one for one in found if one.kind == kind and one.attribute == attribute]


@given(st.data(), places())
def test_an_attribute_that_is_demanded_is_missed_wherever_it_is_dropped(
    data: st.DataObject, place: tuple[list[Node], str, Node, dict[str, Attribute]]
) -> None:
    exports, wire, holder, rules = place
    key = data.draw(st.sampled_from([key for key in keys_of(holder, rules) if rules[key].presence == "always"]))
    drop(holder, key)
    assert about(check(exports), "missing attribute", key), (wire, key)


@given(st.data(), places())
def test_an_attribute_of_the_wrong_type_is_found_everywhere(
    data: st.DataObject, place: tuple[list[Node], str, Node, dict[str, Attribute]]
) -> None:
    exports, wire, holder, rules = place
    key = data.draw(st.sampled_from(keys_of(holder, rules)))
    kind = rules[key].type
    others = {
        "S": text("1"), "I": {"intValue": 1}, "D": {"doubleValue": 1.5}, "B": {"boolValue": True},
        "A": {"arrayValue": {"values": []}},
    }  # fmt: skip
    wrong = [letter for letter in others if letter != kind[0] and not (kind == "D" and letter == "I")]
    put(holder, key, others[data.draw(st.sampled_from(wrong))])
    assert about(check(exports), "attribute type", key), (wire, key)


@given(places(), st.from_regex(r"[a-z]{3,8}[._][a-z]{3,8}", fullmatch=True))
def test_an_attribute_that_does_not_belong_there_is_found_everywhere(
    place: tuple[list[Node], str, Node, dict[str, Attribute]], key: str
) -> None:
    exports, _, holder, rules = place
    if key not in rules:
        add(holder, key, text("x"))
        assert about(check(exports), "extra attribute", key)


@given(places(), st.data())
def test_a_misspelt_key_is_found_with_the_right_one(
    place: tuple[list[Node], str, Node, dict[str, Attribute]], data: st.DataObject
) -> None:
    exports, _, holder, rules = place
    right = data.draw(st.sampled_from([key for key in keys_of(holder, rules) if re.search("[._]", key)]))
    wrong = re.sub("[._]", lambda sign: "_" if sign[0] == "." else ".", right)
    add(holder, wrong, value_of(holder, right))
    drop(holder, right)
    (one,) = about(check(exports), "extra attribute", wrong)
    assert f"the nearest is {right}" in one.expected


@given(places())
def test_a_check_changes_nothing_that_it_is_given(place: tuple[list[Node], str, Node, dict[str, Attribute]]) -> None:
    before = copy.deepcopy(place[0])
    assert check(place[0]) == check(before)
    assert place[0] == before


@given(st.dictionaries(st.text(max_size=8), st.sampled_from([Value("S", "1"), Value("I", 1), Value("none", None)])))
def test_no_set_of_attributes_breaks_the_check(found: dict[str, Value]) -> None:
    rules = rules_for("claude_code.tool_result")
    missing = {fault.attribute for fault in check_attributes(found, rules) if fault.kind == "missing attribute"}
    assert missing.isdisjoint(found)


def spots(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a tree of JSON, as a container and the key or index in it."""
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key
        if isinstance(value, dict | list):
            yield from spots(value)


@given(st.sampled_from(RANDOM), st.data())
def test_whatever_is_changed_the_check_finds_or_refuses_and_never_breaks(name: str, data: st.DataObject) -> None:
    exports = bodies(name)
    for _ in range(3):
        node, key = data.draw(st.sampled_from([*spots(exports)]))
        other, place = data.draw(st.sampled_from([*spots(exports)]))
        odd = data.draw(st.sampled_from([None, 0, -1, 2**63 - 1, 1.5, "", "x", [], {}, True, other[place]]))
        node[key] = copy.deepcopy(odd)
    try:
        found = check(exports)
    except UnusableInputError as exc:
        assert "request[" in str(exc)  # noqa: PT017 - either is right
    else:
        assert all(str(one) for one in found)


def test_the_unknown_on_an_own_event_or_an_own_span_is_told_or_left_alone() -> None:
    exports = bodies(L)
    _, scope, item = next(parts_of(exports))
    scope["scope"]["name"] = "claude_monitoring"
    scope["logRecords"] = [item]
    item["body"] = text("claude.report_written")
    put(item, "event.name", text("report_written"))
    add(item, "files", {"intValue": 3})
    assert check(exports) == []
    item["body"] = text("report_written")
    assert {one.kind for one in check(exports)} == {"body", "unknown name"}


# -- what only many items together show -----------------------------------------------------------


def test_numbers_of_two_processes_side_by_side_are_no_gap() -> None:
    first, second = bodies("baseline.logs"), bodies("accept_hook.logs")
    assert check([*first, *second]) == check([*second, *first]) == []


def test_a_process_that_is_joined_late_has_no_gap_before_the_first_event() -> None:
    exports = bodies("delta_multi_export.logs")
    assert len(exports) > 2
    assert check(exports[1:]) == []
    assert {one.kind for one in check([exports[0], *exports[2:]])} == {"sequence"}


def test_a_span_of_the_host_may_stand_between_two_of_claude_codes() -> None:
    exports = bodies(T)
    scope = next(parts_of(exports))[1]
    tool = the_item(exports, "tool")
    between = {"traceId": tool["traceId"], "spanId": "00000000000000aa", "parentSpanId": tool["parentSpanId"],
               "name": "host", "kind": 1, "startTimeUnixNano": "1", "endTimeUnixNano": "2"}  # fmt: skip
    tool["parentSpanId"] = between["spanId"]
    resource = {"scopeSpans": [{"scope": {"name": "host"}, "spans": [between]}], "resource": {}}
    exports.append({"resourceSpans": [resource]})
    assert scope["scope"]["name"].endswith("tracing")
    assert check(exports) == []


def test_a_ring_of_parents_is_no_endless_loop() -> None:
    exports = bodies(T)
    tool = the_item(exports, "tool")
    ring = [
        {"traceId": tool["traceId"], "spanId": one, "parentSpanId": other, "name": "host"}
        for one, other in (("00000000000000aa", "00000000000000bb"), ("00000000000000bb", "00000000000000aa"))
    ]
    tool["parentSpanId"] = "00000000000000aa"
    exports.append({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "host"}, "spans": ring}]}]})  # fmt: skip
    assert check(exports) == []


def test_what_belongs_to_neither_family_is_left_alone() -> None:
    metric = {"name": "http.server.duration", "gauge": {"dataPoints": [{"asInt": 1}]}}
    checker = Checker()
    checker.add({"resourceMetrics": [{"scopeMetrics": [{"scope": {"name": "flask"}, "metrics": [metric]}]}]})
    assert checker.departures() == []
    assert (checker.checked, checker.foreign) == (0, 1)


# -- our own family -------------------------------------------------------------------------------


def own(metric: Node) -> list[tuple[str, str]]:
    resource = next(parts_of(bodies(M)))[0]["resource"]
    scope = {"scope": {"name": "claude_monitoring", "version": "0.1.0"}, "metrics": [metric]}
    found = check([{"resourceMetrics": [{"resource": resource, "scopeMetrics": [scope]}]}])
    return [(one.kind, one.attribute) for one in found]


def tasks(*keys: str, **fields: Any) -> Node:
    attributes = [{"key": key, "value": text("x")} for key in keys]
    points = [{"asDouble": 1, "startTimeUnixNano": "1", "timeUnixNano": "2", "attributes": attributes}]
    data = {"dataPoints": points, "isMonotonic": True, "aggregationTemporality": 2}
    return {
        "name": "claude.tasks",
        "unit": "{task}",
        "description": "Tasks finished, by outcome",
        "sum": data,
        **fields,
    }


def test_our_own_family_is_held_against_the_catalogue() -> None:
    assert own(tasks("agent", "task_type", "status")) == []
    assert own(tasks("agent", "otel.metric.overflow")) == []
    assert own(tasks("agent", "team")) == [("extra attribute", "team")]
    assert own(tasks(unit="1")) == [("unit", "")]
    assert own(tasks(description="")) == [("description", "")]
    gauge = {key: value for key, value in tasks().items() if key != "sum"}
    assert own({**gauge, "gauge": {"dataPoints": []}}) == [("metric kind", "")]
    assert own(tasks(name="claude.monitoring.exportz")) == [("unknown name", "")]
    assert own(tasks(name="tasks")) == [("unknown name", "")]


def test_a_users_own_metrics_are_allowed() -> None:
    assert own(tasks("anything", name="claude.rows_cleaned", unit="{row}", description="")) == []


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
def test_what_this_package_sends_of_its_own_family_departs_from_nothing(protocol: str) -> None:
    with OtlpReceiver() as receiver:
        monitor = AgentMonitor(
            "backend",
            export_to_grafana=True,
            endpoint=receiver.endpoint(protocol),
            protocol=protocol,
            project_name="books",
        )
        with monitor.session(), monitor.track_task("Add limits", task_type="feature", complexity=3):
            monitor.record_usage("claude-sonnet-4-5", 1200, 77, cache_read_tokens=4500, cache_creation_tokens=300)
            monitor.record_tool_call("Bash")
            monitor.increment("rows_cleaned", 3, {"table": "books"})
            monitor.event("report_written", {"files": 3})
        monitor.close(5)
        found = check(receiver.requests)
        own = {"claude.tasks", "claude.tokens.input", "claude.rows_cleaned", "claude.task.duration"}
        assert own <= {point.metric for point in receiver.metrics}
        assert "claude.report_written" in {log.body for log in receiver.logs}
    assert [str(one) for one in found if not one.item.startswith("claude_code.") and one.kind != "record flags"] == []


# -- reading --------------------------------------------------------------------------------------


def test_the_three_forms_of_a_file_are_read(tmp_path: Path) -> None:
    exports = bodies("delta_multi_export.logs")
    messages = [message for export in exports for _, message in decode_body(export, "")]
    files = {
        "capture.json": capture_text("delta_multi_export.logs"),
        "lines.jsonl": "\n".join(map(json.dumps, exports)) + "\n\n",
        "pretty.json": json.dumps({"exports": exports}, indent=2),
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert read(tmp_path / name) == messages
    (tmp_path / "one.json").write_text(json.dumps(exports[0], indent=1), encoding="utf-8")
    assert read(tmp_path / "one.json") == messages[:1]
    assert check(messages) == []


def test_whole_numbers_may_be_numbers_or_text() -> None:
    plain = capture_text(L)
    quoted = re.sub(r'"intValue":(\d+)', r'"intValue":"\1"', plain)
    assert plain != quoted
    assert check(json.loads(plain)["exports"]) == check(json.loads(quoted)["exports"]) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "line 1: empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"hello", "line 1, column 1: no JSON"),
        (b'{"resourceLogs": []}\n{"resourceLogs": [', "line 2, column 19: no JSON"),
        (b'{\n "resourceLogs": [\n  {,]\n}', "line 3, column 4: no JSON"),
        (b"[]", "expected a JSON object with resourceMetrics"),
        (b"3", "found int"),
        (b'{"metrics": []}', "found one with metrics"),
        (b'{"resourceLogs": 3}', "line 1: "),
        (b'{"exports": [{"resourceSpans": []}, 7]}', "exports[1]"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}', "traceId must be hex"),
        (b"[" * 100_000, "line 1"),
    ],
    ids=range(12),
)
def test_input_that_is_no_otlp_is_named_with_its_file_and_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "input.json"
    path.write_bytes(content)
    with pytest.raises(UnusableInputError, match=re.escape(said)) as raised:
        read(path)
    assert str(path) in str(raised.value)
    assert "resourceMetrics" in str(raised.value) or "OTLP/JSON" in str(raised.value)


@pytest.mark.parametrize("request_", [None, 3, "text", {}, {"resourceMetrics": 1}], ids=repr)
def test_a_request_that_is_no_otlp_is_refused(request_: Any) -> None:
    with pytest.raises(UnusableInputError, match=r"request\[0\].*expected"):
        check([request_])


# -- the report -----------------------------------------------------------------------------------


def test_the_report_groups_and_counts_and_ends_with_the_verdict() -> None:
    exports = bodies(M)
    for point in holders(the_item(exports, "token.usage")):
        as_int(point)
    the_item(exports, "cost.usage")["unit"] = "usd"
    checker = Checker()
    for index, body in enumerate(exports):
        checker.add(body, "spool.jsonl", index)
    lines = as_text(checker).splitlines()
    points = len(holders(the_item(exports, "token.usage")))
    assert lines[0] == f"value type: {points}"
    assert lines[1] == f"  {points} x metrics claude_code.token.usage"
    assert lines[2:4] == ["      expected asDouble, for counts too", "      found    asInt"]
    assert lines[4].startswith("      first at spool.jsonl[0] resourceMetrics[0].scopeMetrics[0].metrics[")
    assert lines[5] == "unit: 1"
    assert lines[-1].startswith(f"DEPARTURES: {points + 1} of 2 kinds in ")
    document = json.loads(as_json(checker))
    assert not document["clean"]
    assert len(document["departures"]) == points + 1
    assert document["departures"][0]["kind"] == "unit"
    assert document["verdict"] == lines[-1]


def test_a_long_value_is_cut_in_the_report() -> None:
    exports = bodies(L)
    put(the_item(exports, "tool_result"), "tool_parameters", text("x" * 5_000))
    (one,) = check(exports)
    assert len(one.found) <= 80
    assert len(str(one)) < 400


# -- the command ----------------------------------------------------------------------------------


def write(folder: Path, name: str, change: Callable[[list[Node]], object] = lambda _: None) -> str:
    exports = bodies(name)
    change(exports)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"exports": exports}), encoding="utf-8")
    return str(path)


def test_clean_files_end_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [write(tmp_path, name) for name in (M, L, T)]
    assert main(["conformance", *files]) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(r"CLEAN: \d+ metrics, events and spans in 3 requests, no departure .*\n", out)


def test_departures_end_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [write(tmp_path, M), write(tmp_path, L, on("user_prompt", lambda e: e.update(severityNumber=9)))]
    assert main(["conformance", *files]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "severity: 1"
    assert f"first at {files[1]}[0] resourceLogs[0]" in lines[4]
    assert lines[-1].startswith("DEPARTURES: 1 of 1 kind in ")
    assert main(["conformance", "--json", *files]) == 1
    assert json.loads(capsys.readouterr().out)["departures"][0]["source"] == files[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected either files or --listen"),
        (["x.json", "--listen"], "expected either files or --listen"),
        (["nowhere.json"], "nowhere.json: can't be read"),
        (["."], "can't be read"),
        (["x.json", "--for", "3"], "belong to --listen"),
        (["--listen", "127.0.0.1:http"], "expected HOST:PORT"),
        (["--listen", "127.0.0.1:70000"], "expected HOST:PORT"),
        (["--listen", "192.0.2.1:0", "--for", "1"], "can't listen on 192.0.2.1"),
        (["--listen", "127.0.0.1:0", "--for", "0.1"], "nothing to check: 0 requests"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_ends_with_2_and_a_reason(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["conformance", *arguments]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""


def test_data_of_others_alone_is_no_clean_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "up"}]}]}]}', encoding="utf-8")
    assert main(["conformance", str(path)]) == 2
    assert "1 metrics, events and spans, none of them of Claude Code" in capsys.readouterr().err


LISTENING = re.compile(r"listening: HTTP (\S+), gRPC (\S+)")
PROTOBUF = {"content-type": "application/x-protobuf"}


def listen(*arguments: str) -> tuple[subprocess.Popen[str], str, str]:
    """The command in a process of its own, with its two endpoints."""
    script = "import sys; from claude_monitoring.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "conformance", "--listen", "127.0.0.1:0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    found = LISTENING.search(line)
    assert found is not None, line + process.stderr.read()
    return process, found[1], found[2]


def send(http: str, grpc_endpoint: str, protocol: str, name: str, export: Node) -> None:
    ((kind, message),) = decode_body(export, name)
    body, path = message.SerializeToString(), f"/v1/{kind}"
    if protocol == "grpc":
        service = {"metrics": "Metrics", "logs": "Logs", "traces": "Trace"}[kind]
        method = f"/opentelemetry.proto.collector.{service.lower()}.v1.{service}Service/Export"
        with grpc.insecure_channel(grpc_endpoint.removeprefix("http://")) as channel:
            channel.unary_unary(method)(body, timeout=10)
        return
    content_type = "json" if protocol == "http/json" else "x-protobuf"
    content = json.dumps(export).encode() if protocol == "http/json" else body
    request = Request(http + path, content, {"content-type": f"application/{content_type}"})
    with urlopen(request, timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
def test_what_is_sent_to_its_port_is_checked(protocol: str) -> None:
    process, *endpoints = listen("--requests", "3")
    with process:
        for name in (M, L, T):
            send(*endpoints, protocol, name, bodies(name)[0])
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert re.match(r"CLEAN: \d+ metrics, events and spans in 3 requests", out)


def test_ctrl_c_ends_listening_with_the_result() -> None:
    process, *endpoints = listen()
    with process:
        exports = bodies(M)
        the_item(exports, "cost.usage")["unit"] = ""
        send(*endpoints, "http/json", M, exports[0])
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert out.startswith("unit: 1\n  1 x metrics claude_code.cost.usage\n      expected 'USD'\n      found    ''\n")


def test_a_request_that_was_refused_is_a_departure() -> None:
    with OtlpReceiver(grpc=False) as receiver:
        for path, content in (("/v1/metrics", b"\xff"), ("/v2/metrics", b"")):
            with pytest.raises(HTTPError) as raised:
                urlopen(Request(receiver.http_endpoint + path, content, PROTOBUF), timeout=10)
            raised.value.close()
        receiver.wait_until(lambda seen: len(seen.requests) == 2)
        found = check(receiver.requests)
    assert [(one.kind, one.request) for one in found] == [("unusable request", 0), ("unusable request", 1)]
    assert "'/v2/metrics'" in found[1].found
