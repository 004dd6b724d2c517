"""The catalogue against the customer's reference and Claude Code's captures, letter by letter, copied here by hand."""

from __future__ import annotations

import pytest

from claude_monitoring._catalog import CATALOG, DURATION_BOUNDS_S, NATIVE_EVENTS, MetricSpec, render_markdown
from claude_monitoring._names import prometheus_name

ANY_UNIT = "*"  # the reference leaves the unit open, as long as the exposed name is right

# Design 3b: Prometheus name, wire name, kind, unit, own attributes, and `agent` where the monitor adds that alone.
FRAMEWORK = """
claude_sessions_total               claude.sessions                  counter         {session} -
claude_sessions_active              claude.sessions.active           up_down_counter {session} -
claude_session_duration_seconds     claude.session.duration          histogram       s         -
claude_tasks_total                  claude.tasks                     counter         {task}    task_type,status
claude_tasks_active                 claude.tasks.active              up_down_counter {task}    task_type
claude_task_duration_seconds        claude.task.duration             histogram       s         task_type,status
claude_task_throughput              claude.task.throughput           gauge           *         task_type
claude_lines_added_total            claude.lines_added               counter         {line}    file_type
claude_lines_deleted_total          claude.lines_deleted             counter         {line}    file_type
claude_files_modified_total         claude.files_modified            counter         {file}    -
claude_files_read_total             claude.files_read                counter         {file}    -
claude_tokens_input_total           claude.tokens.input              counter         {token}   model
claude_tokens_output_total          claude.tokens.output             counter         {token}   model
claude_api_calls_total              claude.api.calls                 counter         {call}    model
claude_api_cost_usd_total           claude.api.cost_usd              counter         -         model
claude_tool_calls_total             claude.tool.calls                counter         {call}    tool,status
claude_errors_total                 claude.errors                    counter         {error}   error_type
claude_response_time_seconds        claude.response_time             histogram       s         model
claude_concurrent_requests          claude.concurrent_requests       up_down_counter *         -
claude_agent_efficiency_score       claude.agent.efficiency_score    gauge           *         -
claude_agent_quality_score          claude.agent.quality_score       gauge           *         -
claude_agent_collaboration_score    claude.agent.collaboration_score gauge           *         -
claude_agent_xp                     claude.agent.xp                  gauge           *         -                agent
claude_agent_level                  claude.agent.level               gauge           *         -                agent
claude_features_delivered_total     claude.features.delivered        counter         *         -
claude_story_points_delivered_total claude.story_points.delivered    counter         *         -
claude_bugs_introduced_total        claude.bugs_introduced           counter         *         -
claude_patterns_extracted_total     claude.patterns_extracted        counter         *         -
claude_context_usage_percent        claude.context.usage             gauge           %         -                agent
claude_pattern_loads_total          claude.pattern.loads             counter         *         pattern          agent
claude_quality_gate_total           claude.quality_gate              counter         *         gate,result
"""

USAGE_KEYS = ("model", "query_source", "effort", "speed", "agent.name", "skill.name", "plugin.name")
# Reference sections 4 and 10: wire name, unit, description, own attributes, name on Claude Code's own endpoint.
NATIVE = [
    (
        "claude_code.session.count",
        "",
        "Count of CLI sessions started",
        ("start_type",),
        "claude_code_session_count_total",
    ),
    (
        "claude_code.lines_of_code.count",
        "",
        (
            "Count of lines of code modified, with the 'type' attribute indicating whether lines were added or removed "
            "and the 'model' attribute indicating which model made the change"
        ),
        ("type", "model"),
        "claude_code_lines_of_code_count_total",
    ),
    (
        "claude_code.pull_request.count",
        "",
        "Number of pull requests created",
        (),
        "claude_code_pull_request_count_total",
    ),
    ("claude_code.commit.count", "", "Number of git commits created", (), "claude_code_commit_count_total"),
    (
        "claude_code.cost.usage",
        "USD",
        "Cost of the Claude Code session",
        USAGE_KEYS,
        "claude_code_cost_usage_total",
    ),
    (
        "claude_code.token.usage",
        "tokens",
        "Number of tokens used",
        ("type", *USAGE_KEYS),
        "claude_code_token_usage_total",
    ),
    (
        "claude_code.code_edit_tool.decision",
        "",
        "Count of code editing tool permission decisions (accept/reject) for Edit, Write, and NotebookEdit tools",
        ("decision", "source", "tool_name", "language"),
        "claude_code_code_edit_tool_decision_total",
    ),
    (
        "claude_code.active_time.total",
        "s",
        "Total active time in seconds",
        ("type",),
        "claude_code_active_time_total",
    ),
]
ROWS = [(*line.split(), "framework")[:6] for line in FRAMEWORK.strip().splitlines()]


