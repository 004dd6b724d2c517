"""Through a real OpenTelemetry Collector our names, types, labels and values are the design's, letter by letter."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from matrix.collector.names import NAMES
from matrix.collector.server import Collector

# The first that needs a Collector may have to build it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]

PROGRAM = Path(__file__).with_name("collector_program.py")
PROTOCOLS = ("grpc", "http/protobuf", "http/json")
DELTA, CUMULATIVE = 1, 2  # as OTLP has them
ROUNDS = 3
NATIVE = "com.anthropic.claude_code"


def test_a_port_that_is_lost_is_replaced_and_a_namespace_is_a_prefix(otelcol: Path, tmp_path: Path) -> None:
    once = tmp_path / "once"
    unlucky = tmp_path / "otelcol"
    unlucky.write_text(
        f'#!/bin/sh\n[ -e "{once}" ] && exec "{otelcol}" "$@"\n: > "{once}"\necho address already in use\nexit 1\n'
    )
    unlucky.chmod(0o700)
    with Collector(unlucky, tmp_path / "files", namespace="otel") as collector:
        assert run(collector, "http/protobuf").returncode == 0
        collector.wait_until(lambda one: "otel_claude_tasks_total" in one.read_metrics())
        assert not [name for name in collector.read_metrics() if name.startswith("claude")]


def test_a_condition_that_never_holds_is_a_timeout_and_a_killed_collector_an_error(
    otelcol: Path, tmp_path: Path
) -> None:
    with Collector(otelcol, tmp_path) as collector:
        with pytest.raises(TimeoutError, match=r"(?s)not within 0\.1 s; .*collector\.log ends with:.*Everything is re"):
            collector.wait_until(lambda one: bool(one.read_file()), timeout_s=0.1)
        os.kill(collector.pid, signal.SIGKILL)
        with pytest.raises(RuntimeError, match=r"the Collector ended with -9; .*collector\.log ends with:"):
            collector.wait_until(lambda one: bool(one.read_metrics()))


# -- names and values --------------------------------------------------------------------------------------------------


def run(collector: Collector, protocol: str, temporality: str = "cumulative") -> subprocess.CompletedProcess[str]:
    """The program, told all by its environment, ended."""
    own = re.compile("(OTEL|CLAUDE)_|.*_proxy$", re.IGNORECASE)
    env = {key: value for key, value in os.environ.items() if not own.match(key)}
    env |= {f"OTEL_{signal}_EXPORTER": "otlp" for signal in ("METRICS", "LOGS", "TRACES")}
    env |= {
        "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.grpc_endpoint if protocol == "grpc" else collector.http_endpoint,
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality,
        "OTEL_SERVICE_NAME": "collector-test",
    }
    command = [sys.executable, "-W", "error", str(PROGRAM), str(ROUNDS)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)


def all_arrived(collector: Collector) -> bool:
    """Whether both exporters have the session's duration, which is in the last request."""
    in_file = any(metric["name"] == "claude.session.duration" for _, metric in metrics_of(collector.read_file()))
    return in_file and any("session_duration" in name for name in collector.read_metrics())


