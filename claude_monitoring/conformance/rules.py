"""The rules, as data: standard attributes, metrics and spans here, events in ``rules_events``.

Written from the reference, sections 2 to 6, and the captures of Claude Code 2.1.330, which are right where they differ.
``S``, ``I``, ``D``, ``B``, ``A`` and ``N`` (a number sent as text) make attributes that are always there; ``optional``,
``details``, ``program`` and ``only`` change that. Sessions of 2.1.332 with subagents, rejections and hooks pass too.
"""

from __future__ import annotations

from claude_monitoring import _languages
from claude_monitoring._catalog import CATALOG, EVENTS_SCOPE, NATIVE_SCOPE
from claude_monitoring.conformance.model import Attribute, Attributes, MetricRule, SpanRule
from claude_monitoring.conformance.notation import (
    CALL_ID,
    COMMAND_TABLE,
    DETAILED_TRACING,
    FIRST_TOKEN,
    NEWER,
    REQUEST_ID,
    UUID,
    B,
    I,
    S,
    array,
    details,
    only,
    optional,
    program,
    spelled,
    table,
)
from claude_monitoring.types import Signal

__all__ = [
    "ATTRIBUTION",
    "DECISIONS",
    "DECISION_SOURCES",
    "EFFORTS",
    "LANGUAGES",
    "METRICS",
    "NOT_IN_RESOURCE",
    "PARTLY_KNOWN",
    "RESOURCE",
    "SCOPES",
    "SCOPE_VERSION",
    "SPANS",
    "SPAN_COMMON",
    "STANDARD",
    "SWITCHED",
    "TOGETHER",
    "TRACING_SCOPE_VERSION",
]

SCOPES: dict[Signal, str] = {
    "metrics": NATIVE_SCOPE,
    "logs": EVENTS_SCOPE,
    "traces": "com.anthropic.claude_code.tracing",
}
SCOPE_VERSION = r"\d+\.\d+\.\d+\S*"
"""Of metrics and events: the version of the program, in three numbers."""
TRACING_SCOPE_VERSION = r"1\.0\.0"
"""Of spans: constant."""

# Section 2. Other keys come from OTEL_RESOURCE_ATTRIBUTES; all are text.
RESOURCE: Attributes = table(
    S("service.name", "service.version", "host.arch", "os.type", "os.version"),
    optional("on WSL alone", S("wsl.version")),
    optional("OTEL_RESOURCE_INCLUDE_HOST", S("host.name", "host.id")),
)
NOT_IN_RESOURCE = ("telemetry.sdk.", "process.")
"""Beginnings of keys that Claude Code keeps out of its resource."""

# Section 3: on every point, record and span. The switches act on all three signals.
STANDARD: Attributes = table(
    S("user.id", pattern="[0-9a-f]{64}", form="64 hex digits in lower case"),
    optional("OTEL_METRICS_INCLUDE_SESSION_ID, on", S("session.id", pattern=UUID, form="a UUID")),
    optional("OTEL_METRICS_INCLUDE_VERSION, off", S("app.version")),
    optional("OTEL_METRICS_INCLUDE_ENTRYPOINT, off", S("app.entrypoint")),
    optional(
        "OTEL_METRICS_INCLUDE_REPOSITORY, off; not before the look-up has ended",
        S("vcs.repository.url.full", "vcs.owner.name", "vcs.repository.name", "vcs.provider.name"),
    ),
    optional("login by account", S("organization.id", "user.email")),
    optional("login by account; OTEL_METRICS_INCLUDE_ACCOUNT_UUID, on", S("user.account_uuid", "user.account_id")),
    optional("login by gateway", S("user.groups", "identity.source")),
    S("anthropic.provider", values="firstParty bedrock vertex foundry"),
    B("anthropic.custom_base_url"),
    S("terminal.type"),
    optional("an agent's own name and project, by this library; Claude Code has both elsewhere", S("agent.name")),
    optional("the same", S("project.name")),
)
SWITCHED = (
    "session.id", "app.version", "app.entrypoint", "organization.id", "user.email", "user.account_uuid",
    "user.account_id",
)  # fmt: skip
"""Standard attributes that all items of a request have, or none: one switch or login holds for the whole process."""

