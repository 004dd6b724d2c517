"""Every environment variable that we read, as data; ``docs/reference/environment.md`` comes from it."""

from __future__ import annotations

from typing import NamedTuple, get_args

from claude_monitoring._settings_parse import (
    BOOLEAN,
    COUNT,
    ENDPOINT,
    FILE,
    FOLDER,
    FOLDER_BYTES,
    HEADERS,
    HOST,
    INTERVAL,
    PAIRS,
    PORT,
    TEXT,
    TIMEOUT,
    TOTAL,
    WAIT,
    Kind,
    choice,
    names,
)
from claude_monitoring.types import Signal

__all__ = ["ENV", "IGNORED", "SIGNALS", "EnvVar", "render_markdown"]

SIGNALS: tuple[Signal, ...] = get_args(Signal)

CC = "Claude Code, reference section 7"
CC_ATTRIBUTES = "Claude Code, reference section 3"
OTEL = "OpenTelemetry, configuration/sdk-environment-variables.md"
OTEL_OTLP = "OpenTelemetry, protocol/exporter.md"
OURS = "ours"

PROTOCOL = choice({name: name for name in ("grpc", "http/protobuf", "http/json")})
COMPRESSION = choice({"gzip": "gzip", "none": "none"})
TEMPORALITY = choice({"cumulative": "cumulative", "delta": "delta", "lowmemory": "delta"})
POLICY = choice({"collapse": "collapse", "drop": "drop", "raise": "raise"})
PRIVATE = choice({"redact": "redact", "hash": "hash"})
METRICS_NAMES = names("otlp", "prometheus", "console", "logging")
NAMES = names("otlp", "console", "logging", refused={"prometheus": "prometheus serves metrics only"})


class EnvVar(NamedTuple):
    """One variable: ``field`` is its key in ``Settings.load(**overrides)``, ``default`` its text when it is unset."""

    name: str
    field: str
    kind: Kind
    default: str
    meaning: str
    source: str
    topic: str = "General"


def _exporters() -> tuple[EnvVar, ...]:
    topic = "Exporters and intervals"
    rows = []
    for signal, variable, interval in (
        ("metrics", "OTEL_METRIC_EXPORT_INTERVAL", "60000"),
        ("logs", "OTEL_LOGS_EXPORT_INTERVAL", "5000"),
        ("traces", "OTEL_TRACES_EXPORT_INTERVAL", "5000"),
    ):
        kind = METRICS_NAMES if signal == "metrics" else NAMES
        rows += [
            EnvVar(f"OTEL_{signal.upper()}_EXPORTER", f"{signal}_exporters", kind, "none",
                   f"Where {signal} go; several at once are fine.", CC, topic),
            EnvVar(variable, f"{signal}_interval_s", INTERVAL, interval,
                   f"Time between two exports of {signal}, in milliseconds.", CC, topic),
        ]  # fmt: skip
    return tuple(rows)


_OTLP = (
    ("PROTOCOL", "protocol", PROTOCOL, "http/protobuf", "Protocol", OTEL_OTLP),
    ("ENDPOINT", "endpoint", ENDPOINT, "",
     ("Collector's URL; `/v1/<signal>` goes after its path. Without a scheme it is http; grpc drops a path, and "
      "a port left out is 80 or 443. Unset: `http://localhost:4318`, for grpc `http://localhost:4317`"), OTEL_OTLP),
    ("HEADERS", "headers", HEADERS, "",
     "Headers of each request, percent-decoded; `Authorization: Bearer x` is understood too", OTEL_OTLP),
    ("TIMEOUT", "timeout_s", TIMEOUT, "10000", "Limit for one request, in milliseconds; 0 is none", OTEL_OTLP),
    ("COMPRESSION", "compression", COMPRESSION, "none", "Compression of the requests", OTEL_OTLP),
    ("CERTIFICATE", "certificate", FILE, "", "Certificates to trust, a PEM file; unset: the system's", OTEL_OTLP),
    ("CLIENT_KEY", "client_key", FILE, "", "Private key of the client certificate, a PEM file", OTEL_OTLP),
    ("CLIENT_CERTIFICATE", "client_certificate", FILE, "", "Client certificate for mTLS, a PEM file", OTEL_OTLP),
    ("INSECURE", "insecure", BOOLEAN, "true",
     "Whether grpc goes without TLS; only for an endpoint without `http://` or `https://`", OTEL_OTLP),
)  # fmt: skip


