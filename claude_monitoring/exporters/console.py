"""The exporter ``console``: JSON on standard output, one object a line, easy to grep and to parse.

The keys are those of ``records.to_dicts``; ``signal`` is ``metric``, ``event`` or ``span``. Claude Code's own
console exporter prints JavaScript objects over many lines, which nothing parses.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from claude_monitoring.exporters.records import to_dicts
from claude_monitoring.types import AttributeValue, ExportResult, Signal, Temporality

__all__ = ["ConsoleExporter"]


class ConsoleExporter:
    """Prints a batch to what ``sys.stdout`` is at that moment, and flushes."""

    name = "console"
    temporality: Temporality = "cumulative"

    def __init__(self, signal: Signal) -> None:
        self._signal = signal

    def export(self, batch: Any, resource: Mapping[str, AttributeValue], timeout_s: float) -> ExportResult:  # noqa: ARG002
        """Print ``batch``; a closed or broken standard output is a failure, never an exception."""
        lines = [json.dumps(row, default=str) + "\n" for row in to_dicts(self._signal, batch)]
        out = sys.stdout
        if out is None:
            return ExportResult(ok=False, error="this program has no standard output; use another exporter")
        try:
            out.write("".join(lines))
            out.flush()
        except (OSError, ValueError) as exc:
            return ExportResult(
                ok=False, error=f"standard output can't be written ({exc}); is its reader gone? Use another exporter"
            )
        return ExportResult(ok=True)

    def close(self) -> None:
        """Nothing of its own to free: standard output is the host's."""
