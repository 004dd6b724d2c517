"""All settings, from arguments and the environment, in one frozen object. Only here is ``os.environ`` read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from claude_monitoring._bounds import Bounds
from claude_monitoring._settings_identity import terminal_type, user_id
from claude_monitoring._settings_otlp import OtlpSettings, resolve
from claude_monitoring._settings_parse import BOOLEAN, INTERVAL, LABELS, TEXT, Kind, instance_of
from claude_monitoring._settings_sources import TURNED_OFF, Source, Sources
from claude_monitoring._settings_table import SIGNALS, render_markdown
from claude_monitoring.errors import ConfigurationError
from claude_monitoring.types import Policy, PrivateLabels, Signal, Temporality

__all__ = ["OtlpSettings", "Settings", "hint", "render_markdown"]

_ARGUMENTS_ONLY: dict[str, Kind] = {
    "export_to_grafana": BOOLEAN,
    "interval_s": INTERVAL,
    "labels": LABELS,
    "terminal_type": TEXT,
    "user_id": TEXT,
    **{f"{signal}_otlp": instance_of(OtlpSettings) for signal in SIGNALS},
}
_PLAIN = (
    "strict", "max_series", "max_label_values", "max_total_series", "cardinality_policy", "series_ttl_s",
    "private_labels", "shutdown_timeout_s", "flush_timeout_s", "flush_on_sigterm", "spool", "spool_max_bytes",
    "resource_include_host",
    "include_session_id", "include_account_uuid", "include_resource_attributes", "include_version",
    "include_entrypoint", "include_repository", "log_user_prompts", "log_tool_details", "log_tool_content",
)  # fmt: skip
"""Fields for which the table says all: value, or default."""


class Settings(NamedTuple):
    """Everything that can be set, in seconds where it is a time. Monitors with equal settings share one pipeline.

    ``problems`` has one line for each value that could not be used: the variable or argument, its value, what is
    accepted, what happens instead. The reference page on environment variables has the meaning of each field.
    """

    enabled: bool
    metrics_exporters: tuple[str, ...]
    logs_exporters: tuple[str, ...]
    traces_exporters: tuple[str, ...]
    metrics_otlp: OtlpSettings
    logs_otlp: OtlpSettings
    traces_otlp: OtlpSettings
    metrics_interval_s: float
    logs_interval_s: float
    traces_interval_s: float
    temporality: Temporality
    service_name: str
    resource_attributes: tuple[tuple[str, str], ...]
    prometheus_host: str
    prometheus_port: int
    shutdown_timeout_s: float
    flush_timeout_s: float
    flush_on_sigterm: bool
    spool: str | None
    spool_max_bytes: int
    include_session_id: bool
    include_account_uuid: bool
    include_resource_attributes: bool
    include_version: bool
    include_entrypoint: bool
    include_repository: bool
    resource_include_host: bool
    log_user_prompts: bool
    log_assistant_responses: bool
    log_tool_details: bool
    log_tool_content: bool
    max_series: int
    max_label_values: int
    max_total_series: int
    cardinality_policy: Policy
    series_ttl_s: float | None
    private_labels: PrivateLabels
    labels: tuple[tuple[str, tuple[str, ...]], ...]
    strict: bool
    user_id: str
    terminal_type: str
    anthropic_provider: str
    custom_base_url: bool
    exports_nothing: bool = False
    """Whether a signal's exporter is ``none`` because somebody said so."""
    problems: tuple[str, ...] = ()

    @property
    def bounds(self) -> Bounds:
        """What the guard keeps to."""
        return Bounds(
            self.max_series,
            self.max_label_values,
            self.max_total_series,
            self.cardinality_policy,
            self.private_labels,
            self.labels,
        )

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
        """Read the environment once; ``overrides``, those that are not ``None``, win over it.

        Args:
            environ: The variables; ``os.environ`` if left out.
            overrides: Any field above except ``problems``; for all signals ``endpoint``, ``protocol``, ``headers``,
                ``timeout_s``, ``compression``, ``certificate``, ``client_key``, ``client_certificate``, ``insecure``,
                or with ``metrics_``, ``logs_``, ``traces_`` before it for one; ``interval_s``, the interval of metrics
                and the longest of logs and traces; ``export_to_grafana``, which turns telemetry on and OTLP for each
                signal without an exporter variable. Headers and resource attributes are merged with the variables'.

        Raises:
            ConfigurationError: A value can't be used, and ``strict`` is set.
            TypeError: There is no such override.
        """
        sources = Sources(os.environ if environ is None else environ, overrides, _ARGUMENTS_ONLY)
        grafana = sources.value("export_to_grafana", default=False)
        values: dict[str, Any] = {name: sources.value(name) for name in _PLAIN}
        values["enabled"] = True if grafana and not sources.given("enabled") else sources.value("enabled")
        values["log_assistant_responses"] = _log_responses(sources, prompts=values["log_user_prompts"])
        values["labels"] = sources.value("labels", default=())
        values["temporality"] = _temporality(sources)
        _identify(sources, values)
        for signal in SIGNALS:
            _load_signal(sources, signal, values, default=("otlp",) if grafana else ())
        _load_prometheus(sources, values)
        problems = sources.problems()
        if problems and values["strict"]:
            raise ConfigurationError("\n".join(problems))
        chosen = [sources.find(f"{signal}_exporters") for signal in SIGNALS]
        none = any(source is not None and not source.reason and not source.value for source in chosen)
        return cls(**values, exports_nothing=none, problems=problems)


