"""Results of a run that never was: all 54 rows, most passed, some failed in different ways, some not run."""

from __future__ import annotations

from typing import Any

__all__ = ["FAILED", "HOSTILE", "NOT_RUN", "hostile_results", "sample_results"]

PROTOCOLS = ("grpc", "http/protobuf", "http/json")
ENDPOINTS = {
    "local_grpc": "local gRPC port",
    "local_http": "local HTTP port",
    "remote_grpc": "remote gRPC port",
    "remote_http": "remote HTTP port",
    "saas": "SaaS",
    "invalid": "invalid name",
    "unreachable": "unreachable",
}
OTHERS = (
    ("prometheus", "plain", "a Prometheus server scrapes", 30.0, "scraped"),
    ("console", "plain", "JSON on standard output, every 10 s", 10.0, "printed"),
    ("logging", "plain", "records of Python's logging, every 10 s", 10.0, "printed"),
    ("none", "plain", "telemetry on, every exporter none", 10.0, "silent"),
    ("disabled", "fault", "CLAUDE_CODE_ENABLE_TELEMETRY=0, all else set", 10.0, "silent"),
    ("unknown_exporter", "fault", "OTEL_METRICS_EXPORTER=oltp: that signal is off, the others arrive", 10.0, "partly"),
    ("unknown_protocol", "fault", "OTEL_EXPORTER_OTLP_PROTOCOL=http/xml", 10.0, "refused"),
    ("timeout", "fault", "OTEL_EXPORTER_OTLP_TIMEOUT=100, the far side answers after a second", 10.0, "unanswered"),
    ("bad_credentials", "fault", "a token that is rejected, and a good one written with a colon", 10.0, "refused"),
    ("console-100ms", "fast", "JSON on standard output, every 0.1 s", 0.1, "printed"),
    ("console-500ms", "fast", "JSON on standard output, every 0.5 s", 0.5, "printed"),
    ("console-1000ms", "fast", "JSON on standard output, every 1 s", 1.0, "printed"),
)
TOKENS = (
    "sum monotonic cumulative unit tokens scope com.anthropic.claude_code | agent.name=probe, matrix.scenario=sample, "
    "model=claude-sonnet-4-5, project.name=matrix, query_source=main, terminal.type=matrix | type=cacheCreation: 280; "
    "type=cacheRead: 14000; type=input: 1491; type=output: {}"
)
HOSTILE = (
    """</script></dialog><script>pwned=1</script><img src=x onerror="pwned=1">'" onclick=pwned=1 {{ 7*7 }} """
    + "x" * 300
)
NAMES = ("session.count", "token.usage", "cost.usage", "lines_of_code.count", "commit.count", "active_time.total")
FAILED: dict[str, tuple[str, str, str]] = {
    "http_json-remote_http-10s": ("gaps between exports of metrics", "10 s, each within 0.5 s", "10.02, 12.93, 7.07 s"),
    "grpc-saas-30s": ("claude_code.token.usage", TOKENS.format(16107), TOKENS.format(32214)),
    "http_protobuf-unreachable-30s": ("exit within the shutdown bound", "at most 2.5 s after close", "9.8 s"),
    "timeout": ("diagnosis on standard error", "one line with OTEL_EXPORTER_OTLP_TIMEOUT", "nothing"),
}
"""The failed check of each row that failed: name, expected, seen."""
NOT_RUN = {
    "prometheus": "no prometheus on PATH: apt-get install prometheus",
    "http_protobuf-remote_grpc-30s": "the probe was killed by signal 9",
}


