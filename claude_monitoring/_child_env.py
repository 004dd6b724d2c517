"""The environment for a Claude Code that an agent starts, so that it reports itself to the same place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from urllib.parse import quote

from claude_monitoring._settings import Settings
from claude_monitoring._settings_otlp import OtlpSettings

__all__ = ["child_environment"]

_INTERVALS = {"metrics": "METRIC", "logs": "LOGS", "traces": "TRACES"}
_SWITCHES = {
    "OTEL_METRICS_INCLUDE_SESSION_ID": "include_session_id",
    "OTEL_METRICS_INCLUDE_ACCOUNT_UUID": "include_account_uuid",
    "OTEL_METRICS_INCLUDE_RESOURCE_ATTRIBUTES": "include_resource_attributes",
    "OTEL_METRICS_INCLUDE_VERSION": "include_version",
    "OTEL_METRICS_INCLUDE_ENTRYPOINT": "include_entrypoint",
    "OTEL_METRICS_INCLUDE_REPOSITORY": "include_repository",
    "OTEL_RESOURCE_INCLUDE_HOST": "resource_include_host",
    "OTEL_LOG_USER_PROMPTS": "log_user_prompts",
    "OTEL_LOG_ASSISTANT_RESPONSES": "log_assistant_responses",
    "OTEL_LOG_TOOL_DETAILS": "log_tool_details",
    "OTEL_LOG_TOOL_CONTENT": "log_tool_content",
}


def child_environment(
    base: Mapping[str, str], settings: Settings, labels: Mapping[str, str | None], carrier: Mapping[str, str]
) -> dict[str, str]:
    """``base`` with what makes a Claude Code report itself as we do (reference section 7).

    Args:
        base: The environment to begin with; what it says about telemetry is replaced.
        settings: Ours.
        labels: Put on everything that the child reports, by way of its resource.
        carrier: Headers of a trace context, such as ``traceparent``.
    """
    env = {name: value for name, value in base.items() if not name.startswith(("OTEL_", "TRACEPARENT", "TRACESTATE"))}
    attributes = dict(settings.resource_attributes) | {key: value for key, value in labels.items() if value}
    for own in ("service.name", "service.version", "service.instance.id"):
        attributes.pop(own, None)
    env |= {
        "CLAUDE_CODE_ENABLE_TELEMETRY": "1" if settings.enabled else "0",
        "OTEL_RESOURCE_ATTRIBUTES": ",".join(f"{key}={quote(value, safe='')}" for key, value in attributes.items()),
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": settings.temporality,
        **{name: str(getattr(settings, field)).lower() for name, field in _SWITCHES.items()},
        **{name.upper(): value for name, value in carrier.items()},
    }
    for signal, interval in _INTERVALS.items():
        # It can't have our port for Prometheus, what it prints is its answer, and it knows no exporter `logging`.
        sends = "otlp" in getattr(settings, f"{signal}_exporters")
        env[f"OTEL_{signal.upper()}_EXPORTER"] = "otlp" if sends else "none"
        env[f"OTEL_{interval}_EXPORT_INTERVAL"] = str(round(getattr(settings, f"{signal}_interval_s") * 1000))
        if sends:
            env |= _otlp(f"OTEL_EXPORTER_OTLP_{signal.upper()}", getattr(settings, f"{signal}_otlp"))
    if "otlp" in settings.traces_exporters:
        env["CLAUDE_CODE_ENHANCED_TELEMETRY_BETA"] = "1"
    return env


def _otlp(prefix: str, otlp: OtlpSettings) -> dict[str, str]:
    is_grpc = otlp.protocol == "grpc"
    # It decodes %20 for gRPC and sends it as it is over HTTP (reference section 7).
    pairs = [f"{key}={quote(value) if is_grpc else value}" for key, value in otlp.headers]
    env = {
        "PROTOCOL": otlp.protocol,
        "ENDPOINT": otlp.endpoint,
        "HEADERS": ",".join(pairs),
        "COMPRESSION": otlp.compression if otlp.compression != "none" else "",
        "TIMEOUT": "" if otlp.timeout_s == math.inf else str(round(otlp.timeout_s * 1000)),
        "CERTIFICATE": otlp.certificate or "",
        "CLIENT_KEY": otlp.client_key or "",
        "CLIENT_CERTIFICATE": otlp.client_certificate or "",
    }
    return {f"{prefix}_{name}": value for name, value in env.items() if value}
