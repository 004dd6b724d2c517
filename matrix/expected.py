"""The oracle: what must arrive, by arithmetic on the scenario. It knows the conventions, and nothing of the package.

Names, units and scopes are those of ``shared/design.md`` (3b) and of the captures of Claude Code (3a); prices are
Anthropic's list prices of the model, in US dollars for a million tokens.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from matrix.scenarios import Scenario

Key = frozenset[tuple[str, Any]]
Number = float | tuple[int, float | None]
"""The value of a series; of a histogram its count and its sum, ``None`` if that depends on the clock."""

MODEL = "claude-sonnet-4-5"
USER = "5" * 64
SERVICE = "matrix-probe"
NATIVE, OURS = "com.anthropic.claude_code", "claude_monitoring"
SELF_REPORT = "claude.monitoring."
"""Begin of the names of what the package says about itself; not part of the workload."""


@dataclass(frozen=True)
class Metric:
    """One metric with all its series at the end of the run."""

    name: str
    unit: str
    kind: str
    monotonic: bool
    scope: str
    series: Mapping[Key, Number]


def package_version() -> str:
    """The version that scopes and resource must carry."""
    return version("claude-monitoring")


def resource(scenario: Scenario) -> dict[str, Any]:
    """The attributes of the resource but ``service.instance.id``, which is a new UUID in every process."""
    machine = platform.machine().lower()
    return {
        "service.name": SERVICE,
        "service.version": package_version(),
        "os.type": platform.system().lower(),
        "os.version": platform.release(),
        "host.arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
        "matrix.scenario": scenario.id,
    }


def standard(scenario: Scenario) -> dict[str, Any]:
    """What each native point and each event carries, but ``session.id``, which is a new UUID."""
    return who(scenario) | {
        "anthropic.provider": "firstParty",
        "anthropic.custom_base_url": False,
        "terminal.type": "matrix",
        "user.id": USER,
    }


def who(scenario: Scenario) -> dict[str, Any]:
    """What each of the framework's spans carries, the session's id left out."""
    return {"agent.name": "probe", "project.name": "matrix", "matrix.scenario": scenario.id}


def _tokens(steps: range) -> dict[str, float]:
    return {
        "input": sum(100 + step for step in steps),
        "output": sum(10 + step for step in steps),
        "cacheRead": sum(1000 for _ in steps),
        "cacheCreation": sum(20 for _ in steps),
    }


def cost_usd(steps: range) -> float:
    """What the tokens of these steps cost."""
    prices = {"input": 3.0, "output": 15.0, "cacheRead": 0.3, "cacheCreation": 3.75}
    return sum(prices[kind] * tokens for kind, tokens in _tokens(steps).items()) / 1e6


def metrics(scenario: Scenario) -> list[Metric]:
    """Every metric of the workload; the session's id is not among the attributes."""
    return [*_native(scenario), *_framework(scenario)]


def _native(scenario: Scenario) -> Iterator[Metric]:
    steps = range(scenario.steps)
    base = standard(scenario)

    def metric(name: str, unit: str, *series: tuple[dict[str, Any], float]) -> Metric:
        whole = {frozenset((base | more).items()): value for more, value in series}
        return Metric(f"claude_code.{name}", unit, "sum", scope=NATIVE, series=whole, monotonic=True)

    spent = {"model": MODEL, "query_source": "main"}
    edit = {"tool_name": "Edit", "source": "config", "language": "Python"}
    odd = sum(step % 2 for step in steps)
    yield metric("session.count", "", ({"start_type": "fresh"}, 1))
    yield metric("token.usage", "tokens", *(({"type": kind, **spent}, n) for kind, n in _tokens(steps).items()))
    yield metric("cost.usage", "USD", (spent, cost_usd(steps)))
    yield metric(
        "lines_of_code.count",
        "",
        ({"type": "added", "model": MODEL}, sum(3 + step for step in steps)),
        ({"type": "removed", "model": MODEL}, len(steps)),
    )
    yield metric(
        "code_edit_tool.decision",
        "",
        ({"decision": "accept", **edit}, odd),
        ({"decision": "reject", **edit}, len(steps) - odd),
    )
    yield metric("active_time.total", "s", ({"type": "cli"}, 0.5 * len(steps)))
    yield metric("commit.count", "", ({}, len(steps)))