def sample_results(time_scale: float = 1.0, *, all_passed: bool = False) -> dict[str, Any]:
    """A new dictionary of the shape of ``results.json``."""
    rows = [
        _row(
            f"{protocol.replace('/', '_')}-{name}-{interval_s:g}s",
            "otlp",
            f"{protocol} to: {endpoint}, every {interval_s:g} s",
            interval_s,
            "delivered" if _at_home(protocol, name) else "refused",
            protocol=protocol,
            endpoint=endpoint,
            time_scale=time_scale,
            all_passed=all_passed,
        )
        for protocol in PROTOCOLS
        for name, endpoint in ENDPOINTS.items()
        for interval_s in (10.0, 30.0)
    ]
    rows += [_row(*other, time_scale=time_scale, all_passed=all_passed) for other in OTHERS]
    return {
        "made": "2026-11-26T03:40:00+00:00",
        "time_scale": time_scale,
        "seconds": 131.2 * time_scale,
        "machine": {"python": "3.11.7", "platform": "Linux-6.1.0-x86_64-with-glibc2.36", "cpus": 2},
        "versions": {
            "claude-monitoring": "0.4.0",
            "opentelemetry-sdk": "1.37.0",
            "grpcio": "1.76.0",
            "prometheus": "2.42.0",
        },
        "network": "network namespace behind a veth pair, 40 ms delay, 10 ms jitter, 0.5 % loss",
        "rows": rows,
    }


def _at_home(protocol: str, endpoint: str) -> bool:
    return endpoint == "saas" or endpoint.endswith("_grpc" if protocol == "grpc" else "_http")


def _row(
    name: str,
    group: str,
    title: str,
    interval_s: float,
    expects: str,
    *,
    protocol: str = "",
    endpoint: str = "",
    time_scale: float,
    all_passed: bool,
) -> dict[str, Any]:
    periods = 3 if interval_s >= 10 else round(4 / interval_s)
    ended_s = (periods + 0.5) * interval_s * time_scale
    row = {
        "id": name,
        "group": group,
        "title": title,
        "protocol": protocol,
        "endpoint": endpoint,
        "interval_s": interval_s * time_scale,
        "expects": expects,
        "outcome": "passed",
        "why": "",
        "seconds": round(ended_s + 0.42, 2),
        "environment": _environment(protocol, interval_s * time_scale),
        "checks": _checks(expects, interval_s * time_scale),
        "wire": _wire(protocol) if expects == "delivered" else [],
        "exports": _exports(name, expects, interval_s * time_scale, periods, ended_s),
        "ended_s": ended_s,
        "stderr": "",
        "cost": {
            "with": {"peak_mb": 61.2, "cpu_s": 1.31, "threads": 5},
            "without": {"peak_mb": 31.0, "cpu_s": 0.35, "threads": 1},
        },
    }
    if expects == "refused":
        row["stderr"] = (
            "claude_monitoring: metrics can't be delivered to http://127.0.0.1:43121: an HTTP port "
            "answered, not a gRPC one; set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or the gRPC port (4317)\n"
        )
    if not all_passed and name in FAILED:
        check, expected, seen = FAILED[name]
        row |= {"outcome": "failed", "why": f"{check}: {seen}"}
        row["checks"].append({"name": check, "expected": expected, "seen": seen, "ok": False})
    if not all_passed and name in NOT_RUN:
        row |= {"outcome": "not run", "why": NOT_RUN[name], "seconds": 0.0, "ended_s": None}
        row |= {"checks": [], "wire": [], "exports": [], "stderr": "", "cost": {}}
    return row


