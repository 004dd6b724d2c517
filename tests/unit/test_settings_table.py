"""Every variable of the table: a good value arrives, an empty one counts as unset, a bad one is said and contained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from claude_monitoring._settings import Settings
from claude_monitoring._settings_table import ENV, IGNORED, SIGNALS, render_markdown
from claude_monitoring.errors import ConfigurationError

ALL_ON = {
    "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
    "OTEL_METRICS_EXPORTER": "otlp,prometheus,console",
    "OTEL_LOGS_EXPORTER": "otlp,console",
    "OTEL_TRACES_EXPORTER": "otlp,console",
}
COMPLETE = {"metrics": ("otlp", "prometheus", "console"), "logs": ("otlp", "console"), "traces": ("otlp", "console")}
WITHOUT_OTLP = {signal: tuple(name for name in kept if name != "otlp") for signal, kept in COMPLETE.items()}


@dataclass
class Case:
    """``field`` may be dotted. ``left`` is what a bad value leaves of the exporters, ``fallback`` of the field."""

    good: str
    field: str
    value: Any
    bad: str | None = None
    left: dict[str, tuple[str, ...]] | None = None
    fallback: Any = None


def switch(field: str, *, default: bool) -> Case:
    return Case("off" if default else "YES", field, not default, "treu", fallback=default)


CASES: dict[str, Case] = {
    "CLAUDE_CODE_ENABLE_TELEMETRY": Case("True", "enabled", True, "enabled", fallback=False),
    "CLAUDE_MONITORING_DEFAULTS": Case("Claude-Code", "temporality", "delta", "claude", fallback="cumulative"),
    "CLAUDE_MONITORING_STRICT": switch("strict", default=False),
    "CLAUDE_MONITORING_MAX_SERIES": Case("50", "max_series", 50, "0", fallback=2000),
    "CLAUDE_MONITORING_MAX_LABEL_VALUES": Case("9", "max_label_values", 9, "few", fallback=200),
    "CLAUDE_MONITORING_MAX_TOTAL_SERIES": Case("100", "max_total_series", 100, "99", fallback=50_000),
    "CLAUDE_MONITORING_CARDINALITY_POLICY": Case("Drop", "cardinality_policy", "drop", "dorp", fallback="collapse"),
    "CLAUDE_MONITORING_SERIES_TTL_MS": Case("1500", "series_ttl_s", 1.5, "0", fallback=None),
    "CLAUDE_MONITORING_PRIVATE_LABELS": Case("HASH", "private_labels", "hash", "show", fallback="redact"),
    "CLAUDE_CODE_OTEL_SHUTDOWN_TIMEOUT_MS": Case("0", "shutdown_timeout_s", 0.0, "-1", fallback=2.0),
    "CLAUDE_CODE_OTEL_FLUSH_TIMEOUT_MS": Case("1500", "flush_timeout_s", 1.5, "nan", fallback=5.0),
    "CLAUDE_MONITORING_FLUSH_ON_SIGTERM": switch("flush_on_sigterm", default=False),
    "CLAUDE_MONITORING_SPOOL_DIR": Case("{home}/new", "spool", "{home}/new", __file__, fallback=None),
    "CLAUDE_MONITORING_SPOOL_MAX_BYTES": Case("5000000", "spool_max_bytes", 5_000_000, "64M", fallback=67_108_864),
    "OTEL_METRICS_EXPORTER": Case(
        " OTLP , none,logging,otlp", "metrics_exporters", ("otlp", "logging"), "otlp,bogus", COMPLETE | {"metrics": ()}
    ),
    "OTEL_LOGS_EXPORTER": Case("console", "logs_exporters", ("console",), "prometheus", COMPLETE | {"logs": ()}),
    "OTEL_TRACES_EXPORTER": Case("none", "traces_exporters", (), "otpl", COMPLETE | {"traces": ()}),
    "OTEL_METRIC_EXPORT_INTERVAL": Case("250", "metrics_interval_s", 0.25, "0", COMPLETE | {"metrics": ()}, 60.0),
    "OTEL_LOGS_EXPORT_INTERVAL": Case("1000.5", "logs_interval_s", 1.0005, "inf", COMPLETE | {"logs": ()}, 5.0),
    "OTEL_TRACES_EXPORT_INTERVAL": Case("1", "traces_interval_s", 0.001, "5s", COMPLETE | {"traces": ()}, 5.0),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": Case(
        "LowMemory", "temporality", "delta", "detla", fallback="cumulative"
    ),
    "OTEL_EXPORTER_PROMETHEUS_HOST": Case(
        "::1", "prometheus_host", "::1", "not a host", COMPLETE | {"metrics": ("otlp", "console")}, "0.0.0.0"
    ),
    "OTEL_EXPORTER_PROMETHEUS_PORT": Case(
        "0", "prometheus_port", 0, "65536", COMPLETE | {"metrics": ("otlp", "console")}, 9464
    ),
    "CLAUDE_CODE_CLIENT_CERT": Case("{file}", "traces_otlp.client_certificate", "{file}", "/no/file", WITHOUT_OTLP),
    "CLAUDE_CODE_CLIENT_KEY": Case("{file}", "metrics_otlp.client_key", "{file}", "/no/file", WITHOUT_OTLP),
    "OTEL_SERVICE_NAME": Case("books", "service_name", "books"),
    "OTEL_RESOURCE_ATTRIBUTES": Case(
        "team=a%26b, empty=", "resource_attributes", (("team", "a&b"), ("empty", "")), "broken,also"
    ),
    "OTEL_RESOURCE_INCLUDE_HOST": switch("resource_include_host", default=False),
    "OTEL_METRICS_INCLUDE_SESSION_ID": switch("include_session_id", default=True),
    "OTEL_METRICS_INCLUDE_ACCOUNT_UUID": switch("include_account_uuid", default=True),
    "OTEL_METRICS_INCLUDE_RESOURCE_ATTRIBUTES": switch("include_resource_attributes", default=True),
    "OTEL_METRICS_INCLUDE_VERSION": switch("include_version", default=False),
    "OTEL_METRICS_INCLUDE_ENTRYPOINT": switch("include_entrypoint", default=False),
    "OTEL_METRICS_INCLUDE_REPOSITORY": switch("include_repository", default=False),
    "OTEL_LOG_USER_PROMPTS": switch("log_user_prompts", default=False),
    "OTEL_LOG_ASSISTANT_RESPONSES": switch("log_assistant_responses", default=False),
    "OTEL_LOG_TOOL_DETAILS": switch("log_tool_details", default=False),
    "OTEL_LOG_TOOL_CONTENT": switch("log_tool_content", default=False),
    "CLAUDE_CODE_USE_BEDROCK": Case("1", "anthropic_provider", "bedrock"),
    "CLAUDE_CODE_USE_VERTEX": Case("1", "anthropic_provider", "vertex"),
    "CLAUDE_CODE_USE_FOUNDRY": Case("1", "anthropic_provider", "foundry"),
    "ANTHROPIC_BASE_URL": Case("http://127.0.0.1:1", "custom_base_url", True),
    "TERM_PROGRAM": Case("iTerm.app", "terminal_type", "iTerm.app"),
    "TMUX": Case("/tmp/tmux-0/default,1,0", "terminal_type", "tmux"),
    "TERM": Case("xterm", "terminal_type", "xterm"),
    "HOME": Case("{home}", "user_id", "c" * 64),
    "USERPROFILE": Case("{home}", "user_id", "c" * 64),
}


def _otlp_cases(prefix: str, signal: str, left: dict[str, tuple[str, ...]]) -> dict[str, Case]:
    own_url = "http://collector:4318/base" + ("" if "_OTLP_" in prefix.removesuffix("_OTLP_") else f"/v1/{signal}")
    field = f"{signal}_otlp"
    return {
        f"{prefix}PROTOCOL": Case("HTTP/JSON", f"{field}.protocol", "http/json", "http", left, "http/protobuf"),
        f"{prefix}ENDPOINT": Case("http://collector:4318/base", f"{field}.endpoint", own_url, "not-a-url", left),
        f"{prefix}HEADERS": Case("X-Key=a%20b", f"{field}.headers", (("x-key", "a b"),), "just-a-secret", left, ()),
        f"{prefix}TIMEOUT": Case("0", f"{field}.timeout_s", math.inf, "10s", left, 10.0),
        f"{prefix}COMPRESSION": Case("GZIP", f"{field}.compression", "gzip", "zstd", left, "none"),
        f"{prefix}CERTIFICATE": Case("{file}", f"{field}.certificate", "{file}", "/no/file", left),
        f"{prefix}CLIENT_KEY": Case("{file}", f"{field}.client_key", "{file}", "/no/file", left),
        f"{prefix}CLIENT_CERTIFICATE": Case("{file}", f"{field}.client_certificate", "{file}", "/no/file", left),
        f"{prefix}INSECURE": Case("false", f"{field}.insecure", False, "flase", left, True),
    }


CASES |= _otlp_cases("OTEL_EXPORTER_OTLP_", "logs", WITHOUT_OTLP)
for one in SIGNALS:
    only = COMPLETE | {one: WITHOUT_OTLP[one]}
    CASES |= _otlp_cases(f"OTEL_EXPORTER_OTLP_{one.upper()}_", one, only)


def context_of(name: str, file: str) -> dict[str, str]:
    """What else has to be set for the variable to matter."""
    if name.endswith("_INSECURE"):
        return {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}
    if "CLIENT" not in name:
        return {}
    other = (
        name.replace("CLIENT_CERTIFICATE", "?").replace("CLIENT_KEY", "CLIENT_CERTIFICATE").replace("?", "CLIENT_KEY")
    )
    if name.startswith("CLAUDE"):
        other = {"CLAUDE_CODE_CLIENT_CERT": "CLAUDE_CODE_CLIENT_KEY"}.get(name, "CLAUDE_CODE_CLIENT_CERT")
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector", other: file}


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    pem = tmp_path / "some.pem"
    pem.write_text("pem")
    (tmp_path / ".claude.json").write_text('{"userID": "' + "c" * 64 + '"}')
    return {"file": str(pem), "home": str(tmp_path)}


def value_of(settings: Settings, dotted: str) -> Any:
    value: Any = settings
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def exporters_of(settings: Settings) -> dict[str, tuple[str, ...]]:
    return {signal: getattr(settings, f"{signal}_exporters") for signal in SIGNALS}


def filled(value: Any, places: dict[str, str]) -> Any:
    return value.format(**places) if isinstance(value, str) and "{" in value else value


def test_the_reference_page_has_a_row_for_each_variable_and_says_what_the_table_says() -> None:
    text = render_markdown()
    for row in ENV:
        assert f"| `{row.name}` | {row.kind.label} | " in text
    assert all(f"| `{name}` | " in text for name, _ in IGNORED)
    page = Path(__file__).parents[2] / "docs" / "reference" / "environment.md"
    assert page.read_text(encoding="utf-8") == text, "run: python docs/render_reference.py"


def test_every_variable_of_the_table_has_a_case() -> None:
    assert sorted(row.name for row in ENV) == sorted(CASES)
    assert len({row.field for row in ENV}) == len(ENV)


@pytest.mark.parametrize("name", CASES)
def test_a_good_value_arrives(name: str, places: dict[str, str]) -> None:
    case = CASES[name]
    environ = ALL_ON | context_of(name, places["file"]) | {name: filled(case.good, places)}
    settings = Settings.load(environ)
    assert settings.problems == ()
    assert value_of(settings, case.field) == filled(case.value, places)


@pytest.mark.parametrize("name", CASES)
def test_an_empty_variable_counts_as_unset(name: str, places: dict[str, str]) -> None:
    environ = {key: value for key, value in ALL_ON.items() if key != name}
    settings, without = Settings.load({**environ, name: "  "}), Settings.load(environ)
    assert settings == without
    assert settings.problems == ()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.bad is not None])
def test_a_bad_value_is_said_in_one_line_and_silences_only_what_needs_it(name: str, places: dict[str, str]) -> None:
    case = CASES[name]
    assert case.bad is not None
    settings = Settings.load(ALL_ON | context_of(name, places["file"]) | {name: case.bad})
    assert len(settings.problems) == 1
    line = settings.problems[0]
    said = name if name.endswith("HEADERS") else f"{name}={case.bad!r}"
    assert line.startswith(f"{said} can't be used: ")
    assert "accepted" in line
    assert "\n" not in line
    assert exporters_of(settings) == (case.left or COMPLETE)
    for signal in SIGNALS:
        lost = exporters_of(settings)[signal] != COMPLETE[signal]
        assert (signal in line.rpartition("turned off: ")[2]) == (lost and "PROMETHEUS" not in name)
    if case.fallback is not None:
        assert value_of(settings, case.field) == case.fallback


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.bad is not None and name != "CLAUDE_MONITORING_STRICT"]
)
def test_strict_raises_the_same_line(name: str, places: dict[str, str]) -> None:
    environ = ALL_ON | context_of(name, places["file"]) | {name: CASES[name].bad or ""}
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(environ, strict=True)
    assert str(caught.value) == Settings.load(environ).problems[0]


@pytest.mark.parametrize("name", [name for name, _ in IGNORED])
def test_a_variable_that_is_listed_as_not_read_changes_nothing(name: str) -> None:
    assert Settings.load({**ALL_ON, name: "1"}) == Settings.load({**ALL_ON, name: "bogus"}) == Settings.load(ALL_ON)
