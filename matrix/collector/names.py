"""What a Collector without a namespace must make of our names, written by hand; nothing here comes from the package.

Framework rows are the table of the design's section 3b, letter by letter. Native rows are Claude Code's names, to which
a Collector adds units, as the queries of Anthropic's monitoring guide have them (``claude_code_cost_usage_USD_total``).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["NAMES", "Kind", "Name"]

Kind = Literal["counter", "up-down counter", "gauge", "histogram"]

_NATIVE = "com.anthropic.claude_code"
_OURS = "claude_monitoring"


class Name(NamedTuple):
    """One metric on its way: ``wire`` and ``unit`` as sent under ``scope``, ``exposed`` as Prometheus has to see it.

    A histogram is exposed as ``<exposed>_bucket``, ``_sum`` and ``_count``.
    """

    exposed: str
    wire: str
    kind: Kind
    unit: str
    scope: str = _OURS

    @property
    def samples(self) -> tuple[str, ...]:
        """The names of its samples."""
        parts = ("_bucket", "_sum", "_count") if self.kind == "histogram" else ("",)
        return tuple(self.exposed + part for part in parts)

    @property
    def type(self) -> str:
        """The word after its name in Prometheus' ``# TYPE`` line."""
        return "gauge" if self.kind == "up-down counter" else self.kind


NAMES = (
    Name("claude_code_session_count_total", "claude_code.session.count", "counter", "", _NATIVE),
    Name("claude_code_lines_of_code_count_total", "claude_code.lines_of_code.count", "counter", "", _NATIVE),
    Name("claude_code_pull_request_count_total", "claude_code.pull_request.count", "counter", "", _NATIVE),
    Name("claude_code_commit_count_total", "claude_code.commit.count", "counter", "", _NATIVE),
    Name("claude_code_cost_usage_USD_total", "claude_code.cost.usage", "counter", "USD", _NATIVE),
    Name("claude_code_token_usage_tokens_total", "claude_code.token.usage", "counter", "tokens", _NATIVE),
    Name("claude_code_code_edit_tool_decision_total", "claude_code.code_edit_tool.decision", "counter", "", _NATIVE),
    Name("claude_code_active_time_seconds_total", "claude_code.active_time.total", "counter", "s", _NATIVE),
    Name("claude_sessions_total", "claude.sessions", "counter", "{session}"),
    Name("claude_sessions_active", "claude.sessions.active", "up-down counter", "{session}"),
    Name("claude_session_duration_seconds", "claude.session.duration", "histogram", "s"),
    Name("claude_tasks_total", "claude.tasks", "counter", "{task}"),
    Name("claude_tasks_active", "claude.tasks.active", "up-down counter", "{task}"),
    Name("claude_task_duration_seconds", "claude.task.duration", "histogram", "s"),
    Name("claude_task_throughput", "claude.task.throughput", "gauge", ""),
    Name("claude_lines_added_total", "claude.lines_added", "counter", "{line}"),
    Name("claude_lines_deleted_total", "claude.lines_deleted", "counter", "{line}"),
    Name("claude_files_modified_total", "claude.files_modified", "counter", "{file}"),
    Name("claude_files_read_total", "claude.files_read", "counter", "{file}"),
    Name("claude_tokens_input_total", "claude.tokens.input", "counter", "{token}"),
    Name("claude_tokens_output_total", "claude.tokens.output", "counter", "{token}"),
    Name("claude_api_calls_total", "claude.api.calls", "counter", "{call}"),
    Name("claude_api_cost_usd_total", "claude.api.cost_usd", "counter", ""),
    Name("claude_tool_calls_total", "claude.tool.calls", "counter", "{call}"),
    Name("claude_errors_total", "claude.errors", "counter", "{error}"),
    Name("claude_response_time_seconds", "claude.response_time", "histogram", "s"),
    Name("claude_concurrent_requests", "claude.concurrent_requests", "up-down counter", ""),
    Name("claude_agent_efficiency_score", "claude.agent.efficiency_score", "gauge", ""),
    Name("claude_agent_quality_score", "claude.agent.quality_score", "gauge", ""),
    Name("claude_agent_collaboration_score", "claude.agent.collaboration_score", "gauge", ""),
    Name("claude_agent_xp", "claude.agent.xp", "gauge", ""),
    Name("claude_agent_level", "claude.agent.level", "gauge", ""),
    # The design gives the next four and the last two no unit; the catalogue has annotations, which names leave out.
    Name("claude_features_delivered_total", "claude.features.delivered", "counter", "{feature}"),
    Name("claude_story_points_delivered_total", "claude.story_points.delivered", "counter", "{point}"),
    Name("claude_bugs_introduced_total", "claude.bugs_introduced", "counter", "{bug}"),
    Name("claude_patterns_extracted_total", "claude.patterns_extracted", "counter", "{pattern}"),
    Name("claude_context_usage_percent", "claude.context.usage", "gauge", "%"),
    Name("claude_pattern_loads_total", "claude.pattern.loads", "counter", "{load}"),
    Name("claude_quality_gate_total", "claude.quality_gate", "counter", "{gate}"),
)
"""The 8 of Claude Code, and the 31 that the design's table has in its left column."""
