"""Every metric that we know by name, as data; instruments, the Prometheus names and the reference page come from it.

Native rows are copied from captures of Claude Code 2.1.330 (reference section 4), framework rows from the
customer's metrics reference (design section 3b).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from claude_monitoring.types import Kind

__all__ = [
    "ACCOUNT_KEYS",
    "CATALOG",
    "DURATION_BOUNDS_S",
    "EVENTS_SCOPE",
    "FRAMEWORK_SCOPE",
    "IDENTIFIERS",
    "NATIVE_EVENTS",
    "NATIVE_SCOPE",
    "TRACING_SCOPE",
    "TRACING_VERSION",
    "MetricSpec",
    "render_markdown",
]

NATIVE_SCOPE = "com.anthropic.claude_code"
EVENTS_SCOPE = "com.anthropic.claude_code.events"
TRACING_SCOPE = "com.anthropic.claude_code.tracing"
TRACING_VERSION = "1.0.0"
"""A constant, whatever the version of the program (reference section 2)."""
FRAMEWORK_SCOPE = "claude_monitoring"

DURATION_BOUNDS_S = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
    7200.0, 14400.0,
)  # fmt: skip
"""Upper bounds of histogram buckets in seconds: one model call takes milliseconds, an agent's task hours."""

Base = Literal["native", "framework", "agent", "none"]

ACCOUNT_KEYS = frozenset({"user.email", "user.account_uuid", "user.account_id", "organization.id"})
"""Attributes of an account, which a caller sets as such (reference section 3)."""

_BASE_KEYS: dict[Base, tuple[str, ...]] = {
    "native": (
        "user.id", "session.id", "app.version", "app.entrypoint", *sorted(ACCOUNT_KEYS), "vcs.repository.url.full",
        "vcs.owner.name", "vcs.repository.name", "vcs.provider.name", "anthropic.provider", "anthropic.custom_base_url",
        "terminal.type", "agent.name", "project.name",
    ),
    "framework": ("agent", "project", "sprint"),
    "agent": ("agent",),
    "none": (),
}  # fmt: skip

IDENTIFIERS = frozenset({"agent", "agent.name", "task_type", "status", "file_type", "gate", "result"})
"""Labels whose values are names that we or the caller made up: ``Backend`` and ``backend`` are one agent.

Models, tools, error types, projects and sprints are spelled by others and stay as they are.
"""


