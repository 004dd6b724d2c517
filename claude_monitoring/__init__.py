"""Telemetry for AI agents in Python, under the names that Claude Code uses.

``AgentMonitor`` records; the environment (``CLAUDE_CODE_ENABLE_TELEMETRY``, ``OTEL_*``) says where it goes.
"""

from __future__ import annotations

from claude_monitoring._decorators import track_performance, track_quality, track_task
from claude_monitoring._health import ExporterHealth, Health
from claude_monitoring._llm_requests import LlmRequest
from claude_monitoring._monitor import AgentMonitor
from claude_monitoring._scopes import Session
from claude_monitoring._settings import Settings
from claude_monitoring._task import Task
from claude_monitoring._tool_uses import ToolUse
from claude_monitoring._turns import Interaction
from claude_monitoring._version import __version__
from claude_monitoring.errors import (
    CardinalityError,
    ClaudeMonitoringError,
    ConfigurationError,
    MissingExtraError,
    QualityGateError,
)

__all__ = [
    "AgentMonitor",
    "CardinalityError",
    "ClaudeMonitoringError",
    "ConfigurationError",
    "ExporterHealth",
    "Health",
    "Interaction",
    "LlmRequest",
    "MissingExtraError",
    "QualityGateError",
    "Session",
    "Settings",
    "Task",
    "ToolUse",
    "__version__",
    "track_performance",
    "track_quality",
    "track_task",
]