def _otlp() -> tuple[EnvVar, ...]:
    rows = [
        EnvVar(f"OTEL_EXPORTER_OTLP_{part}", field, kind, default, f"{meaning}.", source, "OTLP, all signals")
        for part, field, kind, default, meaning, source in _OTLP
    ]
    for signal in SIGNALS:
        for part, field, kind, _, meaning, source in _OTLP:
            text = f"{meaning.split(';', maxsplit=1)[0]}, for {signal} alone."
            if field == "endpoint":
                text = f"Complete URL for {signal} alone; nothing is put after it."
            if field == "headers":
                text = f"Headers for {signal} alone; they are put over the general ones, name by name."
            name = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{part}"
            rows.append(EnvVar(name, f"{signal}_{field}", kind, "", text, source, f"OTLP, {signal}"))
    return tuple(rows)


_CONTENT = "Attributes and content"
_GUARD = "Cardinality"
_DELIVERY = "The end of a process"

ENV: tuple[EnvVar, ...] = (
    EnvVar("CLAUDE_CODE_ENABLE_TELEMETRY", "enabled", BOOLEAN, "false", "Master switch.", CC),
    EnvVar("CLAUDE_MONITORING_DEFAULTS", "defaults", choice({"otel": "otel", "claude-code": "claude-code"}), "otel",
           "Whose defaults apply where they differ: `claude-code` makes the temporality `delta`.", OURS),
    EnvVar("CLAUDE_MONITORING_STRICT", "strict", BOOLEAN, "false",
           "Raise `ConfigurationError` for a value that can't be used, and `ValueError` or `TypeError` for misuse.",
           OURS),
    EnvVar("CLAUDE_MONITORING_MAX_SERIES", "max_series", COUNT, "2000",
           "Series kept of each metric.", OURS, _GUARD),
    EnvVar("CLAUDE_MONITORING_MAX_LABEL_VALUES", "max_label_values", COUNT, "200",
           "Values kept of each label of a metric; later ones become `__other__` in that label alone.", OURS, _GUARD),
    EnvVar("CLAUDE_MONITORING_MAX_TOTAL_SERIES", "max_total_series", TOTAL, "50000",
           "Series kept of all metrics together; a tenth is left for overflow.", OURS, _GUARD),
    EnvVar("CLAUDE_MONITORING_CARDINALITY_POLICY", "cardinality_policy", POLICY, "collapse",
           "Past a bound: `collapse` labels, `drop` measurements that would need a new series, or `raise` as well.",
           OURS, _GUARD),
    EnvVar("CLAUDE_MONITORING_SERIES_TTL_MS", "series_ttl_s", INTERVAL, "",
           "Time after which a series that nobody writes to is let go, in milliseconds; unset: never.", OURS, _GUARD),
    EnvVar("CLAUDE_MONITORING_PRIVATE_LABELS", "private_labels", PRIVATE, "redact",
           "What stands for an e-mail address or a secret in a label: `redact` makes it `__redacted__`, `hash` a hash "
           "that is different in every process.", OURS, _GUARD),
    EnvVar("CLAUDE_CODE_OTEL_SHUTDOWN_TIMEOUT_MS", "shutdown_timeout_s", WAIT, "2000",
           "Longest wait at exit, in milliseconds.", CC),
    EnvVar("CLAUDE_CODE_OTEL_FLUSH_TIMEOUT_MS", "flush_timeout_s", WAIT, "5000",
           "Longest wait of `flush()`, in milliseconds.", CC),
    EnvVar("CLAUDE_MONITORING_FLUSH_ON_SIGTERM", "flush_on_sigterm", BOOLEAN, "false",
           "Whether `SIGTERM` sends what is recorded before the program's own handler runs, or before it ends.", OURS,
           _DELIVERY),
    EnvVar("CLAUDE_MONITORING_SPOOL_DIR", "spool", FOLDER, "",
           "Folder for what could not be delivered over OTLP when the program ends; the next process of the same "
           "service sends it. Unset: it is lost, and counted.", OURS, _DELIVERY),
    EnvVar("CLAUDE_MONITORING_SPOOL_MAX_BYTES", "spool_max_bytes", FOLDER_BYTES, "67108864",
           "Size of that folder; past it the oldest files are deleted.", OURS, _DELIVERY),
    *_exporters(),
    EnvVar("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "temporality", TEMPORALITY, "",
           "What counters and histograms hold: the total so far, or what is new. Unset it is `cumulative`, which "
           "Prometheus needs; Claude Code's own default is `delta` (see `CLAUDE_MONITORING_DEFAULTS`). "
           "`lowmemory` is `delta`.", "OpenTelemetry, metrics/sdk_exporters/otlp.md", "Exporters and intervals"),
    EnvVar("OTEL_EXPORTER_PROMETHEUS_HOST", "prometheus_host", HOST, "0.0.0.0",  # noqa: S104 - as Claude Code does
           "Address that `/metrics` listens on; `127.0.0.1` keeps it to this machine.", CC, "Exporters and intervals"),
    EnvVar("OTEL_EXPORTER_PROMETHEUS_PORT", "prometheus_port", PORT, "9464",
           "Port of `/metrics`; 0 takes a free one.", CC, "Exporters and intervals"),
    *_otlp(),
    EnvVar("CLAUDE_CODE_CLIENT_CERT", "claude_client_certificate", FILE, "",
           "Client certificate for https endpoints, if no OTLP variable has one.", CC, "OTLP, all signals"),
    EnvVar("CLAUDE_CODE_CLIENT_KEY", "claude_client_key", FILE, "",
           "Its private key.", CC, "OTLP, all signals"),
    EnvVar("OTEL_SERVICE_NAME", "service_name", TEXT, "claude-code",
           "`service.name`; it wins over `OTEL_RESOURCE_ATTRIBUTES`. Set it: the default only makes dashboards for "
           "Claude Code find the data.", OTEL, _CONTENT),
    EnvVar("OTEL_RESOURCE_ATTRIBUTES", "resource_attributes", PAIRS, "",
           "Attributes of the resource, percent-decoded.", OTEL, _CONTENT),
    EnvVar("OTEL_RESOURCE_INCLUDE_HOST", "resource_include_host", BOOLEAN, "false",
           "Whether the resource has `host.name`.", CC, _CONTENT),
    EnvVar("OTEL_METRICS_INCLUDE_SESSION_ID", "include_session_id", BOOLEAN, "true",
           "Whether metrics, events and spans have `session.id`.", CC_ATTRIBUTES, _CONTENT),
    EnvVar("OTEL_METRICS_INCLUDE_ACCOUNT_UUID", "include_account_uuid", BOOLEAN, "true",
           "Whether they have `user.account_uuid` and `user.account_id`, where the caller gives them.",
           CC_ATTRIBUTES, _CONTENT),
    EnvVar("OTEL_METRICS_INCLUDE_RESOURCE_ATTRIBUTES", "include_resource_attributes", BOOLEAN, "true",
           "Whether they repeat the keys of `OTEL_RESOURCE_ATTRIBUTES`.", CC_ATTRIBUTES, _CONTENT),
    EnvVar("OTEL_METRICS_INCLUDE_VERSION", "include_version", BOOLEAN, "false",
           "Whether they have `app.version`.", CC_ATTRIBUTES, _CONTENT),
    EnvVar("OTEL_METRICS_INCLUDE_ENTRYPOINT", "include_entrypoint", BOOLEAN, "false",
           "Whether they have `app.entrypoint`.", CC_ATTRIBUTES, _CONTENT),
    EnvVar("OTEL_METRICS_INCLUDE_REPOSITORY", "include_repository", BOOLEAN, "false",
           "Whether they have the `vcs.*` attributes.", CC_ATTRIBUTES, _CONTENT),
    EnvVar("OTEL_LOG_USER_PROMPTS", "log_user_prompts", BOOLEAN, "false", "Send the text of prompts.", CC, _CONTENT),
    EnvVar("OTEL_LOG_ASSISTANT_RESPONSES", "log_assistant_responses", BOOLEAN, "",
           "Send the text of responses; unset it follows `OTEL_LOG_USER_PROMPTS`.", CC, _CONTENT),
    EnvVar("OTEL_LOG_TOOL_DETAILS", "log_tool_details", BOOLEAN, "false",
           "Send tools' arguments, names and errors.", CC, _CONTENT),
    EnvVar("OTEL_LOG_TOOL_CONTENT", "log_tool_content", BOOLEAN, "false",
           "Send what tools read and gave back.", CC, _CONTENT),
    EnvVar("CLAUDE_CODE_USE_BEDROCK", "use_bedrock", BOOLEAN, "false",
           "`anthropic.provider` is `bedrock`; without this and the next two it is `firstParty`.", CC_ATTRIBUTES,
           _CONTENT),
    EnvVar("CLAUDE_CODE_USE_VERTEX", "use_vertex", BOOLEAN, "false", "`anthropic.provider` is `vertex`.",
           CC_ATTRIBUTES, _CONTENT),
    EnvVar("CLAUDE_CODE_USE_FOUNDRY", "use_foundry", BOOLEAN, "false", "`anthropic.provider` is `foundry`.",
           CC_ATTRIBUTES, _CONTENT),
    EnvVar("ANTHROPIC_BASE_URL", "anthropic_base_url", TEXT, "",
           "`anthropic.custom_base_url` is true if this is set; the URL itself is sent nowhere.", CC_ATTRIBUTES,
           _CONTENT),
    EnvVar("TERM_PROGRAM", "term_program", TEXT, "", "`terminal.type`, first choice.", CC_ATTRIBUTES, _CONTENT),
    EnvVar("TMUX", "tmux", TEXT, "", "`terminal.type` is `tmux` if this is set, second choice.", CC_ATTRIBUTES,
           _CONTENT),
    EnvVar("TERM", "term", TEXT, "", "`terminal.type`, third choice; else `non-interactive`.", CC_ATTRIBUTES, _CONTENT),
    EnvVar("HOME", "home", TEXT, "",
           "Where `.claude.json` is, whose `userID` becomes `user.id`; without one `user.id` is a hash of host and "
           "user, which is written nowhere.", CC_ATTRIBUTES, _CONTENT),
    EnvVar("USERPROFILE", "userprofile", TEXT, "", "As `HOME`, on Windows.", CC_ATTRIBUTES, _CONTENT),
)  # fmt: skip
"""The one table. Problems are reported in its order."""