class MetricSpec(NamedTuple):
    """One metric: its wire name, kind and unit, and the attributes it takes.

    ``base`` says which attributes the monitor adds: Claude Code's standard ones (``native``); ``agent``,
    ``project`` and ``sprint`` (``framework``); ``agent`` alone; or none. ``keys`` are the metric's own.
    ``max_series`` and ``max_label_values`` are the metric's own bounds, where the settings' do not fit.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    keys: tuple[str, ...] = ()
    base: Base = "framework"
    bounds: tuple[float, ...] = DURATION_BOUNDS_S
    max_series: int | None = None
    max_label_values: int | None = None

    @property
    def base_keys(self) -> tuple[str, ...]:
        """The keys that the monitor may add."""
        return _BASE_KEYS[self.base]

    @property
    def is_about_ourselves(self) -> bool:
        """Whether the metric says how recording and delivery are doing."""
        return self.base == "none"

    @property
    def scope(self) -> str:
        """The instrumentation scope under which it is sent."""
        return NATIVE_SCOPE if self.base == "native" else FRAMEWORK_SCOPE


def _native(name: str, unit: str, description: str, *keys: str) -> MetricSpec:
    return MetricSpec(f"claude_code.{name}", "counter", unit, description, keys, "native")


def _own(name: str, kind: Kind, unit: str, description: str, *keys: str) -> MetricSpec:
    # As many series as there are metrics, so the bound of a label would be too small.
    return MetricSpec(f"claude.monitoring.{name}", kind, unit, description, keys, "none", max_label_values=2_000)


_USAGE = ("model", "query_source", "effort", "speed", "agent.name", "skill.name", "plugin.name")

_ROWS = (
    _native("session.count", "", "Count of CLI sessions started", "start_type"),
    _native(
        "lines_of_code.count",
        "",
        "Count of lines of code modified, with the 'type' attribute indicating whether lines were added or removed "
        "and the 'model' attribute indicating which model made the change",
        "type",
        "model",
    ),
    _native("pull_request.count", "", "Number of pull requests created"),
    _native("commit.count", "", "Number of git commits created"),
    _native("cost.usage", "USD", "Cost of the Claude Code session", *_USAGE),
    _native("token.usage", "tokens", "Number of tokens used", "type", *_USAGE),
    _native(
        "code_edit_tool.decision",
        "",
        "Count of code editing tool permission decisions (accept/reject) for Edit, Write, and NotebookEdit tools",
        "decision",
        "source",
        "tool_name",
        "language",
    ),
    _native("active_time.total", "s", "Total active time in seconds", "type"),
    MetricSpec("claude.sessions", "counter", "{session}", "Sessions started"),
    MetricSpec("claude.sessions.active", "up_down_counter", "{session}", "Sessions under way"),
    MetricSpec("claude.session.duration", "histogram", "s", "Time from a session's start to its end"),
    MetricSpec("claude.tasks", "counter", "{task}", "Tasks finished, by outcome", ("task_type", "status")),
    MetricSpec("claude.tasks.active", "up_down_counter", "{task}", "Tasks under way", ("task_type",)),
    MetricSpec("claude.task.duration", "histogram", "s", "Time that a task took", ("task_type", "status")),
    MetricSpec("claude.task.throughput", "gauge", "", "Items per second of the latest task", ("task_type",)),
    MetricSpec("claude.lines_added", "counter", "{line}", "Lines of code added", ("file_type",)),
    MetricSpec("claude.lines_deleted", "counter", "{line}", "Lines of code removed", ("file_type",)),
    MetricSpec("claude.files_modified", "counter", "{file}", "Files changed"),
    MetricSpec("claude.files_read", "counter", "{file}", "Files read"),
    MetricSpec("claude.tokens.input", "counter", "{token}", "Tokens sent, those of the cache left out", ("model",)),
    MetricSpec("claude.tokens.output", "counter", "{token}", "Tokens received", ("model",)),
    MetricSpec("claude.api.calls", "counter", "{call}", "Calls of a model's API", ("model",)),
    MetricSpec("claude.api.cost_usd", "counter", "", "Cost of API calls in US dollars", ("model",)),
    MetricSpec("claude.tool.calls", "counter", "{call}", "Tool calls, by outcome", ("tool", "status")),
    MetricSpec("claude.errors", "counter", "{error}", "Errors, by type", ("error_type",)),
    MetricSpec("claude.response_time", "histogram", "s", "Time that a model's answer took", ("model",)),
    MetricSpec("claude.concurrent_requests", "up_down_counter", "", "API requests under way"),
    MetricSpec("claude.agent.efficiency_score", "gauge", "", "Story points per token of the latest task"),
    MetricSpec("claude.agent.quality_score", "gauge", "", "Quality of the latest work, 0 to 1"),
    MetricSpec("claude.agent.collaboration_score", "gauge", "", "Collaboration of the agent, 0 to 1"),
    MetricSpec("claude.agent.xp", "gauge", "", "Experience points of the agent", (), "agent"),
    MetricSpec("claude.agent.level", "gauge", "", "Level of the agent", (), "agent"),
    MetricSpec("claude.features.delivered", "counter", "{feature}", "Features delivered"),
    MetricSpec("claude.story_points.delivered", "counter", "{point}", "Story points delivered"),
    MetricSpec("claude.bugs_introduced", "counter", "{bug}", "Bugs introduced"),
    MetricSpec("claude.patterns_extracted", "counter", "{pattern}", "Patterns extracted"),
    MetricSpec("claude.context.usage", "gauge", "%", "Share of the context window in use", (), "agent"),
    MetricSpec("claude.pattern.loads", "counter", "{load}", "Patterns loaded", ("pattern",), "agent"),
    MetricSpec("claude.quality_gate", "counter", "{gate}", "Quality gates checked", ("gate", "result")),
    _own("series.kept", "gauge", "{series}", "Series kept of a metric", "metric"),
    _own(
        "series.collapsed", "gauge", "{value}", "Values of a label that share its value __other__, estimated",
        "metric", "label",
    ),
    _own("series.retired", "counter", "{series}", "Series let go after what they stood for had ended", "metric"),
    _own("series.refused", "counter", "{measurement}", "Measurements that a bound kept out, see policies", "metric"),
    _own(
        "exports", "counter", "{export}", "Attempts to deliver, by result: ok or failed", "exporter", "signal", "result"
    ),
    _own("dropped", "counter", "{item}", "What was recorded and lost, by reason", "reason"),
)  # fmt: skip

CATALOG: dict[str, MetricSpec] = {spec.name: spec for spec in _ROWS}
"""Wire name to its row, in the order in which Claude Code sends its own."""

NATIVE_EVENTS = frozenset(
    {
        "user_prompt", "at_mention", "skill_activated", "api_request", "assistant_response", "api_error",
        "api_retries_exhausted", "api_refusal", "tool_decision", "tool_result", "permission_mode_changed",
        "hook_registered", "hook_execution_start", "hook_execution_complete", "mcp_server_connection",
        "subagent_completed", "compaction",
    }
)  # fmt: skip
"""Events that Claude Code names and an agent may send under the same name (reference section 5)."""


def render_markdown(exposed_name: dict[str, str]) -> str:
    """The reference page of the metrics; ``exposed_name`` maps wire names to Prometheus names."""
    base = {"native": "standard", "framework": "`agent`, `project`, `sprint`", "agent": "`agent`", "none": ""}
    lines = [
        "# Metrics",
        "",
        "Made from `claude_monitoring/_catalog.py` by `python docs/render_reference.py`; a test keeps the two equal.",
        "",
        "| wire name | on our `/metrics` | kind | unit | attributes | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for spec in CATALOG.values():
        keys = ", ".join(filter(None, [base[spec.base], *(f"`{key}`" for key in spec.keys)]))
        unit = f"`{spec.unit}`" if spec.unit else ""
        lines.append(
            f"| `{spec.name}` | `{exposed_name[spec.name]}` | {spec.kind.replace('_', '-')} | {unit} | {keys} "
            f"| {spec.description} |"
        )
    return "\n".join(lines) + "\n"