def _framework(scenario: Scenario) -> Iterator[Metric]:
    steps = range(scenario.steps)
    agent = {"agent": "probe", "project": "matrix", "sprint": "6b"}

    def metric(
        kind: str, name: str, unit: str, *series: tuple[dict[str, Any], Number], base: Mapping[str, Any] = agent
    ) -> Metric:
        whole = {frozenset((dict(base) | more).items()): value for more, value in series}
        shape = {"counter": ("sum", True), "up_down": ("sum", False)}.get(kind, (kind, False))
        return Metric(f"claude.{name}", unit, *shape, OURS, whole)

    model, tokens, last = {"model": MODEL}, _tokens(steps), steps[-1]
    kinds = ("feature", "bugfix", "docs")
    by_type = Counter(kinds[step % 3] for step in steps)
    failed = sum(step % 5 == 4 for step in steps)
    yield metric("counter", "sessions", "{session}", ({}, 1))
    yield metric("up_down", "sessions.active", "{session}", ({}, 0))
    yield metric("histogram", "session.duration", "s", ({}, (1, None)))
    yield metric("gauge", "agent.level", "", ({}, 2), base={"agent": "probe"})
    yield metric(
        "counter", "tasks", "{task}", *(({"task_type": kind, "status": "ok"}, n) for kind, n in by_type.items())
    )
    yield metric("up_down", "tasks.active", "{task}", *(({"task_type": kind}, 0) for kind in by_type))
    yield metric(
        "histogram",
        "task.duration",
        "s",
        *(({"task_type": kind, "status": "ok"}, (n, None)) for kind, n in by_type.items()),
    )
    yield metric("counter", "features.delivered", "{feature}", ({}, by_type["feature"]))
    yield metric("counter", "story_points.delivered", "{point}", ({}, sum(1 + step % 4 for step in steps)))
    yield metric("gauge", "agent.efficiency_score", "", ({}, (1 + last % 4) / (110 + 2 * last)))
    yield metric("counter", "tokens.input", "{token}", (model, tokens["input"]))
    yield metric("counter", "tokens.output", "{token}", (model, tokens["output"]))
    yield metric("counter", "api.calls", "{call}", (model, len(steps)))
    yield metric("counter", "api.cost_usd", "", (model, cost_usd(steps)))
    yield metric("counter", "lines_added", "{line}", ({"file_type": "python"}, sum(3 + step for step in steps)))
    yield metric("counter", "lines_deleted", "{line}", ({"file_type": "python"}, len(steps)))
    yield metric("counter", "files_modified", "{file}", ({}, len(steps)))
    yield metric(
        "counter",
        "tool.calls",
        "{call}",
        ({"tool": "Read", "status": "ok"}, len(steps) - failed),
        ({"tool": "Read", "status": "error"}, failed),
    )
    yield metric("counter", "errors", "{error}", ({"error_type": "LookupError"}, sum(step % 4 == 3 for step in steps)))
    odd = sum(step % 2 for step in steps)
    yield metric("counter", "probe_steps", "", ({"phase": "odd"}, 2 * odd), ({"phase": "even"}, 2 * (len(steps) - odd)))
    yield metric("histogram", "probe_size", "", ({}, (len(steps), float(4 * sum(steps)))))
    yield metric("gauge", "probe_level", "", ({}, last))


def events(scenario: Scenario) -> list[dict[str, Any]]:
    """The attributes of each event but its time and the session's id, in the order of its sequence number."""
    return [
        standard(scenario)
        | {"event.name": "probe_step", "event.sequence": step}
        | {"step": step, "last": False, "share": 0.5, "note": f"step {step}"}
        for step in range(scenario.steps)
    ]


def spans(scenario: Scenario) -> dict[str, dict[str, Any]]:
    """The attributes of each span but the session's id, by its name; ``step 0/probe_work`` lies within ``step 0``."""
    found: dict[str, dict[str, Any]] = {}
    base = who(scenario) | {"sprint": "6b"}
    for step in range(scenario.steps):
        found[f"step {step}"] = base | {
            "task.type": ("feature", "bugfix", "docs")[step % 3],
            "task.complexity": 1 + step % 4,
            "task.input_tokens": 100 + step,
            "task.output_tokens": 10 + step,
            "task.tool_calls": 1,
            "task.cost_usd": cost_usd(range(step, step + 1)),
        }
        found[f"step {step}/probe_work"] = base | {"step": step}
    return found


