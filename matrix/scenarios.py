"""The 54 scenarios as data: what the environment of a program says, and what has to come of it.

Nothing here knows how a scenario is run (``run.py``) or how its outcome is judged (``checks.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Protocol = Literal["grpc", "http/protobuf", "http/json"]
Endpoint = Literal["local_grpc", "local_http", "remote_grpc", "remote_http", "saas", "invalid", "unreachable"]
Outcome = Literal["delivered", "refused", "unanswered", "off", "silent", "partly", "scraped", "printed"]
"""What has to happen, in this order: all arrives; nothing does, with a diagnosis; it arrives and nobody says so;
nothing is tried, with a diagnosis; nothing is tried; what is well configured arrives; Prometheus reads it; it is
printed."""

PROTOCOLS: tuple[Protocol, ...] = ("grpc", "http/protobuf", "http/json")
ENDPOINTS: Mapping[Endpoint, str] = {
    "local_grpc": "local gRPC port",
    "local_http": "local HTTP port",
    "remote_grpc": "remote gRPC port",
    "remote_http": "remote HTTP port",
    "saas": "SaaS",
    "invalid": "invalid name",
    "unreachable": "unreachable",
}
INTERVALS_S = (10.0, 30.0)
SIGNALS = ("metrics", "logs", "traces")
STEPS_AN_INTERVAL = 4


@dataclass(frozen=True)
class Diagnosis:
    """What the one line on standard error has to say: patterns, each of which must be found."""

    cause: str
    mend: str


@dataclass(frozen=True)
class Scenario:
    """One row.

    Attributes:
        id: Short and readable; ``pytest matrix -k`` finds it.
        group: ``otlp``, ``plain``, ``fault``, ``fast``, or ``extended`` for rows beyond the 54.
        title: What it is, in words.
        exporter: Value of the three ``OTEL_*_EXPORTER`` variables.
        protocol: Value of ``OTEL_EXPORTER_OTLP_PROTOCOL``; empty without OTLP.
        endpoint: Which far side; empty without one.
        interval_s: What is configured, before it is scaled.
        periods: For how many whole intervals the probe works; half a one comes on top.
        expects: What has to happen.
        diagnosis: What the line on standard error says, if one is due.
        environment: More variables, or other values of those above.
        compression: Of the requests, as it must be on the wire.
        temporality: Of sums and histograms, as it must be on the wire.
        also: A second program, which is part of the same row.
    """

    id: str
    group: str
    title: str
    exporter: str = "otlp"
    protocol: str = ""
    endpoint: Endpoint | Literal[""] = ""
    interval_s: float = 10.0
    periods: int = 3
    expects: Outcome = "delivered"
    diagnosis: Diagnosis | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    compression: str = ""
    temporality: str = "cumulative"
    also: Scenario | None = None

    @property
    def steps(self) -> int:
        """How many steps of work the probe does: some of them after the last periodic export."""
        return self.periods * STEPS_AN_INTERVAL + 2

    @property
    def step_s(self) -> float:
        """How long a step is."""
        return self.interval_s / STEPS_AN_INTERVAL

    def scaled(self, factor: float) -> Scenario:
        """The same with shorter intervals, for development; what is fast stays as it is."""
        if self.group == "fast":
            return self
        also = self.also.scaled(factor) if self.also is not None else None
        return replace(self, interval_s=self.interval_s * factor, also=also)


AT_HTTP_PORT = Diagnosis(r"HTTP port", r"gRPC port \(4317\).*OTEL_EXPORTER_OTLP_PROTOCOL")
AT_GRPC_PORT = Diagnosis(r"gRPC port|gRPC|HTTP/2", r"4318|PROTOCOL")
NO_SUCH_NAME = Diagnosis(r"unknown host", r"OTEL_EXPORTER_OTLP_ENDPOINT")
NOBODY = Diagnosis(r"refused|listen", r"collector|endpoint|running")
BLACK_HOLE = Diagnosis(r"no answer from \S+ in time", r"reachable")


def _diagnosis(protocol: Protocol, endpoint: Endpoint, interval_s: float) -> Diagnosis | None:
    """The line that is due, or ``None`` where this protocol is at home."""
    if endpoint == "invalid":
        return NO_SUCH_NAME
    if endpoint == "unreachable":
        return BLACK_HOLE if interval_s == INTERVALS_S[-1] else NOBODY
    if protocol == "grpc" and endpoint.endswith("_http"):
        return AT_HTTP_PORT
    if protocol != "grpc" and endpoint.endswith("_grpc"):
        return AT_GRPC_PORT
    return None


def _otlp(protocol: Protocol, endpoint: Endpoint, interval_s: float) -> Scenario:
    diagnosis = _diagnosis(protocol, endpoint, interval_s)
    return Scenario(
        id=f"{protocol.replace('/', '_')}-{endpoint}-{interval_s:g}s",
        group="otlp",
        title=f"{protocol} to: {ENDPOINTS[endpoint]}, every {interval_s:g} s",
        protocol=protocol,
        endpoint=endpoint,
        interval_s=interval_s,
        expects="delivered" if diagnosis is None else "refused",
        diagnosis=diagnosis,
        compression="gzip" if endpoint == "saas" else "",
        # Several attempts fall within the run. In a scaled one this is what it is scaled to.
        environment={"OTEL_EXPORTER_OTLP_TIMEOUT": "2000"} if diagnosis is BLACK_HOLE else {},
    )


_OTLP = tuple(
    _otlp(protocol, endpoint, interval_s)
    for protocol in PROTOCOLS
    for endpoint in ENDPOINTS
    for interval_s in INTERVALS_S
)
_PLAIN = (
    Scenario("prometheus", "plain", "a Prometheus server scrapes", "prometheus", interval_s=30.0, expects="scraped"),
    Scenario("console", "plain", "JSON on standard output, every 10 s", "console", expects="printed"),
    Scenario("logging", "plain", "records of Python's logging, every 10 s", "logging", expects="printed"),
    Scenario("none", "plain", "telemetry on, every exporter none", "none", expects="silent"),
)
_BAD_TOKEN = Scenario(
    "bad_credentials", "fault", "a token that is rejected", protocol="http/protobuf", endpoint="saas",
    expects="refused", compression="gzip",
    diagnosis=Diagnosis(r"401|credentials|unauthenticated", r"OTEL_EXPORTER_OTLP_HEADERS"),
    environment={"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20wrong"},
)  # fmt: skip
_FAULTS = (
    Scenario(
        "disabled", "fault", "CLAUDE_CODE_ENABLE_TELEMETRY=0, all else set",
        protocol="http/protobuf", endpoint="local_http", expects="silent",
        environment={"CLAUDE_CODE_ENABLE_TELEMETRY": "0"},
    ),
    Scenario(
        "unknown_exporter", "fault", "OTEL_METRICS_EXPORTER=oltp: that signal is off, the others arrive",
        protocol="http/protobuf", endpoint="local_http", expects="partly",
        diagnosis=Diagnosis(r"OTEL_METRICS_EXPORTER.*oltp", r"otlp, prometheus|otlp"),
        environment={"OTEL_METRICS_EXPORTER": "oltp"},
    ),
    Scenario(
        "unknown_protocol", "fault", "OTEL_EXPORTER_OTLP_PROTOCOL=http/xml",
        protocol="http/xml", endpoint="local_http", expects="off",
        diagnosis=Diagnosis(r"OTEL_EXPORTER_OTLP_PROTOCOL.*http/xml", r"grpc.*http/protobuf.*http/json"),
    ),
    Scenario(
        "timeout", "fault", "OTEL_EXPORTER_OTLP_TIMEOUT=100, the far side answers after a second",
        protocol="http/protobuf", endpoint="local_http", expects="unanswered",
        diagnosis=Diagnosis(r"0\.1 s|100 ms|time", r"OTEL_EXPORTER_OTLP_TIMEOUT"),
        environment={"OTEL_EXPORTER_OTLP_TIMEOUT": "100"},
    ),
    replace(
        _BAD_TOKEN,
        title="a token that is rejected, also in the colon form",
        also=replace(
            _BAD_TOKEN,
            id="bad_credentials-colon",
            title="in the colon form",
            environment={"OTEL_EXPORTER_OTLP_HEADERS": "Authorization: Bearer wrong"},
        ),
    ),
)  # fmt: skip
_FAST = tuple(
    Scenario(
        f"console-{round(interval_s * 1000)}ms", "fast", f"JSON on standard output, every {interval_s:g} s",
        "console", interval_s=interval_s, periods=periods, expects="printed",
    )
    for interval_s, periods in ((0.1, 40), (0.5, 10), (1.0, 6))
)  # fmt: skip

SCENARIOS: tuple[Scenario, ...] = (*_OTLP, *_PLAIN, *_FAULTS, *_FAST)
"""The 54."""