def exposed(spec: MetricSpec) -> str:
    return prometheus_name(spec.name, spec.unit, spec.kind)


@pytest.mark.parametrize(("shown", "wire", "kind", "unit", "keys", "base"), ROWS, ids=[row[0] for row in ROWS])
def test_a_framework_metric_is_the_one_of_the_customers_reference(
    shown: str, wire: str, kind: str, unit: str, keys: str, base: str
) -> None:
    spec = CATALOG[wire]
    assert exposed(spec) == shown
    assert spec.kind == kind
    assert unit in {ANY_UNIT, spec.unit or "-"}
    assert (",".join(spec.keys) or "-") == keys
    assert spec.base == base
    assert spec.scope == "claude_monitoring"


@pytest.mark.parametrize(("wire", "unit", "description", "keys", "shown"), NATIVE, ids=[row[0] for row in NATIVE])
def test_a_native_metric_is_the_one_that_claude_code_sends(
    wire: str, unit: str, description: str, keys: tuple[str, ...], shown: str
) -> None:
    spec = CATALOG[wire]
    assert (spec.unit, spec.description, spec.keys) == (unit, description, keys)
    assert spec.kind == "counter"
    assert spec.scope == "com.anthropic.claude_code"
    assert exposed(spec) == shown


def test_the_catalogue_holds_the_two_families_and_what_we_tell_about_ourselves() -> None:
    of_the_host = [spec.name for spec in CATALOG.values() if not spec.is_about_ourselves]
    assert of_the_host == [row[0] for row in NATIVE] + [row[1] for row in ROWS]
    about_ourselves = {exposed(spec) for spec in CATALOG.values() if spec.is_about_ourselves}
    assert about_ourselves == {
        "claude_monitoring_series_kept",
        "claude_monitoring_series_collapsed",
        "claude_monitoring_series_retired_total",
        "claude_monitoring_series_refused_total",
        "claude_monitoring_exports_total",
        "claude_monitoring_dropped_total",
    }


def test_no_two_metrics_share_a_name_in_prometheus() -> None:
    shown = []
    for spec in CATALOG.values():
        parts = ("_bucket", "_sum", "_count") if spec.kind == "histogram" else ("",)
        shown += [exposed(spec) + part for part in parts]
    assert len(set(shown)) == len(shown)


def test_no_metric_takes_a_name_a_prompt_a_path_or_an_id_as_label() -> None:
    unbounded = {"name", "task", "task_name", "prompt", "file_path", "path", "session_id", "task_id"}
    assert not unbounded & {key for spec in CATALOG.values() for key in spec.keys}


def test_histograms_tell_a_model_call_of_milliseconds_from_a_task_of_hours() -> None:
    assert list(DURATION_BOUNDS_S) == sorted(set(DURATION_BOUNDS_S))
    assert DURATION_BOUNDS_S[0] <= 0.01
    assert DURATION_BOUNDS_S[-1] >= 3 * 3600


def test_native_events_are_names_of_the_reference() -> None:
    assert {"user_prompt", "api_request", "api_error", "tool_decision", "tool_result"} <= NATIVE_EVENTS
    assert not any(name.startswith("claude_code.") for name in NATIVE_EVENTS)


def test_the_reference_page_has_a_line_for_each_metric() -> None:
    page = render_markdown({name: exposed(spec) for name, spec in CATALOG.items()})
    for spec in CATALOG.values():
        line = next(row for row in page.splitlines() if row.startswith(f"| `{spec.name}` "))
        assert f"`{exposed(spec)}`" in line
        assert all(f"`{key}`" in line for key in spec.keys)