def environment() -> dict[str, str]:
    """A copy of the process' environment."""
    return dict(os.environ)


def _log_responses(sources: Sources, *, prompts: bool) -> bool:
    """As prompts if unset; a value that can't be read never sends content."""
    if sources.find("log_assistant_responses") is None:
        return prompts
    return bool(sources.value("log_assistant_responses", default=False))


def _temporality(sources: Sources) -> str:
    unset = "delta" if sources.value("defaults") == "claude-code" else "cumulative"
    if sources.find("temporality") is None:
        return unset
    # as Claude Code does with a word that it does not know, whatever the default
    return str(sources.value("temporality", default="cumulative"))


def _identify(sources: Sources, values: dict[str, Any]) -> None:
    attributes: dict[str, str] = {}
    for source in reversed(sources.every("resource_attributes")):
        attributes.update(source.value or ())
        source.instead = source.instead or "it is left out"
    values["resource_attributes"] = tuple(attributes.items())
    own = sources.find("service_name") and sources.value("service_name")
    values["service_name"] = own or attributes.get("service.name") or sources.default("service_name")
    values["user_id"] = sources.value("user_id") or user_id(sources.value("home") or sources.value("userprofile"))
    used = [name for name in ("bedrock", "vertex", "foundry") if sources.value(f"use_{name}")]
    values["anthropic_provider"] = used[0] if used else "firstParty"
    values["custom_base_url"] = bool(sources.value("anthropic_base_url"))
    terminal = (sources.value(name) for name in ("term_program", "tmux", "term"))
    values["terminal_type"] = sources.value("terminal_type") or terminal_type(*terminal)


def _load_signal(sources: Sources, signal: Signal, values: dict[str, Any], default: tuple[str, ...]) -> None:
    exporters = default
    if chosen := sources.find(f"{signal}_exporters"):
        exporters = () if chosen.reason else chosen.value
    interval_s, bad_interval = _interval(sources, signal)
    for source in (chosen, bad_interval):
        if source is not None and source.reason:
            source.turns_off.append(signal)
            exporters = ()
    otlp, bad = resolve(sources, signal)
    if bad and "otlp" in exporters:
        exporters = tuple(name for name in exporters if name != "otlp")
        for source in bad:
            source.turns_off.append(f"{signal} over OTLP")
    values |= {f"{signal}_exporters": exporters, f"{signal}_interval_s": interval_s, f"{signal}_otlp": otlp}


def _interval(sources: Sources, signal: Signal) -> tuple[float, Source | None]:
    """The interval, and its source if that can't be used; ``interval_s`` is metrics' own and a limit for the others."""
    own = f"{signal}_interval_s"
    decides = sources.find(own, "interval_s") if signal == "metrics" else sources.find(own)
    bad = decides if decides is not None and decides.reason else None
    seconds = sources.default(own) if decides is None or bad else decides.value
    limit = sources.find("interval_s")
    if signal != "metrics" and limit is not None and not limit.reason and not sources.given(own):
        seconds = min(seconds, limit.value)
    return seconds, bad


def _load_prometheus(sources: Sources, values: dict[str, Any]) -> None:
    for name in ("prometheus_host", "prometheus_port"):
        values[name] = sources.value(name)
        source = sources.find(name)
        if source is not None and source.reason:
            source.instead = ""
            if "prometheus" in values["metrics_exporters"]:
                source.turns_off.append("the Prometheus endpoint")
    if any(source.turns_off for source in sources.every("prometheus_host", "prometheus_port")):
        values["metrics_exporters"] = tuple(name for name in values["metrics_exporters"] if name != "prometheus")


def hint(settings: Settings) -> str:
    """One line for telemetry that is off, or on without an exporter; empty if there is nothing to say.

    Where a problem's line already says what turned the exporters off, it is not said again; nor to who wrote ``none``.
    """
    if not settings.enabled:
        return (
            "telemetry is off; to turn it on set CLAUDE_CODE_ENABLE_TELEMETRY=1 and an exporter, such as "
            "OTEL_METRICS_EXPORTER=otlp, or pass export_to_grafana=True"
        )
    if settings.metrics_exporters or settings.logs_exporters or settings.traces_exporters:
        return ""
    if settings.exports_nothing or any(TURNED_OFF in problem for problem in settings.problems):
        return ""
    return (
        "telemetry is on but goes nowhere; set OTEL_METRICS_EXPORTER, OTEL_LOGS_EXPORTER or OTEL_TRACES_EXPORTER to "
        "otlp, console or logging (metrics also to prometheus)"
    )