def inside(requests: list[dict[str, Any]], *path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The items of one signal, each with its scope."""
    of_resources, of_scopes, items = path
    for request in requests:
        for resource in request.get(of_resources, ()):
            for scope in resource[of_scopes]:
                for item in scope[items]:
                    yield scope["scope"]["name"], item


def metrics_of(requests: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    return inside(requests, "resourceMetrics", "scopeMetrics", "metrics")


@dataclass(frozen=True)
class Journey:
    """What a Collector had of one run of the program."""

    temporality: str
    types: dict[str, str]
    samples: dict[str, list[tuple[dict[str, str], float]]]
    requests: list[dict[str, Any]]


@pytest.fixture(scope="module", params=[(p, t) for t in ("cumulative", "delta") for p in PROTOCOLS], ids=" ".join)
def journey(request: pytest.FixtureRequest, otelcol: Path, tmp_path_factory: pytest.TempPathFactory) -> Journey:
    protocol, temporality = request.param
    with Collector(otelcol, tmp_path_factory.mktemp("collector")) as collector:
        done = run(collector, protocol, temporality)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        collector.wait_until(all_arrived)
        types, samples = collector.read_types(), collector.read_metrics()
    return Journey(temporality, types, samples, collector.read_file())


# What a round of the program comes to: labels beyond agent, project and sprint, and the value, by the design's names.
MODEL = {"model": "claude-sonnet-4-5"}
USAGE = {**MODEL, "query_source": "main"}
REVIEW = {"task_type": "review", "status": "ok"}
EACH_ROUND: tuple[tuple[str, dict[str, str], float], ...] = (
    ("claude_code_lines_of_code_count_total", {**MODEL, "type": "added"}, 42),
    ("claude_code_lines_of_code_count_total", {**MODEL, "type": "removed"}, 7),
    ("claude_code_pull_request_count_total", {}, 2),
    ("claude_code_commit_count_total", {}, 1),
    ("claude_code_cost_usage_USD_total", USAGE, 0.25),
    ("claude_code_token_usage_tokens_total", {**USAGE, "type": "input"}, 1200),
    ("claude_code_token_usage_tokens_total", {**USAGE, "type": "output"}, 80),
    ("claude_code_token_usage_tokens_total", {**USAGE, "type": "cacheRead"}, 4500),
    ("claude_code_token_usage_tokens_total", {**USAGE, "type": "cacheCreation"}, 300),
    (
        "claude_code_code_edit_tool_decision_total",
        {"decision": "accept", "source": "config", "tool_name": "Edit", "language": "Python"},
        1,
    ),
    ("claude_code_active_time_seconds_total", {"type": "cli"}, 12.5),
    ("claude_tasks_total", {"task_type": "feature", "status": "ok"}, 1),
    ("claude_task_duration_seconds_count", {"task_type": "feature", "status": "ok"}, 1),
    ("claude_task_duration_seconds_bucket", {"task_type": "feature", "status": "ok", "le": "+Inf"}, 1),
    ("claude_task_duration_seconds_count", REVIEW, 1),
    ("claude_task_duration_seconds_sum", REVIEW, 3600),
    ("claude_task_duration_seconds_bucket", {**REVIEW, "le": "1800"}, 0),
    ("claude_task_duration_seconds_bucket", {**REVIEW, "le": "3600"}, 1),
    ("claude_lines_added_total", {"file_type": "python"}, 42),
    ("claude_lines_deleted_total", {"file_type": "python"}, 7),
    ("claude_files_modified_total", {}, 1),
    ("claude_files_read_total", {}, 4),
    ("claude_tokens_input_total", MODEL, 1200),
    ("claude_tokens_output_total", MODEL, 80),
    ("claude_api_calls_total", MODEL, 1),
    ("claude_api_cost_usd_total", MODEL, 0.25),
    ("claude_tool_calls_total", {"tool": "Read", "status": "ok"}, 3),
    ("claude_errors_total", {"error_type": "LookupError"}, 1),
    ("claude_response_time_seconds_count", MODEL, 1),
    ("claude_response_time_seconds_sum", MODEL, 1.5),
    ("claude_response_time_seconds_bucket", {**MODEL, "le": "1"}, 0),
    ("claude_response_time_seconds_bucket", {**MODEL, "le": "2.5"}, 1),
    ("claude_concurrent_requests", {}, 1),
    ("claude_features_delivered_total", {}, 1),
    ("claude_story_points_delivered_total", {}, 5),
    ("claude_bugs_introduced_total", {}, 6),
    ("claude_patterns_extracted_total", {}, 7),
    ("claude_pattern_loads_total", {"pattern": "retry"}, 8),
    ("claude_quality_gate_total", {"gate": "test_coverage", "result": "passed"}, 9),
    ("claude_collector_rounds_total", {"phase": "all"}, 1),
    ("claude_collector_size_count", {}, 1),
    ("claude_collector_size_sum", {}, 4),
    ("claude_collector_size_bucket", {"le": "2.5"}, 0),
    ("claude_collector_size_bucket", {"le": "5"}, 1),
)
AT_THE_END: tuple[tuple[str, dict[str, str], float], ...] = (
    ("claude_code_session_count_total", {"start_type": "fresh"}, 1),
    ("claude_sessions_total", {}, 1),
    ("claude_sessions_active", {}, 0),
    ("claude_session_duration_seconds_count", {}, 1),
    ("claude_tasks_active", {"task_type": "feature"}, 0),
    ("claude_task_throughput", {"task_type": "review"}, 2.5),
    ("claude_agent_efficiency_score", {}, 5 / 1280),
    ("claude_agent_quality_score", {}, 0.875),
    ("claude_agent_collaboration_score", {}, 0.75),
    ("claude_agent_xp", {}, 150),
    ("claude_agent_level", {}, 2),
    ("claude_context_usage_percent", {}, 45.5),
    ("claude_collector_room", {}, 21.5),
)
ONLY_AGENT = {
    "claude_agent_xp",
    "claude_agent_level",
    "claude_context_usage_percent",
    "claude_pattern_loads_total",
}  # the design: of the three labels these have only the agent
OTHERS = {
    # the program's own
    "claude_collector_rounds_total": "counter",
    "claude_collector_odd_rounds_total": "counter",
    "claude_collector_room": "gauge",
    "claude_collector_size": "histogram",
    # what the package tells about itself
    "claude_monitoring_series_kept": "gauge",
    "claude_monitoring_exports_total": "counter",
    # the Collector's
    "target_info": "gauge",
}
ADDED = {"job", "instance", "otel_scope_name", "otel_scope_version", "otel_scope_schema_url"}  # by the Collector
STANDARD = {
    "user_id",
    "session_id",
    "terminal_type",
    "anthropic_provider",
    "anthropic_custom_base_url",
}  # Claude Code's, whose values are the machine's


def labels_of(name: str, own: dict[str, str]) -> dict[str, str]:
    if name.startswith("claude_code_"):
        return {"agent_name": "backend", "project_name": "books", **own}
    return {"agent": "backend", **({} if name in ONLY_AGENT else {"project": "books", "sprint": "6B"}), **own}


EXPECTED = {
    (name, frozenset(labels_of(name, own).items())): value
    for name, own, value in [*((name, own, value * ROUNDS) for name, own, value in EACH_ROUND), *AT_THE_END]
}


def test_the_names_are_those_of_the_designs_tables_and_each_has_a_value_here() -> None:
    native = [one for one in NAMES if one.exposed.startswith("claude_code_")]
    assert (len(native), len(NAMES)) == (8, 8 + 31)
    unknown = {"claude_session_duration_seconds_bucket", "claude_session_duration_seconds_sum"}  # the time it took
    assert {sample for one in NAMES for sample in one.samples} - {name for name, _ in EXPECTED} == unknown


def test_names_and_types_in_prometheus_are_the_designs_and_no_others(journey: Journey) -> None:
    assert journey.types == {one.exposed: one.type for one in NAMES} | OTHERS
    ours = {name for name in journey.samples if name.startswith("claude_") and name not in OTHERS}
    ours = {name for name in ours if not name.startswith("claude_collector_size")}
    assert ours == {sample for one in NAMES for sample in one.samples}


def test_labels_and_values_in_prometheus_are_what_the_program_recorded(journey: Journey) -> None:
    seen = {}
    for name, samples in journey.samples.items():
        left_out = ADDED | (STANDARD if name.startswith("claude_code_") else set())
        for labels, value in samples:
            assert labels.keys() >= left_out - {"otel_scope_schema_url"} or name == "target_info", (name, labels)
            seen[name, frozenset((key, text) for key, text in labels.items() if key not in left_out)] = value
    assert {key: seen.get(key) for key in EXPECTED} == EXPECTED


def test_wire_names_units_temporality_and_scopes_arrive_as_the_design_has_them(journey: Journey) -> None:
    changes = DELTA if journey.temporality == "delta" else CUMULATIVE
    how = {"counter": ("sum", True, changes), "up-down counter": ("sum", False, CUMULATIVE)}
    how |= {"histogram": ("histogram", False, changes), "gauge": ("gauge", False, 0)}
    seen = {shape_of(scope, metric) for scope, metric in metrics_of(journey.requests)}
    seen = {shape for shape in seen if not shape[1].startswith(("claude.collector_", "claude.monitoring."))}
    assert seen == {(one.scope, one.wire, one.unit, *how[one.kind]) for one in NAMES}


def shape_of(scope: str, metric: dict[str, Any]) -> tuple[str, str, str, str, bool, int]:
    form = next(name for name in ("sum", "gauge", "histogram") if name in metric)
    data = metric[form]
    how = form, data.get("isMonotonic", False), data.get("aggregationTemporality", 0)
    return (scope, metric["name"], metric.get("unit", ""), *how)


def test_events_and_spans_arrive_once_each_in_their_scopes(journey: Journey) -> None:
    records = [
        (scope, one["body"]["stringValue"])
        for scope, one in inside(journey.requests, "resourceLogs", "scopeLogs", "logRecords")
    ]
    each_round = ("claude_monitoring", "claude.limit_added"), (f"{NATIVE}.events", "claude_code.tool_result")
    assert sorted(records) == [event for event in each_round for _ in range(ROUNDS)]
    spans = list(inside(journey.requests, "resourceSpans", "scopeSpans", "spans"))
    tasks = {
        one["spanId"] for scope, one in spans if (scope, one["name"]) == ("claude_monitoring", "Add rate limiting")
    }
    reads = [one for scope, one in spans if (scope, one["name"]) == ("claude_monitoring", "read the limits")]
    assert (len(spans), len(tasks), len(reads)) == (2 * ROUNDS, ROUNDS, ROUNDS)
    assert {one["parentSpanId"] for one in reads} == tasks


def test_every_request_has_the_programs_resource(journey: Journey) -> None:
    named = {"key": "service.name", "value": {"stringValue": "collector-test"}}
    signals = [(signal, parts) for request in journey.requests for signal, parts in request.items()]
    assert {signal for signal, _ in signals} == {"resourceMetrics", "resourceLogs", "resourceSpans"}
    assert all(named in part["resource"]["attributes"] for _, parts in signals for part in parts)


def test_deltas_of_a_series_that_was_idle_for_an_interval_add_up_too(otelcol: Path, tmp_path: Path) -> None:
    with Collector(otelcol, tmp_path) as collector:
        run(collector, "http/protobuf", "delta")
        collector.wait_until(all_arrived)
        assert [value for _, value in collector.read_metrics()["claude_collector_odd_rounds_total"]] == [20]


@pytest.mark.parametrize(("namespace", "code", "answer"), [("", 0, "PROVEN: "), ("otel", 1, "namespace: otel")])
def test_validate_reads_its_probe_back(otelcol: Path, tmp_path: Path, namespace: str, code: int, answer: str) -> None:
    with Collector(otelcol, tmp_path, namespace=namespace) as collector:
        done = subprocess.run(
            [sys.executable, "-m", "matrix", "validate", "--endpoint", collector.grpc_endpoint, "--protocol", "grpc",
             "--metrics-url", collector.metrics_url],
            cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
    assert done.returncode == code, done.stdout
    assert answer in done.stdout.splitlines()[-1]
