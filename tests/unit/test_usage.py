"""What an agent did: Claude Code's metrics and the framework's tell the same numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_monitoring import AgentMonitor, Settings
from claude_monitoring._languages import file_type_of, language_of
from claude_monitoring.testing import Captured, capture

TOKENS = "claude_code.token.usage"


def test_usage_feeds_both_families(seen: Captured) -> None:
    seen.monitor.record_usage(
        model="claude-sonnet-4-5",
        input_tokens=1200,
        output_tokens=77,
        cache_read_tokens=4500,
        cache_creation_tokens=300,
        duration_s=1.5,
    )
    kinds = ("input", "output", "cacheRead", "cacheCreation")
    by_type = {kind: seen.value(TOKENS, type=kind, model="claude-sonnet-4-5", query_source="main") for kind in kinds}
    assert by_type == {"input": 1200, "output": 77, "cacheRead": 4500, "cacheCreation": 300}
    assert seen.value("claude.tokens.input", model="claude-sonnet-4-5", agent="backend") == 1200
    assert seen.value("claude.tokens.output", model="claude-sonnet-4-5", agent="backend") == 77
    assert seen.value("claude.api.calls", model="claude-sonnet-4-5") == 1
    assert seen.value("claude.response_time", model="claude-sonnet-4-5") == 1
    assert seen.value("claude_code.cost.usage", query_source="main") == pytest.approx(0.00723)
    assert seen.value("claude.api.cost_usd", model="claude-sonnet-4-5") == pytest.approx(0.00723)


def test_all_four_types_of_tokens_are_sent_each_time_as_claude_code_does(seen: Captured) -> None:
    seen.monitor.record_usage("m", output_tokens=5, cost_usd=0)
    assert sorted(str(dict(labels)["type"]) for labels in seen.series(TOKENS)) == [
        "cacheCreation", "cacheRead", "input", "output",
    ]  # fmt: skip


def test_the_cost_that_the_caller_knows_wins(seen: Captured) -> None:
    seen.monitor.record_usage("claude-sonnet-4-5", input_tokens=1_000_000, cost_usd=0.25)
    assert seen.value("claude.api.cost_usd") == 0.25
    assert seen.value("claude_code.cost.usage") == 0.25


def test_without_a_duration_no_response_time_is_made_up(seen: Captured) -> None:
    seen.monitor.record_usage("m", 1, cost_usd=0)
    assert seen.series("claude.response_time") == {}


def test_the_query_source_is_main_subagent_for_a_child_or_what_the_caller_says(seen: Captured) -> None:
    seen.monitor.record_usage("m", 1, cost_usd=1)
    seen.monitor.child("helper").record_usage("m", 20, cost_usd=2)
    seen.monitor.record_usage("m", 300, cost_usd=4, query_source="auxiliary")
    for metric, values in ((TOKENS, (1, 20, 300)), ("claude_code.cost.usage", (1, 2, 4))):
        found = tuple(seen.value(metric, query_source=source) for source in ("main", "subagent", "auxiliary"))
        assert found == values
    assert seen.value(TOKENS, {"agent.name": "helper"}, query_source="subagent") == 20


def test_native_points_carry_the_standard_attributes() -> None:
    with capture("x") as seen:
        monitor = AgentMonitor("backend", project_name="book-cataloger", sprint="6B")
        monitor.record_commit()
    [labels] = [dict(found) for found in seen.series("claude_code.commit.count")]
    assert labels["agent.name"] == "backend"
    assert labels["project.name"] == "book-cataloger"
    assert len(str(labels["user.id"])) == 64
    assert labels["session.id"]
    assert labels["terminal.type"]
    assert not {"agent", "project", "sprint", "app.version", "app.entrypoint"} & set(labels)


def test_framework_points_carry_agent_project_and_sprint_and_nothing_else() -> None:
    with capture("x") as seen:
        monitor = AgentMonitor("backend", agent_level=2, agent_xp=150, project_name="book-cataloger", sprint="6B")
        monitor.increment("jobs")
    base = {("agent", "backend"), ("project", "book-cataloger"), ("sprint", "6B")}
    assert seen.series("claude.jobs") == {frozenset(base): 1}
    assert seen.series("claude.agent.level") == {frozenset({("agent", "backend")}): 2}
    assert seen.series("claude.agent.xp") == {frozenset({("agent", "backend")}): 150}


def test_the_project_may_come_from_the_resource_attributes() -> None:
    settings = Settings.load(environ={"OTEL_RESOURCE_ATTRIBUTES": "project.name=shop,team=core"}, enabled=True)
    monitor = AgentMonitor("backend", settings=settings)
    assert monitor.project_name == "shop"
    assert AgentMonitor("backend", settings=settings, project_name="other").project_name == "other"
    monitor.close()


def test_lines_by_sign_and_file_type_and_the_file_that_changed(seen: Captured) -> None:
    seen.monitor.record_lines(added=10, removed=3, file_path="/home/me/secret/app.py", model="claude-opus-4-5")
    seen.monitor.record_lines(added=2, file_type="rust")
    seen.monitor.record_lines(added=1)
    native = "claude_code.lines_of_code.count"
    assert seen.value(native, type="added", model="claude-opus-4-5") == 10
    assert seen.value(native, type="removed", model="claude-opus-4-5") == 3
    assert seen.value("claude.lines_added", file_type="python") == 10
    assert seen.value("claude.lines_deleted", file_type="python") == 3
    assert seen.value("claude.lines_added", file_type="rust") == 2
    assert seen.value("claude.lines_added", file_type="unknown") == 1
    assert seen.value("claude.files_modified") == 1


def test_a_path_never_leaves_the_process(seen: Captured) -> None:
    seen.monitor.record_lines(1, file_path="/home/me/secret/app.py")
    seen.monitor.record_edit_decision("accept", file_path="/home/me/secret/app.py")
    store = seen.monitor._pipeline.store  # type: ignore[union-attr]
    texts = [str(series.attributes) for metric in store.instruments() for series in metric.all_series()]
    assert not any("secret" in text for text in texts)


def test_a_path_object_will_do(seen: Captured) -> None:
    seen.monitor.record_lines(4, file_path=Path("src") / "main.go")
    seen.monitor.record_edit_decision("reject", file_path=Path("a.ts"), source="user_reject", tool_name="Write")
    assert seen.value("claude.lines_added", file_type="go") == 4
    decision = {"decision": "reject", "source": "user_reject", "tool_name": "Write", "language": "TypeScript"}
    assert seen.value("claude_code.code_edit_tool.decision", decision) == 1


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a.py", "Python"),
        ("A.PY", "Python"),
        ("/x/y.tar/b.tsx", "TypeScript"),
        ("C:\\dir.d\\x.HTML", "HTML, XML"),
        ("x.toml", "TOML, also INI"),
        ("x.php", "php"),
        ("x.h", "C"),
        ("x.m", "Mercury"),
        ("run.bat", "Batch file (DOS)"),
        ("notes.txt", "Plain text"),
        ("x.ipynb", "unknown"),
        ("Makefile", "unknown"),
        (".env", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_language_is_spelled_as_claude_code_spells_it(path: str, language: str) -> None:
    assert language_of(path) == language
    assert file_type_of(path) == language.lower()


def test_commits_pull_requests_and_active_time(seen: Captured) -> None:
    seen.monitor.record_commit()
    seen.monitor.record_commit(2)
    seen.monitor.record_pull_request()
    seen.monitor.record_active_time(2.5)
    seen.monitor.record_active_time(0.5, type="user")
    assert seen.value("claude_code.commit.count") == 3
    assert seen.value("claude_code.pull_request.count") == 1
    assert seen.value("claude_code.active_time.total", type="cli") == 2.5
    assert seen.value("claude_code.active_time.total", type="user") == 0.5


def test_an_edit_decision_has_claude_codes_four_attributes(seen: Captured) -> None:
    seen.monitor.record_edit_decision("accept", language="Python")
    [labels] = [dict(found) for found in seen.series("claude_code.code_edit_tool.decision")]
    expected = {"decision": "accept", "source": "config", "tool_name": "Edit", "language": "Python"}
    assert expected.items() <= labels.items()


@pytest.mark.parametrize("decision", ["maybe", "", None, ["accept"]])
def test_another_decision_is_refused(seen: Captured, decision: Any) -> None:
    seen.monitor.record_edit_decision(decision)
    assert seen.series("claude_code.code_edit_tool.decision") == {}
    assert seen.monitor.health().dropped == {"invalid_value": 1}


def test_tool_calls_by_tool_and_outcome(seen: Captured) -> None:
    seen.monitor.record_tool_call("Bash")
    seen.monitor.record_tool_call("Bash", status="error", count=2)
    assert seen.value("claude.tool.calls", tool="Bash", status="ok") == 1
    assert seen.value("claude.tool.calls", tool="Bash", status="error") == 2


def test_a_cost_without_a_model_is_that_of_an_unknown_one(seen: Captured) -> None:
    seen.monitor.record_cost(0.87)
    seen.monitor.record_cost(0.13, "claude-opus-4-5", query_source="auxiliary")
    assert seen.value("claude.api.cost_usd", model="unknown") == 0.87
    assert seen.value("claude_code.cost.usage", model="claude-opus-4-5", query_source="auxiliary") == 0.13


def test_errors_by_the_type_of_the_exception_or_by_a_name(seen: Captured) -> None:
    class OutOfPaperError(Exception): ...

    seen.monitor.record_error(OutOfPaperError("tray 2"))
    seen.monitor.record_error("rate_limit")
    seen.monitor.record_error("")
    assert seen.value("claude.errors", error_type="OutOfPaperError") == 1
    assert seen.value("claude.errors", error_type="rate_limit") == 1
    assert seen.value("claude.errors", error_type="unknown") == 1


def test_one_exception_recorded_twice_is_one_error(seen: Captured) -> None:
    error = ValueError("x")
    seen.monitor.record_error(error)
    seen.monitor.record_error(error)
    seen.monitor.record_error(ValueError("x"))
    assert seen.value("claude.errors", error_type="ValueError") == 2


def test_an_exception_that_can_not_be_marked_is_counted_all_the_same(seen: Captured) -> None:
    class FrozenError(Exception):
        def __setattr__(self, key: str, value: object) -> None:
            raise AttributeError("frozen")

    seen.monitor.record_error(FrozenError())
    assert seen.value("claude.errors", error_type="FrozenError") == 1


AMOUNT_CALLS: list[tuple[str, str]] = [
    ("record_usage", "input_tokens"),
    ("record_usage", "output_tokens"),
    ("record_usage", "cache_read_tokens"),
    ("record_usage", "cache_creation_tokens"),
    ("record_usage", "cost_usd"),
    ("record_usage", "duration_s"),
    ("record_cost", "usd"),
    ("record_lines", "added"),
    ("record_lines", "removed"),
    ("record_commit", "count"),
    ("record_pull_request", "count"),
    ("record_active_time", "seconds"),
    ("record_tool_call", "count"),
]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1, True, "5", [1]], ids=repr)
@pytest.mark.parametrize(("method", "argument"), AMOUNT_CALLS)
def test_a_call_with_one_bad_amount_records_nothing_at_all(
    seen: Captured, caplog: pytest.LogCaptureFixture, method: str, argument: str, bad: Any
) -> None:
    given = {argument: bad}
    if method == "record_usage":
        given["model"] = "m"
    if method == "record_tool_call":
        given["tool"] = "Bash"
    before = seen.monitor.health().series
    for _ in range(2):
        getattr(seen.monitor, method)(**given)
    assert seen.monitor.health().series == before
    assert seen.monitor.health().dropped == {"invalid_value": 2}
    assert [f"{method}: not recorded" in record.message for record in caplog.records] == [True]
    with pytest.raises((TypeError, ValueError)):
        getattr(AgentMonitor("strict", strict=True), method)(**given)


AMOUNTS = st.integers(0, 10**12)


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, st.sampled_from(["a", "b"])), max_size=30))
def test_sums_of_tokens_are_exact_and_the_two_families_agree(rows: list[tuple[int, int, int, int, str]]) -> None:
    with capture() as seen:
        for row in rows:
            seen.monitor.record_usage(row[4], *row[:4], cost_usd=row[0] / 2**20)
    columns = zip(*(row[:4] for row in rows), strict=True) if rows else [()] * 4
    for kind, column in zip(("input", "output", "cacheRead", "cacheCreation"), columns, strict=True):
        assert seen.value(TOKENS, type=kind) == sum(column)
    for model in ("a", "b"):
        mine = [row for row in rows if row[-1] == model]
        assert seen.value("claude.tokens.input", model=model) == sum(row[0] for row in mine)
        assert seen.value("claude.tokens.output", model=model) == sum(row[1] for row in mine)
        assert seen.value("claude.api.calls", model=model) == len(mine)
    assert seen.value("claude.api.cost_usd") == seen.value("claude_code.cost.usage")


@pytest.mark.parametrize(("model", "label"), [(None, "unknown"), ("", "unknown"), (["m"], "['m']"), (7, "7")])
def test_a_model_that_is_no_name_does_not_cost_the_tokens(seen: Captured, model: Any, label: str) -> None:
    seen.monitor.record_usage(model, 10, 1, cost_usd=1)
    assert seen.value("claude.tokens.input", model=label) == 10
    assert seen.value(TOKENS, model=label, type="input") == 10