def _environment(protocol: str, interval_s: float) -> dict[str, str]:
    return {
        "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
        "OTEL_METRICS_EXPORTER": "otlp" if protocol else "console",
        "OTEL_LOGS_EXPORTER": "otlp" if protocol else "console",
        "OTEL_TRACES_EXPORTER": "otlp" if protocol else "console",
        "OTEL_METRIC_EXPORT_INTERVAL": f"{interval_s * 1000:.0f}",
        "OTEL_RESOURCE_ATTRIBUTES": "matrix.scenario=sample,deployment.environment=a test of the matrix",
    } | (
        {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:43121"}
        if protocol
        else {}
    )


def _checks(expects: str, interval_s: float) -> list[dict[str, Any]]:
    checks = [("exit code", "0", "0"), ("result of the program", "91", "91")]
    if expects == "delivered":
        checks += [
            ("content type", "application/x-protobuf", "application/x-protobuf"),
            *((f"claude_code.{name}", text, text) for name in NAMES for text in (TOKENS.format(231),)),
            ("events", "14", "14"),
            ("spans", "28", "28"),
            ("resource", "12 attributes", "12 attributes"),
            ("temporality", "cumulative", "cumulative"),
            (
                "first export of metrics",
                f"{interval_s:g} s, within {max(0.05 * interval_s, 0.25):g} s",
                f"{interval_s + 0.02:g} s",
            ),
            ("standard error", "empty", "empty"),
        ]
    else:
        checks += [("arrived anywhere else", "nothing", "nothing"), ("wall time", "at most 2.5 s more", "0.61 s more")]
    return [{"name": name, "expected": expected, "seen": seen, "ok": True} for name, expected, seen in checks]


def _wire(protocol: str) -> list[dict[str, str]]:
    content_type = {"grpc": "application/grpc", "http/json": "application/json"}.get(protocol, "application/x-protobuf")
    path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" if protocol == "grpc" else "/v1/metrics"
    return [
        {"name": "content type", "value": content_type},
        {"name": "path", "value": path},
        {"name": "compression", "value": "none"},
        {"name": "user agent", "value": "OTel-OTLP-Exporter-Python/1.37.0 claude_monitoring/0.4.0"},
        {"name": "headers", "value": "x-scope-orgid: matrix"},
    ]


def _exports(name: str, expects: str, interval_s: float, periods: int, ended_s: float) -> list[dict[str, Any]]:
    if expects in ("silent", "scraped"):
        return []
    taken = {"delivered": "OK" if name.startswith("grpc") else "200", "printed": "printed", "partly": "200"}
    status = taken.get(expects, "UNAVAILABLE" if name.startswith("grpc") else "404")
    moments_s = {
        "metrics": [interval_s * (period + 1) + 0.02 for period in range(periods)],
        "logs": [interval_s / 2 * (half + 1) + 0.3 for half in range(2 * periods)],
        "traces": [interval_s / 2 * (half + 1) + 0.1 for half in range(2 * periods)],
    }
    if name == "http_json-remote_http-10s":
        moments_s["metrics"][1] += 2.93
    if expects == "partly":
        del moments_s["metrics"]
    exports = [
        {
            "signal": signal,
            "at_s": at_s,
            "status": status,
            "items": 41 if signal == "metrics" else 6,
            "body_bytes": 5120,
        }
        for signal, all_s in moments_s.items()
        for at_s in (*all_s, ended_s + 0.1)
        if at_s < ended_s + 0.2
    ]
    if "remote" in name and expects == "delivered":
        exports[1] = {**exports[1], "status": "503"}
        exports.insert(2, {**exports[1], "at_s": exports[1]["at_s"] + 0.06 * interval_s, "status": taken["delivered"]})
    return exports


def hostile_results() -> dict[str, Any]:
    """The sample with markup, quotes and a line without end wherever a far side or a program could put them."""
    results = sample_results()
    for row in results["rows"]:
        row |= {"title": HOSTILE, "why": HOSTILE, "stderr": HOSTILE + "\n" + "x" * 5000}
        row["environment"] = {"OTEL_EXPORTER_OTLP_HEADERS": HOSTILE}
        row["wire"] = [{"name": HOSTILE, "value": HOSTILE}]
        row["checks"] = [{"name": HOSTILE, "expected": HOSTILE, "seen": HOSTILE * 4, "ok": ok} for ok in (True, False)]
        for export in row["exports"]:
            export["status"] = HOSTILE
    return results | {"network": HOSTILE, "machine": {"platform": HOSTILE}, "versions": {HOSTILE: HOSTILE}}
