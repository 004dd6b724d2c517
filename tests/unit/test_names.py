"""Prometheus names: the customer's reference letter by letter, and the rules that a Collector follows."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_monitoring._names import Kind, prometheus_label, prometheus_name, prometheus_unit

DESIGN_TABLE = [
    ("claude.sessions", "{session}", "counter", "claude_sessions_total"),
    ("claude.sessions.active", "{session}", "up_down_counter", "claude_sessions_active"),
    ("claude.session.duration", "s", "histogram", "claude_session_duration_seconds"),
    ("claude.tasks", "{task}", "counter", "claude_tasks_total"),
    ("claude.tasks.active", "{task}", "up_down_counter", "claude_tasks_active"),
    ("claude.task.duration", "s", "histogram", "claude_task_duration_seconds"),
    ("claude.task.throughput", "", "gauge", "claude_task_throughput"),
    ("claude.lines_added", "{line}", "counter", "claude_lines_added_total"),
    ("claude.lines_deleted", "{line}", "counter", "claude_lines_deleted_total"),
    ("claude.files_modified", "{file}", "counter", "claude_files_modified_total"),
    ("claude.files_read", "{file}", "counter", "claude_files_read_total"),
    ("claude.tokens.input", "{token}", "counter", "claude_tokens_input_total"),
    ("claude.tokens.output", "{token}", "counter", "claude_tokens_output_total"),
    ("claude.api.calls", "{call}", "counter", "claude_api_calls_total"),
    ("claude.api.cost_usd", "", "counter", "claude_api_cost_usd_total"),
    ("claude.tool.calls", "{call}", "counter", "claude_tool_calls_total"),
    ("claude.errors", "{error}", "counter", "claude_errors_total"),
    ("claude.response_time", "s", "histogram", "claude_response_time_seconds"),
    ("claude.concurrent_requests", "", "up_down_counter", "claude_concurrent_requests"),
    ("claude.agent.efficiency_score", "", "gauge", "claude_agent_efficiency_score"),
    ("claude.agent.quality_score", "", "gauge", "claude_agent_quality_score"),
    ("claude.agent.collaboration_score", "", "gauge", "claude_agent_collaboration_score"),
    ("claude.agent.xp", "", "gauge", "claude_agent_xp"),
    ("claude.agent.level", "", "gauge", "claude_agent_level"),
    ("claude.features.delivered", "{feature}", "counter", "claude_features_delivered_total"),
    ("claude.story_points.delivered", "{point}", "counter", "claude_story_points_delivered_total"),
    ("claude.bugs_introduced", "{bug}", "counter", "claude_bugs_introduced_total"),
    ("claude.patterns_extracted", "{pattern}", "counter", "claude_patterns_extracted_total"),
    ("claude.context.usage", "%", "gauge", "claude_context_usage_percent"),
    ("claude.pattern.loads", "{load}", "counter", "claude_pattern_loads_total"),
    ("claude.quality_gate", "{gate}", "counter", "claude_quality_gate_total"),
]
REFERENCE_SECTION_10 = [
    ("claude_code.session.count", "", "claude_code_session_count_total"),
    ("claude_code.lines_of_code.count", "", "claude_code_lines_of_code_count_total"),
    ("claude_code.pull_request.count", "", "claude_code_pull_request_count_total"),
    ("claude_code.commit.count", "", "claude_code_commit_count_total"),
    ("claude_code.cost.usage", "USD", "claude_code_cost_usage_total"),
    ("claude_code.token.usage", "tokens", "claude_code_token_usage_total"),
    ("claude_code.code_edit_tool.decision", "", "claude_code_code_edit_tool_decision_total"),
    ("claude_code.active_time.total", "s", "claude_code_active_time_total"),
]


@pytest.mark.parametrize(("wire", "unit", "kind", "exposed"), DESIGN_TABLE, ids=str)
def test_framework_metrics_have_the_customers_names(wire: str, unit: str, kind: Kind, exposed: str) -> None:
    assert prometheus_name(wire, unit, kind) == exposed


@pytest.mark.parametrize(("wire", "unit", "exposed"), REFERENCE_SECTION_10, ids=str)
def test_native_metrics_have_claude_codes_names_without_units(wire: str, unit: str, exposed: str) -> None:
    assert prometheus_name(wire, unit, "counter") == exposed


@pytest.mark.parametrize(
    ("wire", "unit", "kind", "exposed"),
    [
        ("claude.wait_seconds", "s", "histogram", "claude_wait_seconds"),
        ("claude.wait.seconds.max", "s", "gauge", "claude_wait_seconds_max"),
        ("claude.download", "By/s", "gauge", "claude_download_bytes_per_second"),
        ("claude.rate", "{request}/s", "gauge", "claude_rate_per_second"),
        ("claude.io", "By", "counter", "claude_io_bytes_total"),
        ("claude.fill", "1", "gauge", "claude_fill_ratio"),
        ("claude.fill", "1", "counter", "claude_fill_total"),
        ("claude.spent", "USD", "counter", "claude_spent_USD_total"),
        ("claude.x_total", "", "counter", "claude_x_total"),
        ("claude.total.x", "", "counter", "claude_x_total"),
        ("claude.total.x", "", "gauge", "claude_total_x"),
        ("claude..a--b/c", "", "gauge", "claude_a_b_c"),
        ("9lives", "", "gauge", "_9lives"),
        ("é", "", "gauge", "_"),
    ],
)
def test_other_names_follow_the_collectors_rules(wire: str, unit: str, kind: Kind, exposed: str) -> None:
    assert prometheus_name(wire, unit, kind) == exposed


@pytest.mark.parametrize(
    ("unit", "words"), [("s", "seconds"), ("{token}", ""), ("", ""), ("%", "percent"), ("{call}/min", "per_minute")]
)
def test_a_unit_becomes_words(unit: str, words: str) -> None:
    assert prometheus_unit(unit) == words


@pytest.mark.parametrize(
    ("key", "label"),
    [("agent.name", "agent_name"), ("__name__", "_name_"), ("1st", "_1st"), ("", "_"), ("a  b", "a_b")],
)
def test_an_attribute_becomes_a_label(key: str, label: str) -> None:
    assert prometheus_label(key) == label


@given(st.text(max_size=40), st.text(max_size=10), st.sampled_from(get_args(Kind)))
def test_whatever_is_given_the_name_is_one_that_prometheus_takes(wire: str, unit: str, kind: Kind) -> None:
    name = prometheus_name(wire, unit, kind)
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)
    assert name.endswith("_total") or name == "total" or kind != "counter"


@given(st.text(max_size=40))
def test_whatever_is_given_the_label_is_one_that_prometheus_takes(key: str) -> None:
    assert re.fullmatch(r"(?!__)[A-Za-z_][A-Za-z0-9_]*", prometheus_label(key))