IGNORED: tuple[tuple[str, str], ...] = (
    ("CLAUDE_CODE_ENHANCED_TELEMETRY_BETA", "Not needed: spans are sent when `OTEL_TRACES_EXPORTER` is set."),
    ("ENABLE_ENHANCED_TELEMETRY_BETA", "The same under its other name."),
    ("OTEL_SDK_DISABLED", "As in Claude Code; use `CLAUDE_CODE_ENABLE_TELEMETRY=0`."),
    ("DISABLE_TELEMETRY", "As in Claude Code: it is not about this export."),
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "As in Claude Code: it is not about this export."),
    ("CLAUDE_CODE_OTEL_DIAG_STDERR", "Faults go to Python's logging instead, one line each."),
    ("OTEL_METRIC_EXPORT_TIMEOUT", "One request is limited by `OTEL_EXPORTER_OTLP_TIMEOUT`."),
)
"""Variables that a reader may expect here, and why nothing reads them."""


_HEAD = ("| Variable | Accepted | Default | Meaning | Source |", "|---|---|---|---|---|")


def render_markdown() -> str:
    """The reference page, with one table for each topic."""
    lines = [
        "# Environment variables",
        "",
        "<!-- Made by render_markdown() of claude_monitoring/_settings_table.py; a test compares the two. -->",
        "",
        "An argument of `AgentMonitor` wins over its variable. An empty variable counts as unset; words are not",
        "case-sensitive. For a value that can't be used one line is logged, which names the variable, the value, what",
        "is accepted and what happens instead: the signals that would have used it are off, the others and the",
        "program run on. Switches, waits at exit, the temporality and the bound on series take their default instead.",
        "With `strict` a `ConfigurationError` is raised. A header's value is never printed, nor is a URL's password.",
    ]
    for topic in dict.fromkeys(row.topic for row in ENV):
        lines += ["", f"## {topic}", "", *_HEAD]
        lines += [
            f"| `{row.name}` | {row.kind.label} | {f'`{row.default}`' if row.default else '-'} "
            f"| {row.meaning} | {row.source} |"
            for row in ENV
            if row.topic == topic
        ]
    lines += ["", "## Not read", "", "| Variable | Why |", "|---|---|"]
    lines += [f"| `{name}` | {why} |" for name, why in IGNORED]
    return "\n".join(lines) + "\n"
