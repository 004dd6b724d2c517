"""Exporters, each loaded when the settings ask for it; ``CustomExporter`` is the base class for your own."""

from __future__ import annotations

from claude_monitoring._settings import Settings
from claude_monitoring.errors import ConfigurationError
from claude_monitoring.exporters.custom import CustomExporter
from claude_monitoring.exporters.records import Metric
from claude_monitoring.types import Signal, SignalExporter

__all__ = ["CustomExporter", "Metric", "make_exporter"]


def make_exporter(kind: str, signal: Signal, settings: Settings) -> SignalExporter:
    """The exporter that pushes ``signal``; ``prometheus`` is pulled, see ``PrometheusServer``.

    Args:
        kind: ``otlp``, ``console`` or ``logging``.
        signal: What it is to deliver.
        settings: Where to, and how.

    Raises:
        ConfigurationError: There is no such exporter for this signal.
    """
    if kind == "otlp":
        return _make_otlp(signal, settings)
    if kind == "console":
        from claude_monitoring.exporters.console import ConsoleExporter

        return ConsoleExporter(signal)
    if kind == "logging":
        from claude_monitoring.exporters.pylogging import LoggingExporter

        return LoggingExporter(signal)
    raise ConfigurationError(f"there is no exporter {kind!r} for {signal}; it can be otlp, console or logging")


def _make_otlp(signal: Signal, settings: Settings) -> SignalExporter:
    otlp = {"metrics": settings.metrics_otlp, "logs": settings.logs_otlp, "traces": settings.traces_otlp}[signal]
    if otlp.protocol == "grpc":
        from claude_monitoring.exporters.otlp_grpc import OtlpGrpcExporter

        return OtlpGrpcExporter(signal, otlp, settings.temporality)
    from claude_monitoring.exporters.otlp_http import OtlpHttpExporter

    return OtlpHttpExporter(signal, otlp, settings.temporality)
