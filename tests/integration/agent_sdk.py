"""Runs agents of the Claude Agent SDK offline, watched by ``integrations.claude_agent_sdk``."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from claude_monitoring import AgentMonitor, Settings
from claude_monitoring.integrations.claude_agent_sdk import instrument, uninstrument
from claude_monitoring.receiver import OtlpReceiver
from claude_monitoring.receiver.model import Log, Point, Span
from claude_monitoring.testing.fake_anthropic import FakeAnthropic
from tests.integration.claude_code import ClaudeCode, claude_program, no_network, otlp_environment
from tests.integration.story import MODEL

__all__ = ["OURS", "THEIRS", "Stage", "events", "options", "points", "spans", "stage", "sums"]

OURS, THEIRS = "ours", "claude-code"
_KEPT = ("PATH", "LANG", "TMPDIR", "COVERAGE", "PYTEST", "CI")
_STANDARD = ("user.id", "session.id", "anthropic.provider", "anthropic.custom_base_url", "terminal.type")


class Stage:
    """A fake API, a receiver, a Claude Code, and a monitor that is called ``ours``."""

    def __init__(self, folder: Path, api: FakeAnthropic, otlp: OtlpReceiver, more: dict[str, str]) -> None:
        self.api, self.otlp = api, otlp
        self.environ = otlp_environment(otlp.http_endpoint, **more)
        self.claude = ClaudeCode(folder, api.base_url)
        temporality = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
        ours = {**self.environ, "OTEL_SERVICE_NAME": OURS, "ANTHROPIC_BASE_URL": api.base_url, **temporality}
        self.monitor = AgentMonitor("backend", project_name="books", settings=Settings.load(ours))

    def options(self, **more: Any) -> Any:
        """The SDK's options, without the program's own telemetry."""
        return options(self.claude, **more)

    def total(self, metric: str, **attributes: Any) -> float:
        """Of ours, by now."""
        self.monitor.flush()
        wanted = attributes.items()
        return sum(
            value for (name, pairs), value in sums(self.otlp, OURS).items() if name == metric and wanted <= set(pairs)
        )


def options(claude: ClaudeCode, **more: Any) -> Any:
    """The SDK's options for a program that sees nothing of this machine."""
    from claude_agent_sdk import ClaudeAgentOptions

    env = {**claude.env, **more.pop("env", {})}
    given = {"model": MODEL, "permission_mode": "bypassPermissions", "setting_sources": [], **more}
    return ClaudeAgentOptions(cwd=str(claude.work), env=env, **given)


@contextmanager
def stage(folder: Path, *answers: Any, mode: Any = "observe", **more: str) -> Iterator[Stage]:
    """All of it, instrumented; ``more`` are variables for both sides."""
    claude_program()  # or the test is skipped
    with pytest.MonkeyPatch.context() as patch, no_network(), FakeAnthropic(*answers) as api:
        for name in list(os.environ):
            if not name.startswith(_KEPT):
                patch.delenv(name)
        with OtlpReceiver(grpc=False) as otlp:
            made = Stage(folder, api, otlp, more)
            instrument(made.monitor, mode=mode)
            try:
                yield made
            finally:
                uninstrument()
                made.monitor.close()


def _of(record: Any, service: str) -> bool:
    return bool(record.resource["service.name"] == service)


def points(otlp: OtlpReceiver, service: str) -> list[Point]:
    """Claude Code's metrics from ``service``."""
    return [one for one in otlp.metrics if _of(one, service) and one.metric.startswith("claude_code.")]


def sums(otlp: OtlpReceiver, service: str) -> dict[tuple[str, tuple[tuple[str, Any], ...]], float]:
    """Totals by metric and attributes, without the standard ones. ``agent.name`` is kept where Claude Code has it."""
    found: defaultdict[tuple[str, tuple[tuple[str, Any], ...]], float] = defaultdict(float)
    for point in points(otlp, service):
        ours = () if point.attributes.get("query_source") == "subagent" else ("agent.name",)
        left_out = {*_STANDARD, *ours, "project.name"}
        kept = tuple(sorted((key, value) for key, value in point.attributes.items() if key not in left_out))
        found[point.metric, kept] += point.value or 0
    return dict(found)


def events(otlp: OtlpReceiver, service: str) -> list[Log]:
    """Claude Code's events from ``service`` in their order, those about the program itself left out."""
    own = ("hook_", "plugin_loaded", "managed_settings_resolved", "retention_sweep", "mcp_server_connection")
    logs = [one for one in otlp.logs if _of(one, service) and one.scope_name == "com.anthropic.claude_code.events"]
    kept = [one for one in logs if not str(one.body).removeprefix("claude_code.").startswith(own)]
    return sorted(kept, key=lambda one: int(str(one.attributes["event.sequence"])))


def spans(otlp: OtlpReceiver, service: str) -> list[tuple[Span, str]]:
    """Spans from ``service`` in the order in which they began, each with its parent's name."""
    own = sorted((one for one in otlp.spans if _of(one, service)), key=lambda one: (one.start_unix_nano, one.name))
    names = {one.span_id: one.name for one in own}
    return [(one, names.get(one.parent_span_id, "")) for one in own]