def answer(scenario: Scenario) -> int:
    """The program's own result."""
    return sum(sum(range(step)) for step in range(scenario.steps))


PROMETHEUS_NAMES = {
    "claude_code.session.count": "claude_code_session_count_total",
    "claude_code.token.usage": "claude_code_token_usage_total",
    "claude_code.cost.usage": "claude_code_cost_usage_total",
    "claude_code.lines_of_code.count": "claude_code_lines_of_code_count_total",
    "claude_code.code_edit_tool.decision": "claude_code_code_edit_tool_decision_total",
    "claude_code.active_time.total": "claude_code_active_time_total",
    "claude_code.commit.count": "claude_code_commit_count_total",
    "claude.sessions": "claude_sessions_total",
    "claude.sessions.active": "claude_sessions_active",
    "claude.session.duration": "claude_session_duration_seconds",
    "claude.agent.level": "claude_agent_level",
    "claude.tasks": "claude_tasks_total",
    "claude.tasks.active": "claude_tasks_active",
    "claude.task.duration": "claude_task_duration_seconds",
    "claude.features.delivered": "claude_features_delivered_total",
    "claude.story_points.delivered": "claude_story_points_delivered_total",
    "claude.agent.efficiency_score": "claude_agent_efficiency_score",
    "claude.tokens.input": "claude_tokens_input_total",
    "claude.tokens.output": "claude_tokens_output_total",
    "claude.api.calls": "claude_api_calls_total",
    "claude.api.cost_usd": "claude_api_cost_usd_total",
    "claude.lines_added": "claude_lines_added_total",
    "claude.lines_deleted": "claude_lines_deleted_total",
    "claude.files_modified": "claude_files_modified_total",
    "claude.tool.calls": "claude_tool_calls_total",
    "claude.errors": "claude_errors_total",
    "claude.probe_steps": "claude_probe_steps_total",
    "claude.probe_size": "claude_probe_size",
    "claude.probe_level": "claude_probe_level",
}
"""What each metric is called where Prometheus reads it: the design's table, and Claude Code's own ``/metrics``."""


COLLECTOR_NAMES = PROMETHEUS_NAMES | {
    "claude_code.token.usage": "claude_code_token_usage_tokens_total",
    "claude_code.cost.usage": "claude_code_cost_usage_USD_total",
    "claude_code.active_time.total": "claude_code_active_time_seconds_total",
}
"""The same through a Collector, which adds units to Claude Code's names."""


def exposed(scenario: Scenario) -> dict[str, dict[Key, Number]]:
    """Names and labels to values, as Prometheus has them while the probe's session is still open."""
    found = _samples(scenario, PROMETHEUS_NAMES)
    found["claude_sessions_active"] = dict.fromkeys(found["claude_sessions_active"], 1)
    del found["claude_session_duration_seconds_count"]
    return found


def collected(scenario: Scenario) -> dict[str, dict[Key, Number]]:
    """Names and labels to values, as a Collector's Prometheus exporter has them at the end."""
    return _samples(scenario, COLLECTOR_NAMES)


def _samples(scenario: Scenario, names: Mapping[str, str]) -> dict[str, dict[Key, Number]]:
    found: dict[str, dict[Key, Number]] = {}
    for metric in metrics(scenario):
        name = names[metric.name]
        for attributes, value in metric.series.items():
            labels = {key.replace(".", "_"): _label(item) for key, item in attributes}
            labels["otel_scope_name"] = metric.scope
            key = frozenset(labels.items())
            if isinstance(value, tuple):
                found.setdefault(f"{name}_count", {})[key] = value[0]
                if value[1] is not None:
                    found.setdefault(f"{name}_sum", {})[key] = value[1]
            else:
                found.setdefault(name, {})[key] = value
    return found


def _label(value: Any) -> str:
    """A value as Prometheus has it: booleans in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)
