"""The rules of the events, as data: section 5 of the reference, in its order."""

from __future__ import annotations

from claude_monitoring.conformance.model import Attribute, Attributes, EventRule
from claude_monitoring.conformance.notation import (
    CALL_ID,
    DETAILED_TRACING,
    FIRST_TOKEN,
    MESSAGE_ID,
    PERMISSION_MODE,
    REQUEST_ID,
    UUID,
    B,
    D,
    I,
    N,
    S,
    array,
    details,
    only,
    optional,
    program,
    table,
)
from claude_monitoring.conformance.rules import ATTRIBUTION, DECISION_SOURCES, DECISIONS, EFFORTS

__all__ = ["EVENTS", "EVENT_COMMON", "IN_A_TURN"]

_TRUTH = "true false"
_OBJECT = r"(?s)\{.*\}"

EVENT_COMMON: Attributes = table(
    S("event.name"),
    S("event.timestamp", pattern=r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", form="ISO 8601 with milliseconds and Z"),
    I("event.sequence"),
    optional("not before the first prompt", S("prompt.id", pattern=UUID, form="a UUID")),
    optional("documented, never seen", (*array("workspace.host_paths"), *S("workflow.run_id", "workflow.name"))),
)
"""On every event beside the standard attributes."""

# Section 5: the metrics' own names for it are coarser, and none of them is right on an event.
_QUERY_SOURCE = S(
    "query_source",
    pattern=r"(?!(?:main|subagent|auxiliary)$)(?:agent:builtin:.+|agent:custom(?::.+)?|[a-z][a-z0-9_]*)",
    form="the finer name: sdk, repl_main_thread, agent:builtin:NAME, agent:custom, compact, hook_prompt, ...",
)
_SPEED = S("speed", values="normal fast")
_SUBAGENT = optional("caused by a subagent", S("agent_id", "parent_agent_id"))
_CLIENT_REQUEST_ID = optional("no custom base URL", S("client_request_id"))
_STATUS_CODE = optional("an answer with a status", I("status_code"))
_HOOK_RUN = (
    *S("hook_event", "hook_name", "hook_source"),
    *N("num_hooks"),
    *S("managed_only", "safe_mode", values=_TRUTH),
    *optional(DETAILED_TRACING, S("hook_definitions")),
)
_BODY = (
    *S("body", "model"),
    *N("body_length"),
    *optional("a body that was cut", S("body_truncated", values=_TRUTH)),
    *_QUERY_SOURCE,
    *S("request_body_id"),
    *optional("OTEL_LOG_RAW_API_BODIES=file:DIR", S("body_ref")),
)


def _event(*groups: tuple[Attribute, ...]) -> EventRule:
    return EventRule(table(*groups))


def _open(group: tuple[Attribute, ...]) -> EventRule:
    return EventRule(table(optional(DETAILED_TRACING, group)), closed=False)


EVENTS: dict[str, EventRule] = {
    "managed_settings_resolved": _event(
        S("managed_settings.trigger", "managed_settings.source_behavior"),
        S("managed_settings.helper.state", "managed_settings.helper.applied"),
        array("managed_settings.sources"),
    ),
    "plugin_loaded": _event(
        S("plugin.name", "marketplace.name", "plugin.scope", "enabled_via"),
        S("plugin_id_hash", pattern="[0-9a-f]{16}", form="16 hex digits"),
        B("has_hooks", "has_mcp", "host_owned_mcp"),
        I("skill_path_count", "command_path_count", "agent_path_count"),
        S("safe_mode", values=_TRUTH),
        optional("documented, never seen", S("plugin.version")),
    ),
    "hook_registered": _event(
        S("hook_event", "hook_type", "hook_source"), S("safe_mode", values=_TRUTH), details(S("hook_matcher"))
    ),
    "mcp_server_connection": _event(
        S("status", values="connected failed disconnected"),
        S("transport_type", "server_scope"),
        N("duration_ms"),
        B("is_plugin"),
        only("status", "failed", optional("the kind of fault", S("error_code")), details(S("error"))),
        details(S("server_name")),
    ),
    "user_prompt": _event(
        N("prompt_length"),
        S("prompt", "prompt_text"),
        program(MESSAGE_ID, S("message.uuid", pattern=UUID, form="a UUID")),
        optional("a command", (*S("command_name"), *S("command_source", values="builtin custom"))),
    ),
    "at_mention": _event(S("mention_type"), S("success", values=_TRUTH)),
    "skill_activated": _event(
        S("skill.name", "invocation_trigger", "skill.source"),
        optional("documented, never seen", S("skill.kind", "plugin.name", "marketplace.name")),
    ),
    "api_request": _event(
        S("model"),
        I("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens"),
        I("cache_creation_5m_tokens", "cache_creation_1h_tokens", "cost_usd_micros", "duration_ms"),
        D("cost_usd"),
        program(FIRST_TOKEN, I("ttft_ms")),
        program(REQUEST_ID, S("request_id")),
        _CLIENT_REQUEST_ID,
        _SPEED,
        _QUERY_SOURCE,
        ATTRIBUTION,
        _SUBAGENT,
    ),
    "assistant_response": _event(
        I("response_length"),
        S("response", "model"),
        program(REQUEST_ID, S("request_id")),
        program(MESSAGE_ID, S("message.uuid", pattern=UUID, form="a UUID")),
        _QUERY_SOURCE,
        _SUBAGENT,
    ),
    "api_error": _event(
        S("model", "error"),
        _STATUS_CODE,
        I("duration_ms", "attempt"),
        optional("an answer with an id", S("request_id")),
        _CLIENT_REQUEST_ID,
        _SPEED,
        _QUERY_SOURCE,
        ATTRIBUTION,
        _SUBAGENT,
    ),
    "api_retries_exhausted": _event(
        S("model", "error"),
        _STATUS_CODE,
        I("total_attempts", "total_retry_duration_ms"),
        _SPEED,
        _QUERY_SOURCE,
        _SUBAGENT,
    ),
    "api_refusal": _event(
        S("model"),
        program(REQUEST_ID, S("request_id")),
        _SPEED,
        I("attempt"),
        B("server_fallback_hop", "has_category", "has_explanation"),
        _QUERY_SOURCE,
        details(S("category")),
        optional("models with effort levels", S("effort", values=EFFORTS)),
        _SUBAGENT,
    ),
    "tool_decision": _event(
        S("decision", values=DECISIONS),
        S("source", values=DECISION_SOURCES),
        S("tool_name"),
        program(CALL_ID, S("tool_use_id")),
        S("tool_source", values="builtin mcp"),
        details(S("tool_parameters", pattern=_OBJECT, form="a JSON object")),
        program(PERMISSION_MODE, S("permission_mode")),
        program(REQUEST_ID, S("request_id")),
        _SUBAGENT,
    ),
    "tool_result": _event(
        S("tool_name"),
        program(CALL_ID, S("tool_use_id")),
        S("success", values=_TRUTH),
        N("duration_ms", "tool_input_size_bytes"),
        only("success", "true", N("tool_result_size_bytes")),
        only("success", "false", S("error_type"), details(S("error"))),
        details(S("tool_parameters", "tool_input", pattern=_OBJECT, form="a JSON object")),
        only("tool_name", "mcp_tool", S("mcp_server_scope")),
        details(S("vcs.ref.head.revision", "vcs.ref.head.name", "vcs.ref.head.type")),
        optional(
            "a person decided at a terminal",
            (*S("decision_source", values=DECISION_SOURCES), *S("decision_type", values=DECISIONS)),
        ),
        program(REQUEST_ID, S("request_id")),
        _SUBAGENT,
    ),
    "permission_mode_changed": _event(
        S("from_mode", "to_mode"), optional("not when set over the SDK's channel", S("trigger"))
    ),
    "hook_execution_start": _event(_HOOK_RUN),
    "hook_execution_complete": _event(
        _HOOK_RUN,
        N("num_success", "num_blocking", "num_non_blocking_error", "num_cancelled", "total_duration_ms"),
        N("stdout_chars", "additional_context_chars", "system_message_chars", "initial_user_message_chars"),
        N("num_outputs_persisted"),
    ),
    "subagent_completed": _event(
        S("agent_type", "agent.source", "model", "final_model"),
        B("is_built_in", "is_async", "model_swapped"),
        I("total_tokens", "total_tool_uses", "duration_ms"),
        _SUBAGENT,
    ),
    "compaction": _event(
        S("trigger", values="manual auto"),
        S("success", values=_TRUTH),
        N("duration_ms", "pre_tokens"),
        optional("failed ones were never seen", (*N("post_tokens"), *S("error"))),
        program("how the program reuses a summary that it made ahead", S("precompute_reuse")),
    ),
    "retention_sweep": _event(
        S("result"),
        N("period_days", "transcripts_deleted", "transcripts_exempted_desktop", "session_files_deleted"),
        N("artifacts_deleted", "files_retained_fresh", "files_past_cutoff", "error_count", "history_entries_pruned"),
        S("used_default", values=_TRUTH),
    ),
    "api_request_body": _event(_BODY, _SUBAGENT),
    "api_response_body": _event(
        _BODY,
        program(REQUEST_ID, S("request_id")),
        program(MESSAGE_ID, S("message.id", "message.uuid")),
        _SUBAGENT,
    ),
    # Detailed beta tracing: texts, hashes and lengths without a stable schema.
    "system_prompt": _open(S("system_prompt", "system_prompt_hash", "system_prompt_length", "system_prompt_truncated")),
    "tool": _open(S("tool", "tool_hash", "tool_name", "tool_truncated")),
    # Documented, or seen in the program by name (section 13).
    "auth": EventRule({}, closed=False),
    "internal_error": EventRule({}, closed=False),
    "plugin_installed": EventRule({}, closed=False),
    "hook_plugin_metrics": EventRule({}, closed=False),
    "feedback_survey": EventRule({}, closed=False),
    "safety_event": EventRule({}, closed=False),
}
"""Name without ``claude_code.`` to the rule of the event."""

IN_A_TURN = frozenset(
    {
        "user_prompt", "at_mention", "skill_activated", "api_request", "assistant_response", "api_error",
        "api_retries_exhausted", "api_refusal", "tool_decision", "tool_result", "hook_execution_start",
        "hook_execution_complete", "subagent_completed", "compaction", "api_request_body", "api_response_body",
    }
)  # fmt: skip
"""Events that have ``prompt.id``, from the first prompt of their session on."""