LANGUAGES = frozenset({*_languages._LANGUAGES.values(), "unknown"})
"""Section 4.3; highlight.js has more than were tried, so others are allowed."""
DECISIONS = "accept reject"
TOGETHER = (
    ("vcs.repository.url.full", "vcs.owner.name", "vcs.repository.name", "vcs.provider.name"),
    ("vcs.ref.head.revision", "vcs.ref.head.name", "vcs.ref.head.type"),
    ("user.account_uuid", "user.account_id"),
    ("mcp_server.name", "mcp_tool.name"),
    ("command_name", "command_source"),
    ("decision_source", "decision_type"),
    ("bash_command_class", "bash_argv0"),
    ("ttft_ms", "first_content_ms"),
    ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
)
"""Attributes that come together or not at all, wherever the rules have more than one of them."""

DECISION_SOURCES = "config hook user_temporary user_permanent user_reject user_abort"
EFFORTS = "low medium high xhigh max"

# Section 4.1, "optional attribution"; the same on events.
ATTRIBUTION = (
    *optional("models with effort levels", S("effort", values=EFFORTS)),
    *optional("requests of subagents", S("agent.name")),
    *optional("while a skill or a command is active", S("skill.name")),
    *optional("skill or agent of a plugin", S("plugin.name", "marketplace.name")),
    *optional("the request that consumes an MCP result", S("mcp_server.name", "mcp_tool.name")),
)
_USAGE = (
    *S("model"),
    *S("query_source", values="main subagent auxiliary"),
    *optional("fast mode alone", S("speed", values="fast")),
    *ATTRIBUTION,
)


def _metric(name: str, *attributes: tuple[Attribute, ...], complete: str = "") -> tuple[str, MetricRule]:
    name = f"claude_code.{name}"
    return name, MetricRule(CATALOG[name], table(*attributes), complete)


METRICS: dict[str, MetricRule] = dict(
    (
        _metric("session.count", S("start_type", values="fresh continue resume agents_view")),
        _metric("lines_of_code.count", S("type", values="added removed"), S("model"), complete="type"),
        _metric("pull_request.count"),
        _metric("commit.count"),
        _metric("cost.usage", _USAGE),
        _metric("token.usage", S("type", values="input output cacheRead cacheCreation"), _USAGE, complete="type"),
        _metric(
            "code_edit_tool.decision",
            S("decision", values=DECISIONS),
            S("source", values=DECISION_SOURCES),
            S("tool_name", values="Edit Write NotebookEdit"),
            spelled(LANGUAGES, S("language")),
        ),
        _metric("active_time.total", S("type", values="cli user")),
    )
)

# Section 6: on every span beside the standard attributes and ``span.type``.
SPAN_COMMON: Attributes = table(S("span.type", "gen_ai.provider.name", "gen_ai.conversation.id"))
_SUBAGENT = optional("inside a subagent", S("agent_id", "parent_agent_id"))
_PARENTS = frozenset({"claude_code.interaction", "claude_code.tool.execution", "claude_code.tool"})
_TOOL = frozenset({"claude_code.tool"})

