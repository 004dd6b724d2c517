"""The exporter ``logging``: telemetry as records of Python's logging, wherever the host sends those."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from claude_monitoring.exporters.records import to_dicts
from claude_monitoring.types import AttributeValue, ExportResult, Signal, Temporality

__all__ = ["LoggingExporter"]

_log = logging.getLogger("claude_monitoring.export")


class LoggingExporter:
    """One record at INFO for each data point, event and span, on the logger ``claude_monitoring.export``.

    The text is short; ``record.telemetry`` has the dictionary of ``records.to_dicts``.
    """

    name = "logging"
    temporality: Temporality = "cumulative"

    def __init__(self, signal: Signal) -> None:
        self._signal = signal

    def export(self, batch: Any, resource: Mapping[str, AttributeValue], timeout_s: float) -> ExportResult:  # noqa: ARG002
        """Log ``batch``; what the host's handlers raise is a failure of this export alone."""
        if not _log.isEnabledFor(logging.INFO):
            return ExportResult(ok=True)
        for row in to_dicts(self._signal, batch):
            _log.info("%s", _line(row), extra={"telemetry": row})
        return ExportResult(ok=True)

    def close(self) -> None:
        """Nothing of its own to free: handlers are the host's."""


def _line(row: Mapping[str, Any]) -> str:
    attributes = ", ".join(f"{key}={value}" for key, value in row["attributes"].items())
    if row["signal"] == "span":
        return f"span {row['name']} {row['duration_s']:.6g} s {row['status']} {{{attributes}}}"
    if row["signal"] == "event":
        return f"event {row['name']} {{{attributes}}}"
    count = f" in {row['count']}" if row["kind"] == "histogram" else ""
    return f"{row['name']} {row['value']:.15g}{row['unit'] and ' ' + row['unit']}{count} {{{attributes}}}"