SPANS: dict[str, SpanRule] = {
    "claude_code.interaction": SpanRule(
        table(
            S("gen_ai.operation.name", values="invoke_agent"),
            S("user_prompt"),
            I("user_prompt_length", "interaction.sequence", "interaction.duration_ms", "queued_sends"),
            S("parent.source", values="none env"),
            optional(DETAILED_TRACING, S("new_context")),
        ),
        parents=frozenset({""}),
    ),
    "claude_code.llm_request": SpanRule(
        table(
            S("model", "gen_ai.system", "gen_ai.request.model", "query_source_safe"),
            S("llm_request.context", values="interaction tool standalone"),
            S("speed", values="normal fast"),
            I("duration_ms", "attempt"),
            B("success"),
            program(REQUEST_ID, S("request_id", "gen_ai.response.id")),
            optional("models with effort levels", S("effort", values=EFFORTS)),
            _SUBAGENT,
            optional("no custom base URL", S("client_request_id")),
            only("success", "true", I("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")),
            only("success", "true", program(FIRST_TOKEN, I("ttft_ms", "first_content_ms"))),
            only("success", "true", S("stop_reason"), array("gen_ai.response.finish_reasons")),
            optional(NEWER, S("gen_ai.operation.name", values="chat")),
            only("success", "true", optional(NEWER, S("gen_ai.response.model"))),
            only("success", "true", optional(NEWER, I("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"))),
            only("success", "true", optional(NEWER, I("gen_ai.usage.cache_read.input_tokens"))),
            only("success", "true", optional(NEWER, I("gen_ai.usage.cache_write.input_tokens"))),
            only("success", "false", optional("an answer with a status", I("status_code"))),
            only("success", "false", S("error")),
            only(
                "success",
                "false",
                S(
                    "error_class",
                    values="server_overload server_error rate_limit auth_error client_error connection_error",
                ),
            ),
            optional(
                DETAILED_TRACING,
                (
                    *S("new_context", "query_source", "response.model_output", "system_prompt_hash"),
                    *S("system_prompt_preview", "system_reminders", "tools"),
                    *I("new_context_message_count", "system_prompt_length", "system_reminders_count"),
                    *I("system_reminders_original_length", "tools_count", "result_tokens"),
                    *B("response.has_tool_call", "system_reminders_truncated"),
                ),
            ),
        ),
        parents=_PARENTS,
        fails=True,
        events={"gen_ai.request.attempt": table(I("attempt"))},
    ),
    "claude_code.tool": SpanRule(
        table(
            S("tool_name", "tool_name_safe", "gen_ai.tool.name"),
            S("gen_ai.operation.name", values="execute_tool"),
            program(CALL_ID, S("tool_use_id", "gen_ai.tool.call.id")),
            I("duration_ms"),
            _SUBAGENT,
            only("tool_name_safe", "mcp_other", S("anthropic.mcp.server.name")),
            only("tool_name", "Bash", program(COMMAND_TABLE, S("bash_command_class", "bash_argv0"))),
            only("tool_name", "Bash", details(S("full_command"))),
            details(S("file_path", "skill_name", "subagent_type")),
            optional(DETAILED_TRACING, (*S("tool_input", "new_context"), *I("result_tokens"))),
        ),
        parents=_PARENTS,
        events={
            "tool.output": table(optional("the tool", S("file_path", "content", "bash_command", "output", "diff")))
        },
    ),
    "claude_code.tool.blocked_on_user": SpanRule(
        table(I("duration_ms"), S("decision", values=DECISIONS), S("source", values=DECISION_SOURCES)),
        parents=_TOOL,
    ),
    "claude_code.tool.execution": SpanRule(
        table(
            program(CALL_ID, S("tool_use_id", "gen_ai.tool.call.id")),
            I("duration_ms"),
            B("success"),
            only("success", "false", S("error.type", values="tool_error"), S("error", "error_class")),
        ),
        parents=_TOOL,
        fails=True,
    ),
    "claude_code.hook": SpanRule(
        table(
            S("hook_event", "hook_name"),
            I("num_hooks", "duration_ms", "num_success", "num_blocking", "num_non_blocking_error", "num_cancelled"),
            details(S("hook_definitions")),
        ),
        parents=_PARENTS,
    ),
}
"""Wire name of each span to its rule. ``llm_request`` and ``tool`` of a subagent are under a ``tool.execution`` in what
was captured, and under a ``tool`` in the documentation: both are right."""

PARTLY_KNOWN = frozenset({"subagent.spawn", "bash.subprocess", "mcp.rpc", "compaction"})
"""Spans whose names are in the program and were never seen (section 6): only their names and types are checked."""
for _name in sorted(PARTLY_KNOWN):
    SPANS[f"claude_code.{_name}"] = SpanRule({}, frozenset({"", *SPANS}), closed=False)
